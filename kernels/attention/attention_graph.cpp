#include "kernels/attention/attention_graph.hpp"

#include <cmath>
#include <limits>

namespace orrery::kernels {

namespace {

/// Layouts of one case: operands as the framework has them, intermediates packed.
struct Layouts {
  TensorLayout q, k, v, o, scores, row;

  Layouts(const AttentionCase& c, AttentionLayout layout) {
    const auto operand = [&](std::int64_t heads, std::int64_t width) {
      return TensorLayout{{c.batch, heads, c.seq_length, width},
                          attention_strides(layout, c.batch, heads, c.seq_length, width)};
    };
    q = operand(c.heads, c.head_dim);
    k = operand(c.kv_heads, c.head_dim);
    v = operand(c.kv_heads, c.value_dim);
    o = operand(c.heads, c.value_dim);
    scores = packed(c.batch, c.heads, c.seq_length, c.seq_length);
    row = packed(c.batch, c.heads, c.seq_length, 1);
  }
};

/// Scores outside the mask become minus infinity (cuDNN before 9.10 wants the lowest float in its place).
class Mask {
 public:
  Mask(OperationGraph& graph, const TensorLayout& scores) : graph_(graph), scores_(scores) {}

  TensorId apply(TensorId in, bool causal, std::int64_t window) {
    if (causal) {  // row >= column
      const TensorId row = index(in, 2);
      const TensorId column = index(in, 3);
      in = select(in, compare(CUDNN_POINTWISE_CMP_GE, row, column));
    }
    if (window > 0) {  // column + window > row
      const TensorId row = index(in, 2);
      const TensorId column = index(in, 3);
      const TensorId bound = graph_.scalar(static_cast<float>(window), "window");
      const TensorId shifted = graph_.pointwise({CUDNN_POINTWISE_ADD}, scores_, column, bound);
      in = select(in, compare(CUDNN_POINTWISE_CMP_GT, shifted, row));
    }
    return in;
  }

 private:
  TensorId index(TensorId in, std::int64_t axis) {
    return graph_.pointwise({CUDNN_POINTWISE_GEN_INDEX, CUDNN_DATA_FLOAT, CUDNN_DATA_INT32, axis}, scores_,
                            in);
  }
  TensorId compare(cudnnPointwiseMode_t mode, TensorId left, TensorId right) {
    return graph_.pointwise({mode, CUDNN_DATA_BOOLEAN, CUDNN_DATA_BOOLEAN}, scores_, left, right);
  }
  TensorId select(TensorId in, TensorId keep) {
    const float out_of_sight = cudnnGetVersion() < 91000 ? std::numeric_limits<float>::lowest()
                                                         : -std::numeric_limits<float>::infinity();
    const TensorId fill = graph_.scalar(out_of_sight, "minus infinity");
    return graph_.pointwise({CUDNN_POINTWISE_BINARY_SELECT}, scores_, in, fill, keep);
  }

