#include "calibration/kernels/sustained.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "calibration/kernels/log_error_fit.hpp"
#include "sim/base/quantile.hpp"

namespace orrery {
namespace {

/// Share of a time beyond which what is left without its quantise says more of the form than of the product:
/// a long product with 128 columns would otherwise pass the peak.
constexpr double kLargestQuantize = 0.2;

double rate_of(const GemmMeasurement& row) { return (row.shape.flops() / row.time).base(); }

}  // namespace

SustainedFactors::SustainedFactors(std::span<const GemmMeasurement> measurements,
                                   std::span<const DeviceSpec> devices, const KernelRules& rules,
                                   Products products)
    : measurements_(measurements), devices_(devices), rules_(rules), products_(std::move(products)) {}

const GemmFit* SustainedFactors::burst_of(const std::string& gpu, Precision precision) {
  const GemmFit* fit = products_(stand_in_for(rules_.burst_of, gpu).value_or(gpu), precision);
  return fit != nullptr && !fit->measured_sustained ? fit : nullptr;
}

/// Best rate of the burst table, the quantise of the activations taken off.
std::optional<double> SustainedFactors::best_burst(const std::string& gpu, Precision precision) {
  const GemmFit* fit = burst_of(gpu, precision);
  const std::string name = stand_in_for(rules_.burst_of, gpu).value_or(gpu);
  const auto device = std::find_if(devices_.begin(), devices_.end(),
                                   [&](const DeviceSpec& other) { return other.name == name; });
  if (fit == nullptr || device == devices_.end()) return std::nullopt;
  double best = 0.0;
  for (const MeasuredGemm& row : fit->shapes) {
    const Seconds quantize = gemm_pieces(fit->parameters, *device, row.shape).quantize;
    if (quantize > kLargestQuantize * row.time) continue;
    best = std::max(best, (row.shape.flops() / (row.time - quantize)).base());
  }
  if (best == 0.0) return std::nullopt;
  return best;
}

const std::optional<SustainedFactors::Ratio>& SustainedFactors::peak_ratio(const std::string& gpu,
                                                                           Precision precision) {
  const auto key = std::pair(gpu, precision);
  const auto known = peak_ratios_.find(key);
  if (known != peak_ratios_.end()) return known->second;
  double searched = 0.0;
  for (const GemmMeasurement& row : measurements_) {
    if (row.gpu == gpu && row.shape.precision == precision && row.campaign == Campaign::peak_search)
      searched = std::max(searched, rate_of(row));
  }
  std::optional<Ratio> ratio;
  const auto best = searched > 0.0 ? best_burst(gpu, precision) : std::nullopt;
  if (best) {
    ratio = Ratio{searched / *best, fmt::format("{} {}: best searched {:.1f} TFLOP/s over best burst {:.1f}",
                                                gpu, name_of(precision), searched / 1e12, *best / 1e12)};
  }
  return peak_ratios_.emplace(key, std::move(ratio)).first->second;
}

std::optional<SustainedFactors::Ratio> SustainedFactors::find_training_ratio(const std::string& gpu) {
  double looped = 0.0;
  std::vector<const GemmMeasurement*> singles;
  for (const GemmMeasurement& row : measurements_) {
    if (row.gpu != gpu || row.shape.precision != Precision::bf16 || row.states_conditions) continue;
    if (row.campaign == Campaign::sustained) looped = std::max(looped, rate_of(row));
    if (row.campaign == Campaign::random_loop) singles.push_back(&row);
  }
  if (looped == 0.0 && singles.empty()) return std::nullopt;
  const GemmFit* burst = burst_of(gpu, Precision::bf16);
  if (burst == nullptr) return std::nullopt;
  if (const auto best = looped > 0.0 ? best_burst(gpu, Precision::bf16) : std::nullopt) {
    return Ratio{looped / *best,
                 fmt::format("{}: best of SimuMax's training loops {:.1f} TFLOP/s over best burst {:.1f}",
                             gpu, looped / 1e12, *best / 1e12)};
  }
  std::optional<Ratio> ratio;
  for (const GemmMeasurement* row : singles) {
    for (const MeasuredGemm& other : burst->shapes) {
      if (other.shape != row->shape) continue;
      ratio =
          Ratio{other.time / row->time,
                fmt::format(
                    "{}: {:.4g} TFLOP/s with normal random data in a loop over {:.4g} in the burst table, {} "
                    "x {} x {} ({})",
                    gpu, rate_of(*row) / 1e12, (row->shape.flops() / other.time).base() / 1e12, row->shape.m,
                    row->shape.n, row->shape.k, row->source)};
    }
  }
  return ratio;
}

const std::optional<SustainedFactors::Ratio>& SustainedFactors::training_ratio(const std::string& gpu) {
  const auto known = training_ratios_.find(gpu);
  if (known != training_ratios_.end()) return known->second;
  std::optional<Ratio> ratio = find_training_ratio(gpu);
  return training_ratios_.emplace(gpu, std::move(ratio)).first->second;
}

std::optional<SustainedFactors::Ratio> SustainedFactors::step_down(const std::string& architecture,
                                                                   int depth) {
  constexpr int kDeepest = 4;  // rules that name one another in a circle say nothing
  const auto rule =
      std::find_if(rules_.step_downs.begin(), rules_.step_downs.end(),
                   [&](const StepDownRule& entry) { return entry.architecture == architecture; });
  if (rule == rules_.step_downs.end() || depth > kDeepest) return std::nullopt;
  if (!rule->gpu.empty()) {
    const auto& training = training_ratio(rule->gpu);
    if (!training) return std::nullopt;
    const auto& peak = peak_ratio(rule->gpu, Precision::bf16);
    if (!peak) return std::nullopt;
    const double value = std::min(1.0, training->value / peak->value);
    return Ratio{value, fmt::format("step-down {:.3f} ({}; {})", value, training->text, peak->text)};
  }
  double sum = 0.0;
  std::string parts;
  for (const std::string& other : rule->mean_of) {
    const auto part = step_down(other, depth + 1);
    if (!part) return std::nullopt;
    sum += std::log(part->value);
    parts += fmt::format("{}{}'s {:.3f}", parts.empty() ? "" : ", ", other, part->value);
  }
  const double value = std::exp(sum / static_cast<double>(rule->mean_of.size()));
  return Ratio{value, fmt::format("step-down {:.3f} ({}: {})", value, rule->source, parts),
               Evidence::assumed};
}

std::optional<SustainedFactor> SustainedFactors::own_factor(const std::string& gpu,
                                                            Precision precision) const {
  std::map<GemmShape, std::vector<double>> bursts, loops;
  for (const GemmMeasurement& row : measurements_) {
    if (row.gpu != gpu || row.shape.precision != precision || !row.states_conditions) continue;
    (row.campaign == Campaign::sustained ? loops : bursts)[row.shape].push_back(row.time.base());
  }
  std::vector<double> ratios;
  for (const auto& [shape, times] : loops) {
    const auto burst = bursts.find(shape);
    if (burst == bursts.end()) continue;
    ratios.push_back(*quantile(burst->second, 0.5) / *quantile(times, 0.5));
  }
  const auto median = quantile(ratios, 0.5);
  if (!median) return std::nullopt;
  SustainedFactor factor;
  factor.precision = precision;
  factor.factor = six_digits(std::min(1.0, *median));
  factor.evidence = Evidence::measured;
  factor.source.text = fmt::format(
      "{}: median over {} shapes of the burst's time over the time under minutes of load, {:.3f} to {:.3f}",
      gpu, ratios.size(), *std::min_element(ratios.begin(), ratios.end()),
      *std::max_element(ratios.begin(), ratios.end()));
  return factor;
}

std::optional<SustainedFactor> SustainedFactors::ruled_factor(const DeviceSpec& device, Precision precision) {
  SustainedFactor factor;
  factor.precision = precision;
  if (const auto& training = training_ratio(device.name); precision == Precision::bf16 && training) {
    factor.factor = six_digits(std::min(1.0, training->value));
    factor.evidence = Evidence::measured;
    factor.source.text = training->text;
    return factor;
  }
  const Precision other = precision == Precision::bf16 ? Precision::fp8 : Precision::bf16;
  const Precision first = precision == Precision::fp8_block ? Precision::fp8 : precision;
  std::optional<Ratio> peak = peak_ratio(device.name, first);
  const bool own = peak.has_value();
  if (const auto sibling = stand_in_for(rules_.search_of, device.name); !peak && sibling)
    peak = peak_ratio(*sibling, first);
  if (!peak) peak = peak_ratio(device.name, other);
  std::optional<Ratio> step = step_down(device.architecture);
  const bool known = step.has_value();
  if (!step) step = step_down(rules_.step_down_otherwise);
  if (!peak && !step) return std::nullopt;

  const Ratio used = peak.value_or(Ratio{1.0, "no search on this GPU: peak ratio 1"});
  const Ratio down = step.value_or(Ratio{1.0, "no step-down"});
  factor.factor = six_digits(std::min(1.0, std::min(1.0, used.value) * down.value));
  factor.evidence =
      own && known && down.evidence != Evidence::assumed ? Evidence::extrapolated : Evidence::assumed;
  factor.source.text = fmt::format("{}{}; x {}", factor.evidence == Evidence::assumed ? "assumed: " : "",
                                   used.text, down.text);
  return factor;
}

SustainedFactor SustainedFactors::nvfp4_factor(const KernelProfile& profile, SustainedFactor eight) const {
  const GemmFit* fp8 = profile.gemm_for(Precision::fp8);
  const GemmFit* nvfp4 = profile.gemm_for(Precision::nvfp4);
  SustainedFactor factor = std::move(eight);
  factor.precision = Precision::nvfp4;
  factor.evidence = Evidence::assumed;
  if (fp8 != nullptr && nvfp4 != nullptr) {
    const double fp8_factor = factor.factor;
    factor.factor =
        six_digits(std::min(1.0, fp8_factor * fp8->parameters.efficiency / nvfp4->parameters.efficiency));
    factor.source.text = fmt::format(
        "assumed: the power limit binds at the share of the peak that fp8 sustains ({:.3f} x {:.3f}); nvfp4 "
        "reaches {:.3f}",
        fp8_factor, fp8->parameters.efficiency, nvfp4->parameters.efficiency);
  } else if (!factor.source.assumed()) {
    factor.source.text = "assumed as fp8's: " + factor.source.text;
  }
  return factor;
}

std::optional<SustainedFactor> SustainedFactors::factor_of(const KernelProfile& profile,
                                                           Precision precision) {
  if (auto own = own_factor(profile.gpu, precision)) return own;
  if (precision != Precision::nvfp4) return ruled_factor(profile.device, precision);
  std::optional<SustainedFactor> eight = own_factor(profile.gpu, Precision::fp8);
  if (!eight) eight = ruled_factor(profile.device, Precision::fp8);
  if (!eight) return std::nullopt;
  return nvfp4_factor(profile, std::move(*eight));
}

SustainedFactor SustainedFactors::unknown(Precision precision) {
  return {precision, 1.0, Evidence::assumed,
          Source{"assumed: no row under sustained load and no rule for this GPU: the burst's clock"}};
}

}  // namespace orrery
