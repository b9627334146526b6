#pragma once

#include <cstdint>

#include "models/layer_shapes.hpp"
#include "models/model_spec.hpp"
#include "models/parallel_plan.hpp"
#include "models/software_stack.hpp"
#include "models/training_spec.hpp"
#include "sim/collectives/expert_exchange.hpp"

namespace orrery {

/// A mixture-of-experts layer as the busiest rank sees it, for one micro-batch.
///
/// Under sequence parallelism each tensor rank routes its own slice of the tokens. Every routed copy goes to
/// one of the `expert` ranks; the expert-tensor ranks of an expert gather what any of them received, since
/// each holds a slice of the expert.
struct MoeShape {
  MoeShape(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
           const ParallelPlan& plan, const RankShape& shape);

  int experts, top_k;
  RouterGroups groups;
  int local_experts;    ///< that this rank holds a slice of
  std::int64_t tokens;  ///< that this rank routes
  double load;          ///< tokens of the busiest rank's experts over the mean, after drops and padding
  double copies;        ///< of tokens that the busiest rank receives (and, of their gradients, sends): tokens
                        ///< x top_k x load
  double rows;          ///< that its experts work on: copies x expert_tensor
  std::int64_t rows_per_expert;                ///< their mean, rounded up
  std::int64_t ffn, up_columns;                ///< of a slice of an expert
  std::int64_t shared_ffn, shared_up_columns;  ///< of all shared experts together, on this tensor rank
  double dispatch_bytes;                       ///< of an element on its way to the experts
};

/// Tokens of the busiest GPU over the mean of all: `imbalance` without a capacity factor; with one at most
/// the factor, and the factor itself where experts are padded to their capacity of ceil(tokens top_k /
/// experts x factor) tokens of each source rank. Source: Lepikhin et al. 2020 (GShard), section 2.2;
/// Megatron-core, transformer/moe/moe_utils.py (get_capacity).
double moe_load(const MoeSpec& moe, bool pads_to_capacity, std::int64_t tokens);

/// Rows that the experts of all ranks work on over the copies that the router makes of tokens: padding is
/// work, what finds no room is not. Where experts are not padded, they are taken to be loaded evenly.
double expert_rows_share(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                         const ParallelPlan& plan);

/// Parameters of a mixture-of-experts layer's feed-forward part on one rank, by the ranks that their
/// gradients are reduced over.
struct MoeParameters {
  double router = 0;    ///< whole on every rank
  double shared = 0;    ///< shared experts, divided by tensor
  double experts = 0;   ///< its slices of its experts
  double matrices = 0;  ///< of shared and experts, the weights of their products (without biases)
  double total() const { return router + shared + experts; }
};
MoeParameters moe_parameters_per_rank(const ModelSpec& model, const ParallelPlan& plan);

/// Forward FLOPs of that part for one token, all ranks together, 2 m n k a product: the router, top_k experts
/// and the shared ones. Drops and padding do not change the convention.
struct MoeFlops {
  double router = 0, experts = 0, shared = 0;
  double total() const { return router + experts + shared; }
};
MoeFlops moe_flops_per_token(const ModelSpec& model);

}  // namespace orrery
