#include "reports/answers/collective_library.hpp"

#include <algorithm>
#include <utility>

#include "calibration/collectives/collective_profiles.hpp"
#include "calibration/kernels/kernel_profile.hpp"
#include "calibration/kernels/profile_library.hpp"
#include "calibration/libraries/host_files.hpp"
#include "calibration/libraries/tuner_files.hpp"
#include "sim/base/errors.hpp"
#include "sim/collectives/host_staged_model.hpp"
#include "sim/collectives/nccl_model.hpp"
#include "sim/collectives/tuner_model.hpp"

namespace orrery {

const std::vector<std::string>& collective_library_names() {
  static const std::vector<std::string> kNames = {"nccl", "rccl", "mpi", "gloo"};
  return kNames;
}

std::shared_ptr<const CollectiveModel> make_collective_model(const LibraryChoice& library,
                                                             const DeviceSpec& device,
                                                             const ClusterShape& cluster,
                                                             const std::string& calibration) {
  if (library.name == "mpi" || library.name == "gloo") {
    return std::make_shared<HostStagedModel>(load_host_staged(library.name, cluster.host_link));
  }
  if (library.name != "nccl" && library.name != "rccl") {
    throw InputError(InputProblem{"collectives", "", "\"" + library.name + "\"",
                                  one_of(collective_library_names(), library.name), ""});
  }
  CollectiveConstants constants = load_collective_constants(device.name, cluster.protocol);
  if (library.name == "rccl" && constants.domain.curves.empty()) {
    return std::make_shared<TunerModel>(load_rccl_tuner());
  }
  // A user's own profile may hold the collectives of a node too (orrery calibrate).
  if (!calibration.empty()) {
    const Json section = load_profile_named(calibration).collectives;
    if (!section.is_null()) lay_over_domain(constants, device.name, section, calibration);
  }
  return std::make_shared<NcclModel>(std::move(constants));
}

}  // namespace orrery
