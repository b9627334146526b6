#pragma once

#include <filesystem>
#include <string_view>

#include "sim/collectives/expert_exchange.hpp"
#include "sim/collectives/host_staged_model.hpp"

namespace orrery {

/// Constants of a host-staged library from calibration/profiles/collectives/host-staged.json.
/// @param library    "mpi" or "gloo"
/// @param host_link  PCIe of a GPU and direction
/// @throws InputError for another library or a damaged file
HostStagedConstants load_host_staged(std::string_view library, BytesPerSecond host_link);

/// Constants of expert exchanges from calibration/profiles/collectives/expert-exchange.json.
/// @param low_latency  the kernels for few tokens instead of those for training
/// @throws InputError for a damaged file
ExpertExchangeConstants load_expert_exchange(NicProtocol protocol, bool low_latency);

}  // namespace orrery
