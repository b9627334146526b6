#include "models/offload.hpp"

#include "models/memory.hpp"
#include "models/optimizer_step.hpp"

namespace orrery {

std::vector<bool> layers_with_offload(const TrainingSpec& training, const ParallelPlan& plan) {
  const PipelinePlacement place = plan.pipeline_placement();
  std::vector<bool> offloaded;
  std::vector<int> left(static_cast<size_t>(plan.pipeline), training.offload.activations_layers);
  for (int v = 0; v < place.chain_length(); ++v) {
    int& still = left[static_cast<size_t>(place.stage_of(v))];
    for (int layer = 0; layer < plan.stage_layers[static_cast<size_t>(v)]; ++layer) {
      offloaded.push_back(still-- > 0);
    }
  }
  return offloaded;
}

Seconds offload_tail(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                     const ParallelPlan& parallel, const StepPlan& plan, const PlanSegment& segment,
                     double work_s, BytesPerSecond host_link) {
  const int asked = training.offload.activations_layers;
  if (asked == 0) return Seconds(0);
  const std::vector<bool> offloaded = layers_with_offload(training, parallel);
  Bytes bytes;
  for (const PartRun& run : segment.runs) {
    if (run.part != Part::layer && run.part != Part::layer_without_recompute) continue;
    double layers = run.first_layer < 0 ? static_cast<double>(asked) / model.layers : 0.0;
    for (int i = 0; run.first_layer >= 0 && i < run.count; ++i) {
      if (offloaded[static_cast<size_t>(run.first_layer) + static_cast<size_t>(i)]) layers += 1.0;
    }
    bytes += layer_activation_bytes(model, training, stack, parallel, false,
                                    plan.costs->kinds[static_cast<size_t>(run.kind)].kind) *
             layers;
  }
  return max(Seconds(0), bytes / host_link - Seconds(work_s));
}

HostUpdate host_update(const TrainingSpec& training, const SoftwareStack& stack, const ParallelPlan& parallel,
                       double updated, const CostInputs& inputs) {
  HostUpdate host;
  if (!parallel.overlap.gradient) {
    host.gradients = Bytes(updated * reduced_gradient_bytes(training, stack)) / inputs.host_link;
  }
  const Seconds parameters = Bytes(updated * activation_bytes(training.precision)) / inputs.host_link;
  const double traffic =
      optimizer_traffic(training.optimizer, training.precision, training.optimizer_storage) * updated *
      inputs.gpus_per_node;
  host.update = max(parameters, Bytes(traffic) / (inputs.host_memory * stack.offloads.host_bandwidth_share));
  return host;
}

}  // namespace orrery
