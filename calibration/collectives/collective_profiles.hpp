#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "sim/base/json_reader.hpp"
#include "sim/collectives/collective_constants.hpp"
#include "sim/collectives/one_thread.hpp"

namespace orrery {

/// Constants of NcclModel for a GPU and a network protocol, from calibration/profiles/collectives.
///
/// A GPU without a profile of its own takes that of the nearest GPU of its architecture (evidence assumed;
/// the model scales by the scale-up bandwidth) or, where nothing of its architecture was measured, the
/// library's formulas. A protocol without rows takes a related one's: ethernet has its own, omni_path stands
/// on infiniband.
/// @param gpu preset name such as "h100-sxm-80gb"
/// @throws InputError if a profile is damaged
CollectiveConstants load_collective_constants(std::string_view gpu, NicProtocol protocol);
/// The same from another folder of profiles.
CollectiveConstants load_collective_constants(std::string_view gpu, NicProtocol protocol,
                                              const std::filesystem::path& folder);

/// What one thread takes to launch the calls of several GPUs. @throws InputError if the profile is damaged
OneThreadConstants load_one_thread_constants();

/// Lays curves that a user measured on this GPU over the shipped ones: the same operation and number of ranks
/// is replaced, the others stay if they are this GPU's own.
/// @param section  `collectives` of a calibration profile (calibration/kernels), read from `file`
/// @throws InputError if it is damaged
void lay_over_domain(CollectiveConstants& constants, std::string_view gpu, const Json& section,
                     const std::string& file);

/// NCCL's constants for the architecture of a GPU. @throws InputError
LibraryConstants load_library_constants(std::string_view gpu, const std::filesystem::path& library_file);
/// Suffix of the fabric profiles of a library with constants of its own ("cdna"); empty for NCCL's.
std::string fabric_library(const LibraryConstants& library);
/// "fabric-PROTOCOL" or "fabric-PROTOCOL-LIBRARY".
std::string fabric_profile_name(const std::string& library, NicProtocol protocol);
/// The GPU whose profile stands for this one; empty if its architecture has none. @throws InputError
std::string profile_standing_for(std::string_view gpu, const std::filesystem::path& library_file);

}  // namespace orrery
