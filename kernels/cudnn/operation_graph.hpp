#pragma once

#include <cudnn.h>

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "kernels/cudnn/descriptor.hpp"

namespace orrery::kernels {

/// A tensor of an operation graph by cuDNN's unique id.
using TensorId = std::int64_t;

/// Four dimensions and their strides in elements. cuDNN reads matrices from the last two.
struct TensorLayout {
  std::array<std::int64_t, 4> dims{};
  std::array<std::int64_t, 4> strides{};
};

/// Packed in the order of the dimensions.
TensorLayout packed(std::int64_t d0, std::int64_t d1, std::int64_t d2, std::int64_t d3);
/// The same memory with the last two dimensions exchanged.
TensorLayout transposed(const TensorLayout& layout);

/// Operations of cuDNN's graph API, put together one by one; intermediate results are virtual (they never
/// reach memory when an engine fuses the graph). All arithmetic is in fp32 unless told otherwise.
class OperationGraph {
 public:
  /// A tensor in device memory: given to every execution by its id.
  TensorId memory(const TensorLayout& layout, cudnnDataType_t type, const std::string& name);
  /// A number that is read from the host when the graph is executed.
  TensorId scalar(float value, const std::string& name);

  TensorId matmul(TensorId a, TensorId b, const TensorLayout& out, cudnnDataType_t type);
  void matmul_into(TensorId a, TensorId b, TensorId out);
  TensorId reduce(cudnnReduceTensorOp_t operation, TensorId in, const TensorLayout& out);
  void reduce_into(cudnnReduceTensorOp_t operation, TensorId in, TensorId out);
  /// The same elements in another shape; as `type` it is also the cast in front of a product.
  TensorId reshape(TensorId in, const TensorLayout& out, cudnnDataType_t type);

  struct Pointwise {
    cudnnPointwiseMode_t mode;
    cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    cudnnDataType_t output = CUDNN_DATA_FLOAT;
    std::optional<std::int64_t> axis = std::nullopt;  ///< of CUDNN_POINTWISE_GEN_INDEX
  };
  /// out = mode(x), mode(x, b) or, for BINARY_SELECT, t ? x : b.
  TensorId pointwise(const Pointwise& how, const TensorLayout& out, TensorId x,
                     std::optional<TensorId> b = std::nullopt, std::optional<TensorId> t = std::nullopt);
  void pointwise_into(const Pointwise& how, TensorId out, TensorId x,
                      std::optional<TensorId> b = std::nullopt, std::optional<TensorId> t = std::nullopt);

  /// The finalised operation graph. @param handle none: for a device that is only described (see
  /// DeviceTarget)
  Descriptor finish(std::optional<cudnnHandle_t> handle) const;

  /// Ids and host addresses of the scalars; the addresses live as long as this object.
  struct Scalar {
    TensorId id;
    float value;
  };
  const std::deque<Scalar>& scalars() const { return scalars_; }

 private:
  TensorId add_tensor(const TensorLayout& layout, cudnnDataType_t type, bool is_virtual, bool by_value,
                      const std::string& name);
  const Descriptor& tensor(TensorId id) const { return tensors_[static_cast<std::size_t>(id - 1)]; }

  std::deque<Descriptor> tensors_;     // of id 1, 2, ...
  std::deque<Descriptor> operations_;  // in the order of their making
  std::deque<Descriptor> parameters_;  // pointwise, matmul and reduction descriptors that operations refer to
  std::deque<Scalar> scalars_;
};

}  // namespace orrery::kernels
