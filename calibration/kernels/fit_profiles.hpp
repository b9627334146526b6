#pragma once

#include <string>
#include <vector>

#include "calibration/kernels/kernel_profile.hpp"

namespace orrery {

/// Where the measurements are.
struct FitInputs {
  std::string gemm;       ///< calibration/data/gemm.jsonl
  std::string attention;  ///< calibration/data/attention.jsonl
  std::string devices;    ///< calibration/kernels/reference_devices.json
  std::string memory;     ///< calibration/kernels/memory_rates.json
};

/// The inputs below a source or data root.
FitInputs shipped_inputs(const std::string& root);

/// Fits every GPU of the reference devices, in their order. Deterministic; about 15 s on one core.
/// @throws InputError if an input cannot be read
std::vector<KernelProfile> fit_profiles(const FitInputs& inputs);

}  // namespace orrery
