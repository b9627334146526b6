#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "calibration/kernels/kernel_profile.hpp"
#include "calibration/kernels/measurements.hpp"

namespace orrery {

/// Clock under minutes of training over the clock of a burst, from measurements of single kernels alone.
///
///   peak ratio        best product of a search (mean of 100 runs after 50) over the best of the burst table,
///                     quantise taken off
///   training ratio    best product in a training framework's benchmark loops (SimuMax: B200, A100 PCIe) over
///   the best
///                     of the burst table; A100 SXM: one product looped with random data over the same in the
///                     table. Best against best, because SimuMax's other rows also pay for layouts and fp32
///                     accumulation
///   step-down         training ratio over peak ratio: what a loop of milliseconds does not show. Ampere's
///   from the A100
///                     PCIe, Blackwell's from the B200; Hopper's is their geometric mean (assumed: it stands
///                     between them in power per chip area); other architectures take Ampere's (assumed)
///   factor            the training ratio where it was measured (bf16), else peak ratio x step-down; at
///   most 1. A
///                     precision or GPU without a search takes the nearest (bf16 for fp8 and back, B300 for
///                     GB300, H100 for H200)
///   nvfp4             min(1, fp8's factor x fp8's efficiency / nvfp4's): the power limit is taken to bind at
///   a share of
///                     the peak, which nvfp4 products do not reach (assumed)
/// Step times of training runs are not used: that is the tier stack's to learn.
class SustainedFactors {
 public:
  /// @param profiles with their fits of products; a100-pcie-80gb borrows a100-sxm4-80gb's bursts
  SustainedFactors(std::span<const KernelProfile> profiles, std::span<const GemmMeasurement> measurements);

  /// Factors of a profile's fitted precisions.
  std::vector<SustainedFactor> factors_of(const KernelProfile& profile) const;

 private:
  struct Ratio {
    double value = 1.0;
    std::string text;  ///< how it came about
  };
  const Ratio* peak_ratio(const std::string& gpu, Precision precision) const;
  SustainedFactor factor_of(const KernelProfile& profile, Precision precision) const;
  SustainedFactor nvfp4_factor(const KernelProfile& profile) const;

  std::map<std::pair<std::string, Precision>, Ratio> peak_ratios_;
  std::map<std::string, Ratio> training_ratios_;  ///< by GPU, bf16
  std::map<std::string, Ratio> step_downs_;       ///< by architecture
};

}  // namespace orrery
