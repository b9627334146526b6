#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "calibration/kernels/fit_profiles.hpp"

namespace orrery {

struct CalibrateOptions {
  std::vector<std::string> measurements;  ///< files, and folders of *.jsonl
  std::string gpu;                        ///< preset name
  std::string base;        ///< profile to fill gaps from: empty the shipped one, "none", or a name or file
  std::uint64_t seed = 1;  ///< of the held-out fifth
  bool held_out = true;  ///< also fit with a fifth left out, which the report needs and the profile does not
  std::function<void(const std::string& what)> progress;  ///< what is being fitted; may be empty
};

/// What was fitted, and how good it is.
struct Calibration {      // NOLINT(bugprone-exception-escape): moving ordered JSON allocates nothing
  KernelProfile profile;  ///< its hash is set
  std::string text;       ///< of the profile's file
  std::vector<TableReport> tables;  ///< in the profile's order
  std::vector<std::string> files;   ///< that were read
  int lines = 0;                    ///< in them, of this GPU
  std::string base;                 ///< how the base is called; empty without one
  std::uint64_t seed = 1;
  std::vector<std::string> warnings;
};

/// Reads measurements and fits the calibration profile of one GPU: kernels (calibration/kernels) and, from
/// lines of kernels/ that one node's GPUs measured, collectives (calibration/collectives). Writes nothing.
/// @throws InputError for an unknown GPU or base, a line that cannot be read, or no line of the GPU
Calibration calibrate(const CalibrateOptions& options);

/// All GPU presets as the fits need them.
std::vector<DeviceSpec> preset_devices();

}  // namespace orrery
