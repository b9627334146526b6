#pragma once

#include <compare>
#include <vector>

#include "models/model_spec.hpp"

namespace orrery {

/// What stands in a transformer layer. Layers of one kind are alike in cost, parameters and memory.
struct LayerKind {
  bool moe = false;      ///< a mixture of experts in place of the dense feed-forward part
  bool sliding = false;  ///< attends within the window only
  auto operator<=>(const LayerKind&) const = default;
};

/// Kind of a layer by its number in forward order. Numbers from model.layers on are the
/// multi-token-prediction layers, whose transformer layer is of the last layer's kind (Megatron-core builds
/// them from the decoder's last layer; DeepSeek-AI 2024, arXiv 2412.19437, section 2.2: a mixture of experts
/// as its last layer).
///
/// The first `moe.first_dense_layers` are dense; of the rest those whose number + 1 `moe.every` divides are
/// mixtures (the last of each n, as Llama 4's interleave_moe_layer_step counts). Under sliding attention the
/// last of each `full_every` attends in full.
LayerKind kind_of_layer(const ModelSpec& model, int layer);

/// The distinct kinds of a model, in order of their first layer.
std::vector<LayerKind> layer_kinds(const ModelSpec& model);

/// For each layer, those of multi-token prediction behind the others, its kind's place in layer_kinds.
std::vector<int> kinds_by_layer(const ModelSpec& model);

}  // namespace orrery
