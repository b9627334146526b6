#pragma once

#include "models/optimizer_step.hpp"
#include "models/step_plan.hpp"
#include "sim/collectives/expert_exchange.hpp"
#include "sim/cost/factors.hpp"

namespace orrery {

/// What timing the parts of a model needs beside the model and the plan.
struct CostInputs {
  const CostModel& cost;
  const CollectiveModel& collectives;
  GroupShape tensor;              ///< shape of a tensor group
  GroupShape context;             ///< shape of a context group
  double straggler_factor = 1.0;  ///< multiplies kernel times: a synchronous step waits for the slowest GPU
  GroupShape expert = {}, expert_tensor = {}, tensor_and_expert = {};  ///< of a model with experts
  /// Of the stack's dispatcher, where it has kernels of its own.
  const ExpertExchangeConstants* exchange = nullptr;
  GroupShape data = {};             ///< of the group that shares an optimizer's update
  BytesPerSecond host_link = {};    ///< between a GPU and the host's memory, one direction
  BytesPerSecond host_memory = {};  ///< of a node
  int gpus_per_node = 1;
  /// Of a stage's passes, how many run beside one of another micro-batch (overlap.expert).
  double paired_share = 0.0;
  Factors factors = {};  ///< of the stack and the site

  /// Time of a collective of a group of that kind, factors applied.
  CollectiveTime collective_time(GroupKind group, CollectiveOp op, Bytes payload,
                                 const GroupShape& shape) const {
    return slowed(collectives.time(op, payload, shape), factors.on(group, shape.nodes));
  }
};

/// Times every operator and collective of a transformer layer, the embedding and the head.
LayerCosts make_layer_costs(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                            const ParallelPlan& parallel, const CostInputs& inputs);

/// Times the optimizer step of a rank; under offload.optimizer the update runs on the host (host_update).
/// @param communications  collectives inside it are added here
PassCost make_optimizer_cost(const TrainingSpec& training, const SoftwareStack& stack,
                             const ParallelPlan& parallel, const OptimizerLoad& load,
                             const CostInputs& inputs, std::vector<InlineCommunication>& communications);

}  // namespace orrery
