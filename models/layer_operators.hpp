#pragma once

#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include "models/layer_kind.hpp"
#include "models/model_spec.hpp"
#include "models/parallel_plan.hpp"
#include "models/rank_map.hpp"
#include "models/software_stack.hpp"
#include "models/training_spec.hpp"
#include "sim/collectives/expert_exchange.hpp"
#include "sim/workload/collective.hpp"
#include "sim/workload/operator.hpp"

namespace orrery {

/// A communication inside a layer: blocks the rank, unless the plan overlaps it.
struct LayerCommunication {
  std::string_view name;  ///< "tensor all_reduce", "context ring exchange"
  GroupKind group = GroupKind::tensor;
  CollectiveOp op = CollectiveOp::all_reduce;
  Bytes payload;               ///< nccl-tests' size
  int count = 1;               ///< calls one after the other (ring steps)
  double exposed_share = 1.0;  ///< of each call: below 1 under overlap.tensor (userbuffers)
  bool cut_up = false;         ///< by userbuffers, under overlap.tensor where the stack has them
  /// Attention kernels that this hides behind (context ring): exposed is max(0, communication - these
  /// operators' time).
  bool overlaps_attention = false;
  /// The operator that follows does not need the result (a weight gradient beside the reduction of the
  /// input's gradient, a data gradient beside the gather of the input): a stack that issues both at once
  /// hides the communication there (Korthikanti et al. 2022, section 4.2.2). Which stack does is the stack's
  /// matter; exposed_share leaves it out.
  bool beside_next_operator = false;
  Members members = Members::expert;  ///< of group kind expert: which of its groups
  /// An exchange of tokens by kernels of its own; `op` and `payload` are then the all-to-all of all copies.
  std::optional<ExpertTokens> exchange = std::nullopt;
  bool combines = false;                  ///< of such an exchange: tokens come back
  bool overlaps_shared_experts = false;   ///< hides behind the shared experts' kernels
  bool beside_other_micro_batch = false;  ///< hides behind kernels of another micro-batch (overlap.expert)
};

using LayerItem = std::variant<Operator, LayerCommunication>;

/// Kernels that an item starts; a communication's are its library's.
int launches_of(const LayerItem& item);

/// What of a pass stands in graphs over parts of a layer (GraphScope).
struct GraphedPart {
  int graphs = 0;  ///< that the host starts
  int launches = 0, plain_launches = 0, collectives = 0;
};

/// One pass over one kind of layer for one micro-batch on one rank, in order of execution.
struct LayerPass {
  std::vector<LayerItem> items;
  int launches = 0;        ///< kernels that the pass starts
  int plain_launches = 0;  ///< of these, those that a stack counts a plain layer by
  int experts = 0;         ///< of this rank that work in the pass
  GraphedPart graphed;
  /// First item that the host starts after it has waited for the GPU (token counts of experts); -1: none.
  int host_wait = -1;
};

/// What a rank does for a part of the model (one transformer layer; the embedding; the head with loss).
struct LayerWork {
  LayerPass forward;
  LayerPass recompute;  ///< run again before the backward; empty without recomputation
  LayerPass backward;   ///< input and weight gradients
  /// The backward's two parts, where the plan's schedule runs them apart (splits_backward), else empty.
  LayerPass input_gradient, weight_gradient;
  Flops model_flops_forward;  ///< whole model convention: products of one micro-batch, all tensor and context
                              ///< ranks together
};

/// One transformer layer of a kind. Shapes after tensor, sequence and context parallelism, for one
/// micro-batch of training.micro_batch sequences.
///
/// Element-wise kernels carry the traffic of the stack's ElementwisePasses (their sum is exactly that),
/// products their shapes, and the launches of all operators of a pass add up to the stack's kernels_forward /
/// kernels_backward.
/// Sources: operators and collectives of tensor and sequence parallelism: Shoeybi et al. 2019, section 3;
/// Korthikanti et al. 2022, section 4. Ring: Liu et al. 2023. Ulysses: Jacobs et al. 2023. Gathered keys and
/// values: Dubey et al. 2024, section 3.3.2.
LayerWork transformer_layer_work(const ModelSpec& model, const TrainingSpec& training,
                                 const SoftwareStack& stack, const ParallelPlan& plan, LayerKind kind = {});
/// The same for the layers beyond a stage's first training.recompute_layers: nothing is run again.
LayerWork transformer_layer_work_without_recompute(const ModelSpec& model, const TrainingSpec& training,
                                                   const SoftwareStack& stack, const ParallelPlan& plan,
                                                   LayerKind kind = {});
/// Word (and position) embedding with its scatter in the backward, on the first stage.
LayerWork embedding_work(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                         const ParallelPlan& plan);
/// Final norm, output projection, loss, on the last stage. A masked language model first runs its dense layer
/// and norm, on masked_fraction of the tokens.
LayerWork head_work(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                    const ParallelPlan& plan);
/// What a multi-token-prediction layer does in front of its transformer layer: the embedding of its tokens,
/// two norms, the 2 hidden x hidden projection. Full recomputation of all layers includes it but for the
/// embedding.
LayerWork token_prediction_work(const ModelSpec& model, const TrainingSpec& training,
                                const SoftwareStack& stack, const ParallelPlan& plan);
/// Parameters of one transformer layer of a kind / embedding / head held by one tensor rank.
/// `vocab_multiple`: the stack's. The head includes its own copy of tied embeddings when the plan has a
/// pipeline, and the copy in which multi-token prediction looks words up on the last stage.
double layer_parameters_per_rank(const ModelSpec& model, const ParallelPlan& plan, LayerKind kind = {});
/// Of these, the weights of its products.
double layer_matrix_parameters_per_rank(const ModelSpec& model, const ParallelPlan& plan,
                                        LayerKind kind = {});
double embedding_parameters_per_rank(const ModelSpec& model, const TrainingSpec& training,
                                     const ParallelPlan& plan, int vocab_multiple = 1);
double head_parameters_per_rank(const ModelSpec& model, const ParallelPlan& plan, int vocab_multiple = 1);

/// Norms and projection of one multi-token-prediction layer, without its transformer layer.
double token_prediction_parameters_per_rank(const ModelSpec& model, const ParallelPlan& plan);

/// FLOPs of the published convention for a whole step, forward + backward, all GPUs (contract section 3.1),
/// and what is worked on: with the recomputation of layers, and of the experts the rows that a capacity
/// factor leaves and pads (`expert_rows`: expert_rows_share), where the convention counts every token.
/// Source: Narayanan et al. 2021 (SC21), equation 3 and appendix A.
struct StepFlops {
  Flops model;
  Flops hardware;
};
StepFlops step_flops(const ModelSpec& model, const TrainingSpec& training, const ParallelPlan& plan,
                     int vocab_multiple = 1, double expert_rows = 1.0);

}  // namespace orrery
