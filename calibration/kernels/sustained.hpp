#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "calibration/kernels/kernel_profile.hpp"
#include "calibration/kernels/kernel_rules.hpp"
#include "calibration/kernels/measurements.hpp"

namespace orrery {

/// Clock under minutes of training over the clock of a burst, from measurements of single kernels alone.
///
///   own rows          lines that say `conditions`: the median over shapes of burst time over sustained time
///   of
///                     the same shape on the same GPU (evidence measured; wins over all that follows)
///   peak ratio        best product of a search (mean of 100 runs after 50) over the best of the burst table,
///                     quantise taken off
///   training ratio    best product in a training framework's benchmark loops (SimuMax: B200, A100 PCIe) over
///                     the best of the burst table; A100 SXM: one product looped with random data over the
///                     same in the table. Best against best, because SimuMax's other rows also pay for
///                     layouts and fp32 accumulation
///   step-down         training ratio over peak ratio: what a loop of milliseconds does not show, by
///                     architecture as kernel_rules.json says
///   factor            the training ratio where it was measured (bf16), else peak ratio x step-down; at most
///                     1. A precision or GPU without a search takes the nearest (bf16 for fp8 and back, the
///                     GPU that the rules name)
///   nvfp4             min(1, fp8's factor x fp8's efficiency / nvfp4's): the power limit is taken to bind at
///                     a share of the peak, which nvfp4 products do not reach (assumed)
/// Step times of training runs are not used: that is the tier stack's to learn.
class SustainedFactors {
 public:
  /// The products of a GPU and precision fitted to rows, null without any.
  using Products = std::function<const GemmFit*(const std::string& gpu, Precision precision)>;

  /// All must outlive this.
  SustainedFactors(std::span<const GemmMeasurement> measurements, std::span<const DeviceSpec> devices,
                   const KernelRules& rules, Products products);

  /// The factor of a precision that the profile has; nothing if neither the GPU's own rows nor any rule above
  /// says anything.
  std::optional<SustainedFactor> factor_of(const KernelProfile& profile, Precision precision);
  /// What to take where factor_of says nothing: no factor, assumed.
  static SustainedFactor unknown(Precision precision);

 private:
  struct Ratio {
    double value = 1.0;
    std::string text;  ///< how it came about
    Evidence evidence = Evidence::extrapolated;
  };
  std::optional<SustainedFactor> own_factor(const std::string& gpu, Precision precision) const;
  std::optional<SustainedFactor> ruled_factor(const DeviceSpec& device, Precision precision);
  SustainedFactor nvfp4_factor(const KernelProfile& profile, SustainedFactor eight) const;
  /// Products of the burst table that stands for a GPU's, null without one.
  const GemmFit* burst_of(const std::string& gpu, Precision precision);
  std::optional<double> best_burst(const std::string& gpu, Precision precision);
  const std::optional<Ratio>& peak_ratio(const std::string& gpu, Precision precision);
  const std::optional<Ratio>& training_ratio(const std::string& gpu);
  std::optional<Ratio> find_training_ratio(const std::string& gpu);
  std::optional<Ratio> step_down(const std::string& architecture, int depth = 0);

  std::span<const GemmMeasurement> measurements_;
  std::span<const DeviceSpec> devices_;
  const KernelRules& rules_;
  Products products_;
  std::map<std::pair<std::string, Precision>, std::optional<Ratio>> peak_ratios_;
  std::map<std::string, std::optional<Ratio>> training_ratios_;
};

}  // namespace orrery
