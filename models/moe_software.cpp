#include "models/moe_software.hpp"

namespace orrery {

void read_moe_software(const SpecReader& reader, MoeSoftware& moe) {
  reader.only({"dispatchers",
               "router_bytes_forward",
               "router_bytes_backward",
               "router_kernels_forward",
               "router_kernels_backward",
               "fp32_router",
               "preprocess_kernels",
               "output_bias_passes_forward",
               "output_bias_passes_backward",
               "padding_passes_forward",
               "padding_passes_backward",
               "cast_kernels_per_expert",
               "padding_dispatchers",
               "fused_experts_multiple",
               "weights_in_activation",
               "weight_gradient_passes",
               "pads_to_capacity",
               "overlaps_shared_experts",
               "overlaps_micro_batches",
               "fp8_dispatch",
               "grouped_experts",
               "permutation_forward",
               "permutation_backward"});
  if (!reader.is_object()) return;
  moe.described = true;
  const auto dispatchers = [&reader](std::string_view key, std::vector<MoeDispatcher>& target) {
    if (!reader.has(key)) return;
    target.clear();
    for (const SpecReader& element : reader.at(key).elements()) {
      target.push_back(static_cast<MoeDispatcher>(element.choice(kMoeDispatchers)));
    }
  };
  dispatchers("dispatchers", moe.dispatchers);
  dispatchers("padding_dispatchers", moe.padding_dispatchers);
  const auto number = [&reader](std::string_view key, double& target) {
    if (reader.has(key)) target = reader.at(key).number(0.0, 1e4);
  };
  const auto count = [&reader](std::string_view key, int& target) {
    if (reader.has(key)) target = static_cast<int>(reader.at(key).integer(0, 1 << 20));
  };
  const auto flag = [&reader](std::string_view key, bool& target) {
    if (reader.has(key)) target = reader.at(key).boolean();
  };
  number("router_bytes_forward", moe.router_bytes_forward);
  number("router_bytes_backward", moe.router_bytes_backward);
  number("output_bias_passes_forward", moe.output_bias_passes_forward);
  number("output_bias_passes_backward", moe.output_bias_passes_backward);
  number("padding_passes_forward", moe.padding_passes_forward);
  number("padding_passes_backward", moe.padding_passes_backward);
  number("weight_gradient_passes", moe.weight_gradient_passes);
  count("cast_kernels_per_expert", moe.cast_kernels_per_expert);
  count("fused_experts_multiple", moe.fused_experts_multiple);
  count("router_kernels_forward", moe.router_kernels_forward);
  count("router_kernels_backward", moe.router_kernels_backward);
  count("preprocess_kernels", moe.preprocess_kernels);
  const auto permutation = [&reader](std::string_view key, PermutationPasses& target) {
    if (!reader.has(key)) return;
    const SpecReader passes = reader.at(key);
    passes.only({"copies", "tokens", "kernels"});
    if (passes.has("copies")) target.copies = passes.at("copies").number(0.0, 1e4);
    if (passes.has("tokens")) target.tokens = passes.at("tokens").number(0.0, 1e4);
    if (passes.has("kernels")) target.kernels = static_cast<int>(passes.at("kernels").integer(0, 1 << 20));
  };
  permutation("permutation_forward", moe.permutation_forward);
  permutation("permutation_backward", moe.permutation_backward);
  flag("fp32_router", moe.fp32_router);
  flag("grouped_experts", moe.grouped_experts);
  flag("weights_in_activation", moe.weights_in_activation);
  flag("pads_to_capacity", moe.pads_to_capacity);
  flag("overlaps_shared_experts", moe.overlaps_shared_experts);
  flag("overlaps_micro_batches", moe.overlaps_micro_batches);
  flag("fp8_dispatch", moe.fp8_dispatch);
}

}  // namespace orrery
