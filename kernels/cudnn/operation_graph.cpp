#include "kernels/cudnn/operation_graph.hpp"

#include <utility>

namespace orrery::kernels {

namespace {

constexpr std::int64_t kAlignment = 16;  // bytes: what every pointer of ours has and the engines ask for

}  // namespace

TensorLayout packed(std::int64_t d0, std::int64_t d1, std::int64_t d2, std::int64_t d3) {
  return {{d0, d1, d2, d3}, {d1 * d2 * d3, d2 * d3, d3, 1}};
}

TensorLayout transposed(const TensorLayout& layout) {
  TensorLayout other = layout;
  std::swap(other.dims[2], other.dims[3]);
  std::swap(other.strides[2], other.strides[3]);
  return other;
}

TensorId OperationGraph::add_tensor(const TensorLayout& layout, cudnnDataType_t type, bool is_virtual,
                                    bool by_value, const std::string& name) {
  const auto id = static_cast<TensorId>(tensors_.size()) + 1;
  Descriptor made(CUDNN_BACKEND_TENSOR_DESCRIPTOR, "tensor " + name);
  made.set(CUDNN_ATTR_TENSOR_DATA_TYPE, type);
  made.set(CUDNN_ATTR_TENSOR_DIMENSIONS, std::vector<std::int64_t>(layout.dims.begin(), layout.dims.end()));
  made.set(CUDNN_ATTR_TENSOR_STRIDES,
           std::vector<std::int64_t>(layout.strides.begin(), layout.strides.end()));
  made.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
  made.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, kAlignment);
  made.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, is_virtual);
  made.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, by_value);
  made.finalize();
  tensors_.push_back(std::move(made));
  return id;
}

TensorId OperationGraph::memory(const TensorLayout& layout, cudnnDataType_t type, const std::string& name) {
  return add_tensor(layout, type, false, false, name);
}

TensorId OperationGraph::scalar(float value, const std::string& name) {
  const TensorId id = add_tensor(packed(1, 1, 1, 1), CUDNN_DATA_FLOAT, false, true, name);
  scalars_.push_back({id, value});
  return id;
}

TensorId OperationGraph::matmul(TensorId a, TensorId b, const TensorLayout& out, cudnnDataType_t type) {
  const TensorId c = add_tensor(out, type, true, false, "of a matmul");
  matmul_into(a, b, c);
  return c;
}

void OperationGraph::matmul_into(TensorId a, TensorId b, TensorId out) {
  Descriptor parameters(CUDNN_BACKEND_MATMUL_DESCRIPTOR, "matmul");
  parameters.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT);
  parameters.finalize();
  Descriptor operation(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, "matmul operation");
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_DESC, parameters);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, tensor(a));
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, tensor(b));
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, tensor(out));
  operation.finalize();
  parameters_.push_back(std::move(parameters));
  operations_.push_back(std::move(operation));
}

TensorId OperationGraph::reduce(cudnnReduceTensorOp_t operation, TensorId in, const TensorLayout& out) {
  const TensorId y = add_tensor(out, CUDNN_DATA_FLOAT, true, false, "of a reduction");
  reduce_into(operation, in, y);
  return y;
}

void OperationGraph::reduce_into(cudnnReduceTensorOp_t operation, TensorId in, TensorId out) {
  Descriptor parameters(CUDNN_BACKEND_REDUCTION_DESCRIPTOR, "reduction");
  parameters.set(CUDNN_ATTR_REDUCTION_OPERATOR, operation);
  parameters.set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  parameters.finalize();
  Descriptor made(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR, "reduction operation");
  made.set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, parameters);
  made.set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, tensor(in));
  made.set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, tensor(out));
  made.finalize();
  parameters_.push_back(std::move(parameters));
  operations_.push_back(std::move(made));
}

TensorId OperationGraph::reshape(TensorId in, const TensorLayout& out, cudnnDataType_t type) {
  const TensorId y = add_tensor(out, type, true, false, "of a reshape");
  Descriptor made(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR, "reshape operation");
  made.set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, tensor(in));
  made.set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, tensor(y));
  made.finalize();
  operations_.push_back(std::move(made));
  return y;
}

TensorId OperationGraph::pointwise(const Pointwise& how, const TensorLayout& out, TensorId x,
                                   std::optional<TensorId> b, std::optional<TensorId> t) {
  const TensorId y = add_tensor(out, how.output, true, false, "of a pointwise operation");
  pointwise_into(how, y, x, b, t);
  return y;
}

void OperationGraph::pointwise_into(const Pointwise& how, TensorId out, TensorId x, std::optional<TensorId> b,
                                    std::optional<TensorId> t) {
  const std::string mode = "pointwise mode " + std::to_string(how.mode);
  Descriptor parameters(CUDNN_BACKEND_POINTWISE_DESCRIPTOR, mode);
  parameters.set(CUDNN_ATTR_POINTWISE_MODE, how.mode);
  parameters.set(CUDNN_ATTR_POINTWISE_MATH_PREC, how.compute);
  if (how.axis) parameters.set(CUDNN_ATTR_POINTWISE_AXIS, *how.axis);
  parameters.finalize();
  Descriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, mode + " operation");
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, parameters);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, tensor(x));
  if (b) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, tensor(*b));
  if (t) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, tensor(*t));
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, tensor(out));
  operation.finalize();
  parameters_.push_back(std::move(parameters));
  operations_.push_back(std::move(operation));
}

Descriptor OperationGraph::finish(std::optional<cudnnHandle_t> handle) const {
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, "operation graph");
  if (handle) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, *handle);
  std::vector<cudnnBackendDescriptor_t> operations;
  for (const Descriptor& operation : operations_) operations.push_back(operation.get());
  graph.set_descriptors(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations);
  graph.finalize();
  return graph;
}

}  // namespace orrery::kernels