  OperationGraph& graph_;
  TensorLayout scores_;
};

float score_scale(const AttentionCase& shape) { return 1.0F / std::sqrt(static_cast<float>(shape.head_dim)); }

/// P dO-like product whose result has as many heads as the queries, summed over each group into `out`.
void product_into_shared_heads(OperationGraph& graph, TensorId a, TensorId b, TensorId out,
                               const AttentionCase& shape, std::int64_t width, cudnnDataType_t type) {
  if (shape.heads == shape.kv_heads) {
    graph.matmul_into(a, b, out);
    return;
  }
  const TensorId all_heads =
      graph.matmul(a, b, packed(shape.batch, shape.heads, shape.seq_length, width), type);
  graph.reduce_into(CUDNN_REDUCE_TENSOR_ADD, all_heads, out);
}

}  // namespace

cudnnDataType_t cudnn_type(Element element) {
  switch (element) {
    case Element::bf16:
      return CUDNN_DATA_BFLOAT16;
    case Element::fp16:
      return CUDNN_DATA_HALF;
    default:
      throw std::invalid_argument("attention is measured in bf16 and fp16");
  }
}

AttentionGraph attention_forward_graph(const AttentionCase& shape, AttentionLayout layout) {
  const Layouts at(shape, layout);
  const cudnnDataType_t type = cudnn_type(shape.element);
  AttentionGraph made;
  OperationGraph& graph = made.graph;
  made.q = graph.memory(at.q, type, "Q");
  made.k = graph.memory(transposed(at.k), type, "K transposed");
  made.v = graph.memory(at.v, type, "V");
  made.o = graph.memory(at.o, type, "O");
  made.statistics = graph.memory(at.row, CUDNN_DATA_FLOAT, "statistics");

  TensorId scores = graph.matmul(made.q, made.k, at.scores, CUDNN_DATA_FLOAT);
  const TensorId scale = graph.scalar(score_scale(shape), "scale");
  scores = graph.pointwise({CUDNN_POINTWISE_MUL}, at.scores, scores, scale);
  scores = Mask(graph, at.scores).apply(scores, shape.causal, shape.window);

  const TensorId maximum = graph.reduce(CUDNN_REDUCE_TENSOR_MAX, scores, at.row);
  const TensorId shifted = graph.pointwise({CUDNN_POINTWISE_SUB}, at.scores, scores, maximum);
  const TensorId exponentials = graph.pointwise({CUDNN_POINTWISE_EXP}, at.scores, shifted);
  const TensorId sum = graph.reduce(CUDNN_REDUCE_TENSOR_ADD, exponentials, at.row);
  const TensorId log_sum = graph.pointwise({CUDNN_POINTWISE_LOG}, at.row, sum);
  graph.pointwise_into({CUDNN_POINTWISE_ADD}, made.statistics, maximum, log_sum);
  const TensorId probabilities =
      graph.pointwise({CUDNN_POINTWISE_DIV, CUDNN_DATA_FLOAT, type}, at.scores, exponentials, sum);
  graph.matmul_into(probabilities, made.v, made.o);
  return made;
}

AttentionGraph attention_backward_graph(const AttentionCase& shape, AttentionLayout layout) {
  const Layouts at(shape, layout);
  const cudnnDataType_t type = cudnn_type(shape.element);
  AttentionGraph made;
  OperationGraph& graph = made.graph;
  made.q = graph.memory(at.q, type, "Q");
  made.k = graph.memory(transposed(at.k), type, "K transposed");
  made.v = graph.memory(transposed(at.v), type, "V transposed");
  made.o = graph.memory(at.o, type, "O");
  made.output_gradient = graph.memory(at.o, type, "dO");
  made.statistics = graph.memory(at.row, CUDNN_DATA_FLOAT, "statistics");
  made.q_gradient = graph.memory(at.q, type, "dQ");
  made.k_gradient = graph.memory(at.k, type, "dK");
  made.v_gradient = graph.memory(at.v, type, "dV");
  made.row_sums = graph.memory(at.row, CUDNN_DATA_FLOAT, "row sums of dO * O");
  made.q_accumulator = graph.memory(packed(shape.batch, shape.heads, shape.seq_length, shape.head_dim),
                                    CUDNN_DATA_FLOAT, "dQ in fp32");

  const TensorId product = graph.pointwise(
      {CUDNN_POINTWISE_MUL}, packed(shape.batch, shape.heads, shape.seq_length, shape.value_dim),
      made.output_gradient, made.o);
  const TensorId summed = graph.reduce(CUDNN_REDUCE_TENSOR_ADD, product, at.row);
  const TensorId one = graph.scalar(1.0F, "one: the inverse of a dropout's scale");
  graph.pointwise_into({CUDNN_POINTWISE_MUL}, made.row_sums, summed, one);

  const TensorLayout turned = transposed(at.scores);
  const TensorId scale = graph.scalar(score_scale(shape), "scale");
  TensorId scores = graph.matmul(made.q, made.k, at.scores, CUDNN_DATA_FLOAT);
  scores = graph.pointwise({CUDNN_POINTWISE_MUL}, at.scores, scores, scale);
  scores = graph.pointwise({CUDNN_POINTWISE_SUB}, at.scores, scores, made.statistics);
  scores = Mask(graph, at.scores).apply(scores, shape.causal, shape.window);
  const TensorId probabilities = graph.pointwise({CUDNN_POINTWISE_EXP}, at.scores, scores);
  const TensorId probabilities_turned = graph.reshape(probabilities, turned, type);
  product_into_shared_heads(graph, probabilities_turned, made.output_gradient, made.v_gradient, shape,
                            shape.value_dim, type);

  TensorId slope = graph.matmul(made.output_gradient, made.v, at.scores, CUDNN_DATA_FLOAT);
  slope = graph.pointwise({CUDNN_POINTWISE_SUB}, at.scores, slope, made.row_sums);
  slope = graph.pointwise({CUDNN_POINTWISE_MUL}, at.scores, slope, probabilities);
  slope = graph.pointwise({CUDNN_POINTWISE_MUL}, at.scores, slope, scale);
  const TensorId slope_turned = graph.reshape(slope, turned, type);
  product_into_shared_heads(graph, slope_turned, made.q, made.k_gradient, shape, shape.head_dim, type);

  const TensorId k_rows = graph.reshape(made.k, at.k, type);
  graph.matmul_into(slope, k_rows, made.q_accumulator);
  graph.pointwise_into({CUDNN_POINTWISE_IDENTITY}, made.q_gradient, made.q_accumulator);
  return made;
}

}  // namespace orrery::kernels
