#include "reports/answers/calibrated_models.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "calibration/kernels/kernel_model.hpp"
#include "calibration/kernels/profile_library.hpp"
#include "calibration/libraries/host_files.hpp"
#include "reports/answers/collective_library.hpp"
#include "sim/cost/year_month.hpp"

namespace orrery {
namespace {

/// Everything about a GPU that a kernel model depends on: an experiment may override a preset's numbers.
std::string device_key(const DeviceSpec& device) {
  std::string key = fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}", device.name, device.architecture, device.sms,
                                device.memory_bandwidth.base(), device.l2_cache.base(),
                                device.board_power.base(), device.exponentials.base(),
                                device.shared_memory_bandwidth.base(), device.persistent_products);
  for (const auto& peak : device.peak) key += fmt::format("|{}", peak ? peak->base() : 0.0);
  return key;
}

/// Refuses a name that no calibration has where it was said: on the command line or in the experiment.
void check_calibration(const Experiment& experiment, const std::string& option) {
  if (option.empty()) {
    check_calibration_name(experiment.calibration, experiment.file, "/calibration");
  } else {
    check_calibration_name(option, "--calibration", "");
  }
}

}  // namespace

std::string hash_of_profile(const CostModel& kernels) {
  const auto* calibrated = dynamic_cast<const CalibratedKernelModel*>(&kernels);
  return calibrated == nullptr ? std::string() : calibrated->profile_hash();
}

void check_calibration_name(const std::string& name, const std::string& file, const std::string& pointer) {
  if (name.empty() || name.find('/') != std::string::npos || name.ends_with(".json")) return;
  const std::vector<std::string> names = kernel_profile_names();
  if (std::find(names.begin(), names.end(), name) != names.end()) return;
  throw InputError(InputProblem{file, pointer, "\"" + name + "\"", one_of(names, name), ""});
}

std::shared_ptr<const CostModel> CalibrationStore::kernels(const Experiment& experiment,
                                                           const PredictOptions& options,
                                                           const std::string& calibration) {
  const KernelContext context = context_without(options.without, experiment.software.date);
  const std::string key =
      fmt::format("{}|{}|{}|{}|{}|{}", device_key(experiment.device), to_text(context.date),
                  context.sustained, context.wave_quantisation, name_of(options.tier), calibration);
  std::shared_ptr<const CostModel>& model = kernels_[key];
  if (!model) {
    model = options.tier == Tier::datasheet ? make_roofline_model(experiment.device)
                                            : make_kernel_model(experiment.device, context, calibration);
  }
  return model;
}

std::shared_ptr<const CollectiveModel> CalibrationStore::collectives(const Experiment& experiment,
                                                                     const std::string& calibration) {
  const LibraryChoice library{experiment.software.collectives, experiment.software.collectives_version};
  const std::string key =
      fmt::format("{}|{}|{}|{}|{}|{}", experiment.device.name, name_of(experiment.shape.protocol),
                  library.name, library.version, experiment.shape.host_link.base(), calibration);
  std::shared_ptr<const CollectiveModel>& model = collectives_[key];
  if (!model) model = make_collective_model(library, experiment.device, experiment.shape, calibration);
  return model;
}

std::shared_ptr<const ExpertExchangeConstants> CalibrationStore::exchange(const Experiment& experiment) {
  if (!experiment.model.moe || experiment.software.moe_dispatcher == MoeDispatcher::all_to_all)
    return nullptr;
  std::shared_ptr<const ExpertExchangeConstants>& constants = exchanges_[experiment.shape.protocol];
  if (!constants) {
    constants = std::make_shared<const ExpertExchangeConstants>(
        load_expert_exchange(experiment.shape.protocol, false));
  }
  return constants;
}

CalibratedModels CalibrationStore::models(const Experiment& experiment, const PredictOptions& options) {
  check_calibration(experiment, options.calibration);
  const std::lock_guard<std::mutex> lock(mutex_);
  try {
    const std::string& used = options.calibration.empty() ? experiment.calibration : options.calibration;
    const bool measured = options.tier != Tier::datasheet;
    const std::shared_ptr<const CostModel> costs = kernels(experiment, options, used);
    const std::string hash = hash_of_profile(*costs);
    return {costs, collectives(experiment, measured ? used : ""), exchange(experiment),
            tiers_.use(experiment, options, costs->profile_name(), hash), hash};
  } catch (const std::invalid_argument& error) {
    throw InputError(InputProblem{experiment.file, "/cluster/node/gpu", "", "", error.what()});
  }
}

}  // namespace orrery
