#include "models/layer_kind.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace orrery {
namespace {

constexpr LayerKind kDense{};
constexpr LayerKind kMixture{true, false};

ModelSpec model_of(int layers) {
  ModelSpec model;
  model.layers = layers;
  return model;
}

TEST(LayerKind, IsOneForAModelOfEqualLayers) {
  EXPECT_EQ(layer_kinds(model_of(12)), std::vector<LayerKind>{kDense});
  EXPECT_EQ(kinds_by_layer(model_of(3)), (std::vector<int>{0, 0, 0}));
}

// DeepSeek-AI 2024 (arXiv 2412.19437), section 4.2: mixtures in all layers but the first three; the
// multi-token-prediction layer is a mixture like the last.
TEST(LayerKind, StartsWithTheDenseLayers) {
  ModelSpec model = model_of(5);
  model.moe = MoeSpec{};
  model.moe->first_dense_layers = 3;
  model.mtp_layers = 1;
  EXPECT_EQ(layer_kinds(model), (std::vector<LayerKind>{kDense, kMixture}));
  EXPECT_EQ(kinds_by_layer(model), (std::vector<int>{0, 0, 0, 1, 1, 1}));
}

// Llama 4 Maverick: interleave_moe_layer_step 2 makes layers 1, 3, 5, ... mixtures.
TEST(LayerKind, MakesTheLastOfEachNAMixture) {
  ModelSpec model = model_of(5);
  model.moe = MoeSpec{};
  model.moe->every = 2;
  EXPECT_EQ(kinds_by_layer(model), (std::vector<int>{0, 1, 0, 1, 0}));
  EXPECT_EQ(layer_kinds(model), (std::vector<LayerKind>{kDense, kMixture}));
}

TEST(LayerKind, AttendsInFullInTheLastOfEachN) {
  ModelSpec model = model_of(7);
  model.attention = AttentionKind::sliding;
  model.window = 128;
  EXPECT_EQ(layer_kinds(model), (std::vector<LayerKind>{{false, true}}));  // without full_every all slide
  model.full_every = 3;
  EXPECT_EQ(kinds_by_layer(model), (std::vector<int>{0, 0, 1, 0, 0, 1, 0}));
  EXPECT_EQ(layer_kinds(model), (std::vector<LayerKind>{{false, true}, {false, false}}));
}

TEST(LayerKind, CrossesFeedForwardWithAttention) {
  ModelSpec model = model_of(4);
  model.attention = AttentionKind::sliding;
  model.full_every = 2;
  model.moe = MoeSpec{};
  model.moe->first_dense_layers = 1;
  EXPECT_EQ(kinds_by_layer(model), (std::vector<int>{0, 1, 2, 1}));
  EXPECT_EQ(layer_kinds(model), (std::vector<LayerKind>{{false, true}, {true, false}, {true, true}}));
}

}  // namespace
}  // namespace orrery
