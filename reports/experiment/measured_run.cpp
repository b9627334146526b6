#include "reports/experiment/measured_run.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace orrery {
namespace {

constexpr const char* kKeys =
    "at least one of step_time_s, tokens_per_s_per_gpu, model_tflops_per_gpu, "
    "hardware_tflops_per_gpu, mfu, peak_memory_bytes";

/// Far beyond what anything measures, and near enough that errors and their means stay numbers.
constexpr double kLeastMeasured = 1e-12, kMostMeasured = 1e30;

std::optional<double> positive(const SpecReader& reader, std::string_view key) {
  if (!reader.has(key)) return std::nullopt;
  const double value = reader.at(key).number_above(0.0);
  if (value < kLeastMeasured || value > kMostMeasured)
    reader.at(key).refuse("a number in [1e-12, 1e+30]", true);
  return value;
}

}  // namespace

MeasuredRun read_measured_run(const SpecReader& reader) {
  MeasuredRun measured;
  reader.only({"step_time_s", "tokens_per_s_per_gpu", "model_tflops_per_gpu", "hardware_tflops_per_gpu",
               "mfu", "peak_memory_bytes", "peak_memory_scope"});
  if (!reader.is_object()) return measured;
  if (reader.json().empty()) {
    reader.refuse(kKeys);
    return measured;
  }
  if (const auto value = positive(reader, "step_time_s")) measured.step_time = seconds(*value);
  measured.tokens_per_s_per_gpu = positive(reader, "tokens_per_s_per_gpu");
  measured.model_tflops_per_gpu = positive(reader, "model_tflops_per_gpu");
  measured.hardware_tflops_per_gpu = positive(reader, "hardware_tflops_per_gpu");
  measured.mfu = positive(reader, "mfu");
  if (measured.mfu && *measured.mfu > 1.0)
    reader.at("mfu").refuse("a share of the peak, above 0 and at most 1", true);
  if (const auto value = positive(reader, "peak_memory_bytes")) measured.peak_memory = bytes(*value);
  if (reader.has("peak_memory_scope")) {
    const SpecReader scope = reader.at("peak_memory_scope");
    measured.peak_memory_of_gpu = scope.choice({"allocator", "gpu"}) == 1;
    if (!measured.peak_memory) scope.refuse_message("is only legal with peak_memory_bytes");
  }
  return measured;
}

Json to_json(const MeasuredRun& measured) {
  Json json = Json::object();
  if (measured.step_time) json["step_time_s"] = measured.step_time->base();
  if (measured.tokens_per_s_per_gpu) json["tokens_per_s_per_gpu"] = *measured.tokens_per_s_per_gpu;
  if (measured.model_tflops_per_gpu) json["model_tflops_per_gpu"] = *measured.model_tflops_per_gpu;
  if (measured.hardware_tflops_per_gpu) json["hardware_tflops_per_gpu"] = *measured.hardware_tflops_per_gpu;
  if (measured.mfu) json["mfu"] = *measured.mfu;
  if (measured.peak_memory) json["peak_memory_bytes"] = measured.peak_memory->base();
  if (measured.peak_memory_of_gpu) json["peak_memory_scope"] = "gpu";
  return json;
}

std::string impossible_figure(const MeasuredRun& measured, const StepWork& work) {
  constexpr double kApart = 1.1, kBeyondThePeak = 2.0;
  if (measured.step_time && measured.tokens_per_s_per_gpu) {
    const double given = measured.step_time->base();
    const double implied = work.tokens / (*measured.tokens_per_s_per_gpu * work.gpus);
    if (std::max(given, implied) > kApart * std::min(given, implied)) {
      return fmt::format("step_time_s {} and tokens_per_s_per_gpu {}, which would be a step of {:.3g} s",
                         given, *measured.tokens_per_s_per_gpu, implied);
    }
  }
  const std::optional<Seconds> step = measured_step_time(measured, work);
  if (!step || work.peak_flops <= 0.0) return {};
  const double mfu = work.model_flops / (step->base() * work.peak_flops);
  if (mfu <= kBeyondThePeak) return {};
  return fmt::format("a step of {:.3g} s, {:.3g} times as fast as the peak of its {} GPUs", step->base(), mfu,
                     work.gpus);
}

std::optional<Seconds> measured_step_time(const MeasuredRun& measured, const StepWork& work) {
  if (measured.step_time) return measured.step_time;
  if (measured.tokens_per_s_per_gpu)
    return seconds(work.tokens / (*measured.tokens_per_s_per_gpu * work.gpus));
  if (measured.model_tflops_per_gpu) {
    return seconds(work.model_flops / (*measured.model_tflops_per_gpu * 1e12 * work.gpus));
  }
  if (measured.hardware_tflops_per_gpu) {
    return seconds(work.hardware_flops / (*measured.hardware_tflops_per_gpu * 1e12 * work.gpus));
  }
  if (measured.mfu && work.peak_flops > 0)
    return seconds(work.model_flops / (*measured.mfu * work.peak_flops));
  return std::nullopt;
}

}  // namespace orrery
