#pragma once

#include <string>
#include <string_view>

#include "calibration/kernels/kernel_profile.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {

/// A profile as the text of a file (schema orrery.calibration/1): keys in a fixed order, one measured shape a
/// line.
std::string profile_text(const KernelProfile& profile);

/// Reads such a text back. `file` names it in problems.
/// @throws InputError with every problem of the file
KernelProfile parse_profile(std::string_view text, const std::string& file);

/// Reads the device of a profile: name, architecture, sms, memory_bandwidth,
/// peak_tflops. Fp8's peak stands for fp8_current, fp8_block and mxfp8 too.
DeviceSpec read_reference_device(const SpecReader& reader);

}  // namespace orrery
