#include "calibration/kernels/profile_tables.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

#include "calibration/kernels/fit_gemm.hpp"
#include "calibration/kernels/log_error_fit.hpp"

namespace orrery {
namespace {

// Rows of an operand off 16 bytes: cuBLAS falls back from the tensor core kernels. Batched fp16 and bf16
// products then run on the CUDA cores, at an eighth of the tensor peak (A100: 39 of 312 TFLOP/s in bf16);
// single ones are copied or take narrow loads, taken as half.
constexpr double kMisaligned = 0.5;
constexpr double kMisalignedBatched = 0.125;
constexpr std::string_view kMisalignedSource =
    "misaligned rows: assumed, CUDA core rate for batched products (NVIDIA A100 whitepaper: bf16 39 of 312 "
    "TFLOP/s), half of the tensor core rate for single ones";

// Loops of a training framework below this are left out: 4 and 8 heads take the same time there, so the host
// sets it (30 us and more a call, SimuMax's own constant).
constexpr Seconds kHostBound = microseconds(130);

std::string join_sources(const std::set<std::string>& sources) {
  std::string text;
  for (const std::string& source : sources) text += (text.empty() ? "" : "; ") + source;
  return text;
}

std::vector<AttentionMeasurement> rows_of_tables(std::span<const AttentionMeasurement> measurements,
                                                 std::string_view gpu,
                                                 const std::vector<std::string>& tables) {
  std::vector<AttentionMeasurement> rows;
  bool bursts = false;
  for (const AttentionMeasurement& row : measurements) {
    const bool wanted = std::find(tables.begin(), tables.end(), row.kernel) != tables.end();
    const bool host_bound =
        row.campaign == Campaign::sustained && !row.states_conditions && row.time < kHostBound;
    if (row.gpu != gpu || !wanted || host_bound) continue;
    bursts = bursts || row.campaign != Campaign::sustained;
    rows.push_back(row);
  }
  if (bursts) std::erase_if(rows, [](const auto& row) { return row.campaign == Campaign::sustained; });
  return rows;
}

/// Rows of an attention kernel, and the rule that says so. Rows under the kernel's own name come before those
/// of kernels that stand for it.
std::vector<AttentionMeasurement> attention_rows(std::span<const AttentionMeasurement> measurements,
                                                 const std::string& gpu, AttentionKernel kernel,
                                                 const KernelRules& rules, const AttentionTable*& used) {
  used = nullptr;
  const std::string own(name_of(kernel));
  for (const AttentionTable& rule : rules.attention_tables) {
    if (rule.gpu == gpu && rule.kernel == kernel) used = &rule;
  }
  const bool stands_in =
      used != nullptr && std::find(used->tables.begin(), used->tables.end(), own) == used->tables.end();
  if (used == nullptr || stands_in) {
    std::vector<AttentionMeasurement> rows = rows_of_tables(measurements, gpu, {own});
    if (used == nullptr || rows.size() >= kFewestTableRows) {
      used = nullptr;
      return rows;
    }
  }
  std::vector<AttentionMeasurement> rows = rows_of_tables(measurements, gpu, used->tables);
  const bool published = std::none_of(rows.begin(), rows.end(),
                                      [](const AttentionMeasurement& row) { return row.states_conditions; });
  if (!published) used = nullptr;  // the rule speaks of the published table
  return rows;
}

/// What is believed before the rows speak: sizes of the three kernels with most rows.
AttentionParameters attention_prior() {
  AttentionParameters prior;
  prior.efficiency = 0.6;
  prior.ramp = 900.0;
  prior.full_ramp = 0.2;
  prior.narrow = 0.5;
  prior.wide = 0.85;
  prior.tail = 0.4;
  prior.backward = 0.85;  // FA2 .80-.95, FA3 .81-.88, FA4 .79-.89: overlap.md, section 8
  prior.backward_wide = 0.8;
  prior.memory = 0.8;
  prior.launch = microseconds(4);
  return prior;
}

AttentionFreedom freedom_of(const std::vector<AttentionMeasurement>& rows) {
  std::set<std::int64_t> lengths, sizes;
  std::set<bool> masks;
  std::set<AttentionPass> passes;
  bool long_loops = false;
  for (const AttentionMeasurement& row : rows) {
    lengths.insert(row.shape.seq_q);
    sizes.insert(row.shape.head_dim);
    masks.insert(row.shape.causal);
    passes.insert(row.shape.pass);
    long_loops = long_loops || (row.campaign == Campaign::sustained && row.time > milliseconds(10));
  }
  AttentionFreedom freedom;
  freedom.ramp = lengths.size() > 1;
  freedom.full_ramp = masks.size() > 1;
  freedom.narrow = sizes.count(64) > 0 && sizes.size() > 1;
  freedom.wide = sizes.count(192) > 0;
  freedom.backward = passes.size() > 1;
  freedom.throttle = long_loops && lengths.size() > 1;
  return freedom;
}

std::string shape_text(const GemmShape& shape) {
  std::string text = fmt::format("{} x {} x {}", shape.m, shape.n, shape.k);
  if (shape.batch > 1) text += fmt::format(", {} {}", shape.batch, shape.grouped ? "groups" : "times");
  return text;
}

std::string shape_text(const AttentionShape& shape) {
  std::string text = fmt::format("batch {}, length {}, {} heads", shape.batch, shape.seq_q, shape.heads);
  if (shape.kv_heads != shape.heads) text += fmt::format(" ({} kv)", shape.kv_heads);
  text += fmt::format(" of {}", shape.head_dim);
  if (shape.value_dim != shape.head_dim) text += fmt::format("/{}", shape.value_dim);
  text += shape.causal ? ", causal" : ", full";
  if (shape.window > 0) text += fmt::format(", window {}", shape.window);
  return text;
}

}  // namespace

std::optional<FittedProducts> fit_products(const DeviceSpec& device, Precision precision,
                                           std::span<const GemmMeasurement> measurements,
                                           std::span<const Campaign> campaigns, const GemmFit* bf16) {
  if (!device.peak_for(precision)) return std::nullopt;
  for (const Campaign campaign : campaigns) {
    FittedProducts table;
    std::vector<MeasuredGemm> rows;
    for (const GemmMeasurement& row : measurements) {
      if (row.gpu != device.name || row.campaign != campaign || row.shape.precision != precision) continue;
      rows.push_back({row.shape, row.time});
      table.sources.insert(row.source);
    }
    if (rows.size() < kFewestTableRows) continue;
    table.fit = fit_gemm(device, std::move(rows), {}, bf16, table.error);
    table.fit.measured_sustained = campaign == Campaign::sustained;
    table.fit.parameters.misaligned = kMisaligned;
    table.fit.parameters.misaligned_batched = kMisalignedBatched;
    table.fit.source.text = fmt::format("{} products of {}; {}", table.fit.shapes.size(),
                                        join_sources(table.sources), kMisalignedSource);
    return table;
  }
  return std::nullopt;
}

std::optional<FittedAttention> fit_attention_table(const DeviceSpec& device, AttentionKernel kernel,
                                                   std::span<const AttentionMeasurement> measurements,
                                                   const KernelRules& rules) {
  const AttentionTable* rule = nullptr;
  const std::vector<AttentionMeasurement> measured =
      attention_rows(measurements, device.name, kernel, rules, rule);
  if (measured.size() < kFewestTableRows || !device.peak_for(Precision::bf16)) return std::nullopt;
  FittedAttention table;
  table.freedom = freedom_of(measured);
  table.prior = attention_prior();
  if (rule != nullptr && rule->ramp > 0.0) table.prior.ramp = rule->ramp;
  if (rule != nullptr) table.prior.narrow = rule->narrow.value_or(table.prior.narrow);
  AttentionRows rows = kernel_times(device, measured, table.prior, table.freedom);
  for (MeasuredAttention& row : rows.rows) {
    row.time = Seconds(six_digits(row.time.base()));
    row.overhead = Seconds(six_digits(row.overhead.base()));
    row.shape.kernel = kernel;
  }
  for (const AttentionMeasurement& row : measured) table.sources.insert(row.source);
  table.fit = fit_attention(device, kernel, std::move(rows.rows), table.prior, table.freedom, {},
                            table.forward, table.backward);
  AttentionFit& fit = table.fit;
  fit.measured_sustained = measured.front().campaign == Campaign::sustained;
  fit.source.text = fmt::format("{} calls of {}", fit.shapes.size(), join_sources(table.sources));
  if (!rows.taken_off.empty()) fit.source.text += "; " + rows.taken_off;
  if (!table.freedom.backward)
    fit.source.text += "; backward: assumed at 0.85 of the forward rate (FA2 .80-.95, FA3 .81-.88)";
  if (rule != nullptr && !rule->note.empty()) fit.source.text += "; " + rule->note;
  return table;
}

AttentionFit lend_attention(const LentAttention& rule, const AttentionFit& lent, const DeviceSpec& from,
                            const DeviceSpec& to) {
  AttentionFit fit = lent;
  fit.kernel = rule.kernel;
  fit.shapes.clear();  // times of another GPU or kernel
  fit.covariance = {};
  fit.evidence = weaker(rule.evidence, lent.evidence);
  const auto own_peak = from.peak_for(Precision::bf16), other_peak = to.peak_for(Precision::bf16);
  const double same_rate = own_peak && other_peak ? *own_peak / *other_peak : 1.0;
  const double forward = rule.efficiency.value_or(same_rate);
  fit.parameters.efficiency = six_digits(fit.parameters.efficiency * forward);
  if (rule.backward) fit.parameters.backward = six_digits(fit.parameters.backward * *rule.backward / forward);
  fit.parameters.narrow = rule.narrow.value_or(fit.parameters.narrow);
  fit.source.text = fmt::format("{}; {}", rule.source, lent.source.text);
  return fit;
}

HeldOut hold_out(const DeviceSpec& device, const FittedProducts& table, std::uint64_t seed) {
  const std::vector<MeasuredGemm>& shapes = table.fit.shapes;
  std::vector<HeldOutRow> rows;
  rows.reserve(shapes.size());
  for (const MeasuredGemm& row : shapes)
    rows.push_back({fmt::format("{} {}", row.shape.n, row.shape.k), shape_text(row.shape), row.time});
  const LearnAndPredict learn = [&](const std::vector<size_t>& train, const std::vector<size_t>& test) {
    GemmFit others = table.fit;
    others.shapes.clear();
    for (const size_t row : train) others.shapes.push_back(shapes[row]);
    others.parameters = fit_gemm_parameters(device, others.shapes, table.fit.parameters);
    const ResidualField field = residual_field(others, device);
    std::vector<double> errors;
    for (const size_t row : test) {
      const Seconds form = gemm_pieces(others.parameters, device, shapes[row].shape).total();
      errors.push_back(std::log(form / shapes[row].time) + field.at(residual_point(shapes[row].shape)));
    }
    return errors;
  };
  return hold_out_a_fifth(rows, seed, learn);
}

HeldOut hold_out(const DeviceSpec& device, const FittedAttention& table, AttentionPass pass,
                 std::uint64_t seed) {
  const std::vector<MeasuredAttention>& shapes = table.fit.shapes;
  const std::vector<std::int64_t> families = attention_families(shapes);
  std::vector<HeldOutRow> rows;
  std::vector<size_t> of_pass;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const MeasuredAttention& row = shapes[i];
    if (row.shape.pass != pass) continue;
    of_pass.push_back(i);
    rows.push_back({std::to_string(families[i]), shape_text(row.shape), row.time + row.overhead});
  }
  // The other pass stays: it is a kernel of its own that shares parameters.
  const LearnAndPredict learn = [&](const std::vector<size_t>& /*train*/, const std::vector<size_t>& test) {
    std::set<size_t> left_out;
    for (const size_t row : test) left_out.insert(of_pass[row]);
    AttentionFit others = table.fit;
    others.shapes.clear();
    for (size_t i = 0; i < shapes.size(); ++i) {
      if (!left_out.count(i)) others.shapes.push_back(shapes[i]);
    }
    others.parameters = fit_attention_parameters(device, others.shapes, table.prior, table.freedom);
    const ResidualField field = residual_field(others, device);
    std::vector<double> errors;
    for (const size_t row : test) {
      const MeasuredAttention& left = shapes[of_pass[row]];
      const Seconds form = attention_pieces(others.parameters, device, left.shape).total();
      const Seconds predicted = form * std::exp(field.at(residual_point(left.shape)));
      errors.push_back(std::log((predicted + left.overhead) / (left.time + left.overhead)));
    }
    return errors;
  };
  return hold_out_a_fifth(rows, seed, learn);
}

}  // namespace orrery
