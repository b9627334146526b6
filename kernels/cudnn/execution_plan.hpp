#pragma once

#include <cudnn.h>

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cudnn/operation_graph.hpp"

namespace orrery::kernels {

/// For which device plans are made: the one behind a handle, or one that is only described by cuDNN's JSON of
/// device properties (cuDNN >= 9.8). Plans for a described device cannot be executed; they show, on a
/// machine without a GPU, whether cuDNN has an engine for a graph.
struct DeviceTarget {
  std::optional<cudnnHandle_t> handle;
  std::optional<Descriptor> described;

  static DeviceTarget of(cudnnHandle_t handle);
  static DeviceTarget from_json(const std::string& device_properties);
};

/// The first engine configuration of cuDNN's heuristics (mode A) that can be finalised for the graph.
class ExecutionPlan {
 public:
  /// @throws CudnnError with cuDNN's words when no engine supports the graph on this device
  ExecutionPlan(OperationGraph graph, const DeviceTarget& target);

  std::size_t workspace_bytes() const {
    return static_cast<std::size_t>(plan_.integer(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE));
  }
  /// The engine's number and how many configurations the heuristics offered: recorded with a measurement.
  const std::string& engine() const { return engine_; }

  /// Fixes the memory that execute() works on. The pointers stay the caller's.
  void bind(const std::vector<std::pair<TensorId, void*>>& memory, void* workspace);
  void execute(cudnnHandle_t handle);

 private:
  OperationGraph graph_;
  Descriptor operation_graph_;
  std::string engine_;  // before plan_: first_supported() writes it
  Descriptor plan_;
  std::optional<Descriptor> pack_;

  Descriptor first_supported(const DeviceTarget& target);
};

}  // namespace orrery::kernels
