// cuDNN checks an operation graph (shapes, types, strides, order) when it is finalised, without any device:
// so these run wherever the library is.
#include <gtest/gtest.h>

#include "kernels/attention/attention_graph.hpp"
#include "kernels/attention/attention_shapes.hpp"
#include "kernels/cudnn/execution_plan.hpp"

namespace orrery::kernels {
namespace {

TEST(AttentionGraph, OfEveryShapeOfTheGridIsTakenByCudnn) {
  for (const AttentionCase& shape : attention_grid()) {
    for (const auto layout : {AttentionLayout::bshd, AttentionLayout::sbhd, AttentionLayout::bhsd}) {
      const AttentionGraph made =
          shape.backward ? attention_backward_graph(shape, layout) : attention_forward_graph(shape, layout);
      EXPECT_NO_THROW(made.graph.finish(std::nullopt)) << attention_title(shape);
    }
  }
}

TEST(OperationGraph, OfAProductWhoseInnerSizesDifferIsRefusedByCudnn) {
  OperationGraph graph;
  const TensorId a = graph.memory(packed(1, 2, 64, 32), CUDNN_DATA_BFLOAT16, "A");
  const TensorId b = graph.memory(packed(1, 2, 16, 64), CUDNN_DATA_BFLOAT16, "B");
  try {
    graph.matmul(a, b, packed(1, 2, 64, 64), CUDNN_DATA_FLOAT);
    FAIL() << "accepted";
  } catch (const CudnnError& error) {
    EXPECT_NE(std::string(error.what()).find("matmul"), std::string::npos) << error.what();
    EXPECT_EQ(CUDNN_STATUS_CATEGORY(error.status()), CUDNN_STATUS_BAD_PARAM) << error.what();
  }
}

TEST(AttentionGraph, ScalarsKeepTheirAddressesWhenThePlanMoves) {
  AttentionCase shape{1, 256, 4, 4, 64, 64, true, 128, false, Element::bf16};
  AttentionGraph made = attention_forward_graph(shape, AttentionLayout::sbhd);
  // Scale 1 / 8, minus infinity for both masks, the window.
  std::vector<const float*> before;
  for (const auto& scalar : made.graph.scalars()) before.push_back(&scalar.value);
  ASSERT_EQ(before.size(), 4U);
  EXPECT_EQ(*before[0], 0.125F);
  const OperationGraph moved = std::move(made.graph);
  for (std::size_t i = 0; i < before.size(); ++i) EXPECT_EQ(&moved.scalars()[i].value, before[i]);
}

TEST(DeviceTarget, RefusesPropertiesThatAreNone) { EXPECT_THROW(DeviceTarget::from_json("{}"), CudnnError); }

}  // namespace
}  // namespace orrery::kernels
