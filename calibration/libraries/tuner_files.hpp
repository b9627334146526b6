#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "sim/collectives/tuner_constants.hpp"

namespace orrery {

/// The table of NCCL's tuner for a version and an architecture, from
/// calibration/profiles/collectives/nccl-tuner.json.
/// @param version       "2.21" or "2.21.5"; empty: the file's default. Each entry of the file holds from its
///                      version on, the last for its own releases only.
/// @param architecture  of the GPU ("hopper"); one that the file does not list takes the newest listed before
/// it
///                      in the library's own way only where the file says so, else it is refused
/// @throws InputError for a version before the first entry, beyond the last or no version at all, an unknown
/// architecture, or a damaged file
TunerConstants load_nccl_tuner(std::string_view version, std::string_view architecture);
TunerConstants load_nccl_tuner(std::string_view version, std::string_view architecture,
                               const std::filesystem::path& file);

/// RCCL's table, from the same file. One version is known.
TunerConstants load_rccl_tuner();
TunerConstants load_rccl_tuner(const std::filesystem::path& file);

}  // namespace orrery
