#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "sim/base/json_reader.hpp"

namespace orrery {

/// How tokens reach their experts' ranks and come back.
///
/// all_to_all: every copy of a token is sent, copied and ordered by destination before (permute) and ordered
/// by expert after it (sort). deepep, hybridep: kernels that send a token once to a domain and once to a
/// rank; the copies are made on arrival.
enum class MoeDispatcher { all_to_all, deepep, hybridep };
inline constexpr std::array<std::string_view, 3> kMoeDispatchers = {"all_to_all", "deepep", "hybridep"};

/// Passes over the copies of tokens, and over the tokens themselves, by so many kernels.
struct PermutationPasses {
  double copies = 0, tokens = 0;
  int kernels = 0;
};

/// What a framework does in a mixture-of-experts layer beside its products (`software.moe`), as data.
struct MoeSoftware {
  bool described = false;  ///< the stack says anything about mixtures of experts
  std::vector<MoeDispatcher> dispatchers = {MoeDispatcher::all_to_all};  ///< that it has
  /// Traffic of the router's kernels (scores, top k, map, auxiliary loss) in bytes a token and expert, beside
  /// its product.
  double router_bytes_forward = 0, router_bytes_backward = 0;
  int router_kernels_forward = 0, router_kernels_backward = 0;
  /// The router's products work in fp32, on operands cast to it.
  bool fp32_router = false;
  /// Biases of the experts' outputs, added outside the products: passes over rows x hidden.
  double output_bias_passes_forward = 0, output_bias_passes_backward = 0;
  /// Copies that fill up each expert's rows for 8- and 4-bit products and strip them again: passes over
  /// rows x hidden.
  double padding_passes_forward = 0, padding_passes_backward = 0;
  int cast_kernels_per_expert = 0;  ///< 0: one cast of all experts' rows
  /// Whether the experts' products are grouped; else one expert runs after the other, and their outputs, in
  /// the backward their inputs' gradients, are put together.
  bool grouped_experts = true;
  /// Of a permutation put together from several kernels, what it moves beside one that does it all: passes
  /// over the copies and over the tokens, and its kernels.
  PermutationPasses permutation_forward, permutation_backward;
  std::vector<MoeDispatcher> padding_dispatchers;  ///< whose kernels fill up the rows themselves
  /// Experts whose widths are multiples of this: the first product's epilogue and that of the second's
  /// gradient make the activation and its casts. 0: the framework has no such kernel.
  int fused_experts_multiple = 0;
  int preprocess_kernels = 0;  ///< counting tokens and turning counts into offsets, in the forward
  /// Routing weights multiply the experts' activations; else the outputs when tokens are put back, which then
  /// keeps the outputs and reads them again in the backward.
  bool weights_in_activation = false;
  /// Then: passes over rows x feed-forward width of the kernel that sums up the weights' own gradient.
  double weight_gradient_passes = 0;
  bool pads_to_capacity = false;         ///< with a capacity factor every expert works on its whole capacity
  bool overlaps_shared_experts = false;  ///< exchanges run beside the shared experts
  bool overlaps_micro_batches = false;   ///< can run exchanges beside another micro-batch's compute
  bool fp8_dispatch = false;             ///< tokens travel to 8-bit experts in 8 bits
};

/// Reads `software.moe`; what is not there keeps its value.
void read_moe_software(const SpecReader& reader, MoeSoftware& moe);

}  // namespace orrery
