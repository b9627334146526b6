#include "reports/answers/kernel.hpp"

#include <cmath>
#include <stdexcept>

#include "calibration/kernels/kernel_model.hpp"
#include "reports/answers/calibrated_models.hpp"
#include "sim/base/quantile.hpp"
#include "sim/cost/kernel_sequence.hpp"
#include "topologies/gpu_spec.hpp"

namespace orrery {

DeviceSpec read_gpu_argument(const std::string& argument) {
  const bool file = argument.find('/') != std::string::npos || argument.ends_with(".json");
  const Json document = file ? read_json_file(argument) : Json(argument);
  Problems problems(file ? argument : "--gpu");
  Origins origins;
  Provenance provenance(origins);
  const GpuSpec gpu = read_gpu(SpecReader(document, "", problems), provenance, "gpu");
  problems.throw_if_any();
  return gpu.device;
}

std::unique_ptr<CostModel> kernel_cost_model(const KernelOptions& options) {
  const DeviceSpec device = read_gpu_argument(options.gpu);
  check_calibration_name(options.calibration, "--calibration", "");
  try {
    if (options.tier == Tier::datasheet) return make_roofline_model(device);
    return make_kernel_model(device, KernelContext{{}, options.sustained}, options.calibration);
  } catch (const std::invalid_argument& error) {
    throw InputError(InputProblem{"--gpu", "", "", "", error.what()});
  }
}

KernelAnswer answer_kernel(const CostModel& model, const Operator& op) {
  KernelAnswer answer;
  answer.time = model.time(op);
  const double factor = std::exp(kNinetiethPercentile * answer.time.relative_spread);
  answer.interval = {answer.time.time / factor, answer.time.time * factor};
  answer.work = kernel_work(op);
  answer.power = model.power(op);
  return answer;
}

bool answer_kernel(const CostModel& model, const KernelLine& kernel, const std::string& file,
                   KernelAnswer& answer, KernelProblems& problems) {
  try {
    answer = answer_kernel(model, kernel.op);
    return true;
  } catch (const std::invalid_argument& error) {
    const bool attention = std::holds_alternative<AttentionShape>(kernel.op.shape);
    problems.add({file, attention ? "/kernel" : "", "", "", error.what()});
    return false;
  }
}

}  // namespace orrery
