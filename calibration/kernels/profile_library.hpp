#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "calibration/kernels/kernel_profile.hpp"
#include "calibration/kernels/kernel_rules.hpp"

namespace orrery {

/// How near the GPU of a profile is to the GPU that was asked for.
enum class ProfileFit {
  own,           ///< measured on this GPU
  same_chip,     ///< the same chip with other memory or links: what it says is extrapolated
  architecture,  ///< the nearest architecture: what it says is assumed
};

struct LoadedProfile {  // NOLINT(bugprone-exception-escape): moving ordered JSON allocates nothing
  KernelProfile profile;
  ProfileFit fit = ProfileFit::own;
};

/// How near a profile of the GPU `measured` is to another GPU.
ProfileFit fit_of_profile(const std::string& measured, const std::string& gpu, const KernelRules& rules);

/// The profile of a GPU, of a GPU with the same chip, or of the nearest architecture, in this order
/// (calibration/data/kernel_rules.json says which).
/// @param architecture DeviceSpec::architecture
/// @throws InputError if a profile cannot be read, std::invalid_argument for an architecture that no measured
///         GPU can stand for
LoadedProfile load_kernel_profile(const std::string& gpu_name, std::string_view architecture);

/// A profile by its name, or from a file (a name with '/' or ".json").
/// @throws InputError for an unknown name, with the nearest first
KernelProfile load_profile_named(const std::string& name_or_file);

/// Names of the profiles that ship, sorted: for `orrery presets calibrations`.
std::vector<std::string> kernel_profile_names();

}  // namespace orrery
