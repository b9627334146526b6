#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sim/collectives/collective_model.hpp"
#include "sim/cost/device_spec.hpp"
#include "sim/network/group_shape.hpp"

namespace orrery {

/// The communication library of a software stack (contract section 2, `software.collectives`).
struct LibraryChoice {
  std::string name = "nccl";  ///< nccl, rccl, mpi or gloo
  std::string version;        ///< NCCL's; a note: no time depends on it
};

/// nccl, rccl, mpi, gloo.
const std::vector<std::string>& collective_library_names();

/// Model of a library's collectives on a GPU and a cluster.
///
/// nccl: fitted measurements (calibration/collectives); rccl: the same where AMD's GPU has
/// curves of its own, else its cost table; mpi and gloo: through the
/// host.
/// @param calibration  name or file of a kernel profile whose collectives are laid over NCCL's; may be empty
/// @throws InputError for a library or a profile that does not exist
std::shared_ptr<const CollectiveModel> make_collective_model(const LibraryChoice& library,
                                                             const DeviceSpec& device,
                                                             const ClusterShape& cluster,
                                                             const std::string& calibration);

}  // namespace orrery
