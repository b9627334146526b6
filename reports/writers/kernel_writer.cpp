#include "reports/writers/kernel_writer.hpp"

#include <fmt/format.h>

#include <iterator>
#include <string_view>

#include "calibration/kernels/kernel_profile.hpp"
#include "reports/answers/calibrated_models.hpp"
#include "reports/experiment/version.hpp"
#include "reports/writers/json_text.hpp"
#include "reports/writers/text_table.hpp"
#include "sim/base/unit_text.hpp"

namespace orrery {
namespace {

constexpr std::string_view kTableRow =
    "  {:<76} {:>8} {:>9} {:>21} {:>8} {:>8}  {:<7}  {:<12}  {:>7} {:>9}\n";

std::string_view name_of(KernelBound bound) {
  switch (bound) {
    case KernelBound::compute:
      return "compute";
    case KernelBound::memory:
      return "memory";
    case KernelBound::launch:
      break;
  }
  return "launch";
}

std::string_view pass_name(AttentionPass pass) {
  return pass == AttentionPass::forward ? "forward" : "backward";
}

std::string shape_text(const GemmShape& shape) {
  std::string text = fmt::format("{} x {} x {}", shape.m, shape.n, shape.k);
  if (shape.grouped) {
    text = fmt::format("{} groups of {}", shape.batch, text);
  } else if (shape.batch > 1) {
    text = fmt::format("{} of {}", shape.batch, text);
  }
  text += fmt::format(" {}", orrery::name_of(shape.precision));
  if (is_quantized(shape.precision) && shape.quantized_inputs) text += " with its quantise";
  return text;
}

std::string shape_text(const AttentionShape& shape) {
  std::string text = fmt::format("{} {} {} x {}", pass_name(shape.pass), orrery::name_of(shape.kernel),
                                 shape.batch, shape.seq_q);
  if (shape.seq_kv != shape.seq_q) text += fmt::format("/{}", shape.seq_kv);
  text += fmt::format(", {} heads", shape.heads);
  if (shape.kv_heads != shape.heads) text += fmt::format(" ({} of keys)", shape.kv_heads);
  text += fmt::format(" of {}", shape.head_dim);
  if (shape.value_dim != shape.head_dim) text += fmt::format("/{}", shape.value_dim);
  if (shape.causal) text += ", causal";
  if (shape.window > 0) text += fmt::format(", window {}", shape.window);
  return text + fmt::format(", {}", orrery::name_of(shape.precision));
}

double achieved_tflops(const KernelAnswer& answer) {
  return (answer.work.flops / answer.time.time).base() / 1e12;
}

BytesPerSecond achieved_bandwidth(const KernelAnswer& answer) {
  return answer.work.traffic / answer.time.time;
}

std::string_view meaning_of(Evidence evidence) {
  switch (evidence) {
    case Evidence::measured:
      return "this shape was measured on this GPU";
    case Evidence::interpolated:
      return "between shapes measured on this GPU";
    case Evidence::extrapolated:
      return "outside the shapes measured, or on a GPU with the measured one's chip";
    case Evidence::datasheet:
      return "the datasheet's peaks and assumed shares of them";
    case Evidence::assumed:
      break;
  }
  return "another precision's or architecture's measurements, or rows off 16 bytes";
}

}  // namespace

KernelDocument kernel_document(const CostModel& model, const KernelOptions& options) {
  return {model.device().name, model.profile_name(), model.profile_source(), hash_of_profile(model),
          options.tier,        options.sustained,    model.profile_error()};
}

std::string kernel_shape_text(const KernelLine& kernel) {
  if (const auto* gemm = std::get_if<GemmShape>(&kernel.op.shape)) return shape_text(*gemm);
  if (const auto* attention = std::get_if<AttentionShape>(&kernel.op.shape)) return shape_text(*attention);
  if (kernel.rows > 0) return fmt::format("{} {} x {}", pass_name(kernel.pass), kernel.rows, kernel.columns);
  const auto& memory = std::get<MemoryShape>(kernel.op.shape);
  std::string text = fmt::format("{} {}", format_quantity(memory.traffic), orrery::name_of(memory.kind));
  if (memory.launches > 1) text += fmt::format(", {} launches", memory.launches);
  if (memory.sm_time > Seconds(0)) text += fmt::format(", {} of one SM", format_quantity(memory.sm_time));
  return text;
}

void KernelJsonWriter::head(std::string& text) {
  const auto quoted = [](const std::string& value) { return Json(value).dump(); };
  text += fmt::format(
      "{{\n  \"schema\": \"orrery.kernel/1\",\n  \"gpu\": {},\n  \"tier\": \"{}\",\n"
      "  \"conditions\": \"{}\",\n  \"calibration\": {{\"profile\": {}, \"source\": {}, \"hash\": {}, "
      "\"compute_error\": {}}},\n"
      "  \"kernels\": [",
      quoted(document_.gpu), orrery::name_of(document_.tier), document_.sustained ? "sustained" : "burst",
      quoted(document_.profile), quoted(document_.source),
      document_.hash.empty() ? "null" : quoted(document_.hash), document_.error);
}

void KernelJsonWriter::answer(const KernelLine& kernel, const KernelAnswer& answer, std::string& text) {
  text += first_ ? "\n    {" : ",\n    {";
  first_ = false;
  text += kernel.members;
  if (answer.work.precision && !kernel.gives_precision)
    fmt::format_to(std::back_inserter(text), ", \"precision\": \"{}\"",
                   orrery::name_of(*answer.work.precision));
  fmt::format_to(std::back_inserter(text), ", \"time_s\": {}, \"interval_s\": [{}, {}]",
                 answer.time.time.base(), answer.interval[0].base(), answer.interval[1].base());
  if (answer.work.precision) {
    fmt::format_to(std::back_inserter(text), ", \"tflops\": {}", achieved_tflops(answer));
  }
  fmt::format_to(std::back_inserter(text),
                 ", \"bandwidth_bytes_per_s\": {}, \"bound\": \"{}\", \"evidence\": \"{}\", \"power_w\": {}, "
                 "\"power_evidence\": \"{}\", \"energy_j\": {}}}",
                 achieved_bandwidth(answer).base(), name_of(answer.time.bound),
                 orrery::name_of(answer.time.evidence), answer.power.board.base(),
                 orrery::name_of(answer.power.evidence), answer.energy().base());
}

void KernelJsonWriter::tail(std::string& text) {
  text += fmt::format("\n  ],\n  \"run\": {{\"version\": \"{}\"}}\n}}\n", version());
}

void KernelCsvWriter::head(std::string& text) {
  text +=
      "name,count,op,shape,time_s,interval_low_s,interval_high_s,tflops,bandwidth_bytes_per_s,bound,evidence,"
      "power_w,power_evidence,energy_j\n";
}

void KernelCsvWriter::answer(const KernelLine& kernel, const KernelAnswer& answer, std::string& text) {
  fmt::format_to(
      std::back_inserter(text), "{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n",
      csv_field(std::string(kernel.name)), kernel.count ? std::to_string(*kernel.count) : "", kernel.op.name,
      csv_field(kernel_shape_text(kernel)), answer.time.time.base(), answer.interval[0].base(),
      answer.interval[1].base(), answer.work.precision ? fmt::format("{}", achieved_tflops(answer)) : "",
      achieved_bandwidth(answer).base(), name_of(answer.time.bound), orrery::name_of(answer.time.evidence),
      answer.power.board.base(), orrery::name_of(answer.power.evidence), answer.energy().base());
}

void KernelCsvWriter::tail(std::string& /*text*/) {}

void KernelTextWriter::head(std::string& text) {
  text += fmt::format("kernels on {}, each alone on the GPU, {}\n", document_.gpu,
                      document_.sustained
                          ? "sustained: at the clocks of minutes of training (--conditions burst for a "
                            "microbenchmark's)"
                          : "burst: at a microbenchmark's clocks (training asks for --conditions sustained)");
  text += fmt::format("  profile {} (typical error {}): {}\n\n", document_.profile,
                      document_.error > 0.0 ? percent(document_.error) : "unknown", document_.source);
  text += fmt::format(fmt::runtime(kTableRow), "kernel", "count", "time", "80 % interval", "TFLOP/s", "GB/s",
                      "bound", "evidence", "power", "energy");
}

void KernelTextWriter::answer(const KernelLine& kernel, const KernelAnswer& answer, std::string& text) {
  ++by_evidence_[static_cast<size_t>(answer.time.evidence)];
  ++by_power_evidence_[static_cast<size_t>(answer.power.evidence)];
  std::string title = fmt::format("{} {}", kernel.op.name, kernel_shape_text(kernel));
  if (!kernel.name.empty()) title = fmt::format("{}: {}", kernel.name, title);
  fmt::format_to(
      std::back_inserter(text), fmt::runtime(kTableRow), title,
      kernel.count ? std::to_string(*kernel.count) : "", format_quantity(answer.time.time),
      fmt::format("{} - {}", format_quantity(answer.interval[0]), format_quantity(answer.interval[1])),
      answer.work.precision ? fmt::format("{:.1f}", achieved_tflops(answer)) : "",
      fmt::format("{:.1f}", achieved_bandwidth(answer).base() / 1e9), name_of(answer.time.bound),
      orrery::name_of(answer.time.evidence), format_quantity(answer.power.board),
      format_quantity(answer.energy()));
}

void KernelTextWriter::tail(std::string& text) {
  text += "\n";
  for (size_t i = 0; i < by_evidence_.size(); ++i) {
    if (by_evidence_[i] == 0) continue;
    const auto evidence = static_cast<Evidence>(i);
    text += fmt::format("  {:<12}  {} ({} kernel{})\n", orrery::name_of(evidence), meaning_of(evidence),
                        by_evidence_[i], by_evidence_[i] == 1 ? "" : "s");
  }
  if (by_power_evidence_[static_cast<size_t>(Evidence::datasheet)] > 0) {
    text += "  power         the board's limit from the datasheet, so an upper bound; energy likewise\n";
  } else {
    text += "  power         fitted to the draw measured beside this profile's kernels\n";
  }
}

}  // namespace orrery
