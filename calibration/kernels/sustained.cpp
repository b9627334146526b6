#include "calibration/kernels/sustained.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "calibration/kernels/log_error_fit.hpp"

namespace orrery {
namespace {

const KernelProfile* profile_named(std::span<const KernelProfile> profiles, std::string_view gpu) {
  const auto found =
      std::find_if(profiles.begin(), profiles.end(), [&](const auto& profile) { return profile.gpu == gpu; });
  return found == profiles.end() ? nullptr : &*found;
}

/// Whose burst table stands for a GPU's.
std::string_view burst_gpu(std::string_view gpu) { return gpu == "a100-pcie-80gb" ? "a100-sxm4-80gb" : gpu; }

/// Best rate of the burst table, the quantise of the activations taken off.
double best_burst(const GemmFit& fit, const DeviceSpec& device) {
  double best = 0.0;
  for (const MeasuredGemm& row : fit.shapes) {
    const Seconds quantize = gemm_pieces(fit.parameters, device, row.shape).quantize;
    best = std::max(best, (row.shape.flops() / (row.time - quantize)).base());
  }
  return best;
}

}  // namespace

SustainedFactors::SustainedFactors(std::span<const KernelProfile> profiles,
                                   std::span<const GemmMeasurement> measurements) {
  std::map<std::pair<std::string, Precision>, double> searched;
  std::map<std::string, double> looped;
  for (const GemmMeasurement& row : measurements) {
    const KernelProfile* burst = profile_named(profiles, burst_gpu(row.gpu));
    const GemmFit* fit = burst ? burst->gemm_for(row.shape.precision) : nullptr;
    if (!fit || fit->measured_sustained) continue;
    const double rate = (row.shape.flops() / row.time).base();
    if (row.campaign == Campaign::peak_search) {
      double& best = searched[{row.gpu, row.shape.precision}];
      best = std::max(best, rate);
    } else if (row.campaign == Campaign::sustained) {
      looped[row.gpu] = std::max(looped[row.gpu], rate);
    } else if (row.campaign == Campaign::kernel && row.shape.precision == Precision::bf16) {
      for (const MeasuredGemm& other : fit->shapes) {
        if (other.shape != row.shape) continue;
        training_ratios_[row.gpu] = {
            other.time / row.time,
            fmt::format("{}: {:.4g} TFLOP/s with normal random data in a loop over {:.4g} in the burst "
                        "table, {} x {} x {} ({})",
                        row.gpu, rate / 1e12, (row.shape.flops() / other.time).base() / 1e12, row.shape.m,
                        row.shape.n, row.shape.k, row.source)};
      }
    }
  }
  const auto best_of_table = [&](const std::string& gpu, Precision precision) {
    const KernelProfile& burst = *profile_named(profiles, burst_gpu(gpu));
    return best_burst(*burst.gemm_for(precision), burst.device);
  };
  for (const auto& [key, rate] : searched) {
    const double best = best_of_table(key.first, key.second);
    peak_ratios_[key] = {rate / best,
                         fmt::format("{} {}: best searched {:.1f} TFLOP/s over best burst {:.1f}", key.first,
                                     name_of(key.second), rate / 1e12, best / 1e12)};
  }
  for (const auto& [gpu, rate] : looped) {
    const double best = best_of_table(gpu, Precision::bf16);
    training_ratios_[gpu] = {
        rate / best, fmt::format("{}: best of SimuMax's training loops {:.1f} TFLOP/s over best burst {:.1f}",
                                 gpu, rate / 1e12, best / 1e12)};
  }
  constexpr std::array<std::pair<const char*, const char*>, 2> kBoth = {
      {{"ampere", "a100-pcie-80gb"}, {"blackwell", "b200-sxm-180gb"}}};
  for (const auto& [architecture, gpu] : kBoth) {
    const Ratio* peak = peak_ratio(gpu, Precision::bf16);
    const auto training = training_ratios_.find(gpu);
    if (!peak || training == training_ratios_.end()) continue;
    const double value = std::min(1.0, training->second.value / peak->value);
    step_downs_[architecture] = {
        value, fmt::format("step-down {:.3f} ({}; {})", value, training->second.text, peak->text)};
  }
  const auto ampere = step_downs_.find("ampere"), blackwell = step_downs_.find("blackwell");
  if (ampere != step_downs_.end() && blackwell != step_downs_.end()) {
    const double value = std::sqrt(ampere->second.value * blackwell->second.value);
    step_downs_["hopper"] = {value,
                             fmt::format("step-down {:.3f} (assumed: geometric mean of Ampere's {:.3f} and "
                                         "Blackwell's {:.3f})",
                                         value, ampere->second.value, blackwell->second.value)};
  }
}

const SustainedFactors::Ratio* SustainedFactors::peak_ratio(const std::string& gpu,
                                                            Precision precision) const {
  const auto found = peak_ratios_.find({gpu, precision});
  return found == peak_ratios_.end() ? nullptr : &found->second;
}

SustainedFactor SustainedFactors::factor_of(const KernelProfile& profile, Precision precision) const {
  SustainedFactor factor;
  factor.precision = precision;
  const auto training = training_ratios_.find(profile.gpu);
  if (precision == Precision::bf16 && training != training_ratios_.end()) {
    factor.factor = six_digits(std::min(1.0, training->second.value));
    factor.evidence = Evidence::measured;
    factor.source.text = training->second.text;
    return factor;
  }
  const Precision other = precision == Precision::bf16 ? Precision::fp8 : Precision::bf16;
  const Precision first = precision == Precision::fp8_block ? Precision::fp8 : precision;
  const std::string sibling = profile.gpu == "gb300" ? "b300-sxm-288gb" : "h100-sxm-80gb";
  const bool has_sibling = profile.gpu == "gb300" || profile.gpu == "h200-sxm-141gb";
  const Ratio* peak = peak_ratio(profile.gpu, first);
  if (!peak && has_sibling) peak = peak_ratio(sibling, first);
  const bool own = peak != nullptr && peak_ratio(profile.gpu, first) == peak;
  if (!peak) peak = peak_ratio(profile.gpu, other);
  const auto step_down = step_downs_.find(profile.device.architecture);
  const auto ampere = step_downs_.find("ampere");
  const bool known = step_down != step_downs_.end();
  const Ratio none{1.0, "no search on this GPU: peak ratio 1"};
  const Ratio no_step{1.0, "no step-down"};
  const Ratio& used = peak ? *peak : none;
  const Ratio& step = known ? step_down->second : ampere != step_downs_.end() ? ampere->second : no_step;
  factor.factor = six_digits(std::min(1.0, std::min(1.0, used.value) * step.value));
  factor.evidence =
      own && profile.device.architecture != "hopper" && known ? Evidence::extrapolated : Evidence::assumed;
  factor.source.text = fmt::format("{}{}; x {}", factor.evidence == Evidence::assumed ? "assumed: " : "",
                                   used.text, step.text);
  return factor;
}

SustainedFactor SustainedFactors::nvfp4_factor(const KernelProfile& profile) const {
  const GemmFit* eight = profile.gemm_for(Precision::fp8);
  const GemmFit* four = profile.gemm_for(Precision::nvfp4);
  SustainedFactor factor = factor_of(profile, Precision::fp8);
  factor.precision = Precision::nvfp4;
  factor.evidence = Evidence::assumed;
  if (eight && four) {
    const double fp8_factor = factor.factor;
    factor.factor =
        six_digits(std::min(1.0, fp8_factor * eight->parameters.efficiency / four->parameters.efficiency));
    factor.source.text = fmt::format(
        "assumed: the power limit binds at the share of the peak that fp8 sustains ({:.3f} x {:.3f}); nvfp4 "
        "reaches {:.3f}",
        fp8_factor, eight->parameters.efficiency, four->parameters.efficiency);
  }
  return factor;
}

std::vector<SustainedFactor> SustainedFactors::factors_of(const KernelProfile& profile) const {
  std::vector<SustainedFactor> factors;
  for (const GemmFit& fit : profile.gemm) {
    factors.push_back(fit.precision == Precision::nvfp4 ? nvfp4_factor(profile)
                                                        : factor_of(profile, fit.precision));
  }
  return factors;
}

}  // namespace orrery
