#include "models/layer_kind.hpp"

#include <algorithm>

namespace orrery {

LayerKind kind_of_layer(const ModelSpec& model, int layer) {
  const int number = std::min(layer, model.layers - 1);
  LayerKind kind;
  kind.moe = model.moe && number >= model.moe->first_dense_layers && (number + 1) % model.moe->every == 0;
  kind.sliding = model.attention == AttentionKind::sliding &&
                 (model.full_every == 0 || (number + 1) % model.full_every != 0);
  return kind;
}

std::vector<LayerKind> layer_kinds(const ModelSpec& model) {
  std::vector<LayerKind> kinds;
  for (int layer = 0; layer < model.layers; ++layer) {
    const LayerKind kind = kind_of_layer(model, layer);
    if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) kinds.push_back(kind);
  }
  return kinds;
}

std::vector<int> kinds_by_layer(const ModelSpec& model) {
  const std::vector<LayerKind> kinds = layer_kinds(model);
  std::vector<int> places;
  places.reserve(static_cast<size_t>(model.layers) + static_cast<size_t>(model.mtp_layers));
  for (int layer = 0; layer < model.layers + model.mtp_layers; ++layer) {
    const auto found = std::find(kinds.begin(), kinds.end(), kind_of_layer(model, layer));
    places.push_back(static_cast<int>(found - kinds.begin()));
  }
  return places;
}

}  // namespace orrery
