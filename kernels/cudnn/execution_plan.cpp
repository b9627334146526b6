#include "kernels/cudnn/execution_plan.hpp"

namespace orrery::kernels {

namespace {

constexpr std::int64_t kConfigurations = 64;  // more than the heuristics of 9.x return

/// "engine 5, configuration 1 of 3"
std::string engine_text(const Descriptor& configuration, std::size_t index, std::size_t count) {
  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR, "engine");
  cudnnBackendDescriptor_t raw = engine.get();
  std::int64_t returned = 0;
  require_cudnn(cudnnBackendGetAttribute(configuration.get(), CUDNN_ATTR_ENGINECFG_ENGINE,
                                         CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &returned, &raw),
                "read the engine of a configuration");
  return "engine " + std::to_string(engine.integer(CUDNN_ATTR_ENGINE_GLOBAL_INDEX)) + ", configuration " +
         std::to_string(index + 1) + " of " + std::to_string(count);
}

}  // namespace

DeviceTarget DeviceTarget::of(cudnnHandle_t handle) { return {handle, std::nullopt}; }

DeviceTarget DeviceTarget::from_json(const std::string& device_properties) {
  Descriptor device(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, "device properties");
  device.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, device_properties);
  device.finalize();
  return {std::nullopt, std::move(device)};
}

ExecutionPlan::ExecutionPlan(OperationGraph graph, const DeviceTarget& target)
    : graph_(std::move(graph)),
      operation_graph_(graph_.finish(target.handle)),
      plan_(first_supported(target)) {}

Descriptor ExecutionPlan::first_supported(const DeviceTarget& target) {
  Descriptor heuristic(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, "heuristics");
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, operation_graph_);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_HEUR_MODE_A);
  if (target.described) heuristic.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *target.described);
  heuristic.finalize();
  const auto configurations = heuristic.descriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                                    CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, kConfigurations);
  if (configurations.empty()) {
    throw CudnnError(CUDNN_STATUS_NOT_SUPPORTED, "heuristics mode A, which offer no engine for the graph");
  }
  cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
  for (std::size_t i = 0; i < configurations.size(); ++i) {
    Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, "execution plan");
    if (target.handle) plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, *target.handle);
    if (target.described) plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *target.described);
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configurations[i]);
    status = plan.try_finalize();
    if (status != CUDNN_STATUS_SUCCESS) continue;
    engine_ = engine_text(configurations[i], i, configurations.size());
    return plan;
  }
  throw CudnnError(status, "the plans of all " + std::to_string(configurations.size()) + " configurations");
}

void ExecutionPlan::bind(const std::vector<std::pair<TensorId, void*>>& memory, void* workspace) {
  std::vector<std::int64_t> ids;
  std::vector<void*> pointers;
  for (const auto& [id, pointer] : memory) {
    ids.push_back(id);
    pointers.push_back(pointer);
  }
  for (const OperationGraph::Scalar& scalar : graph_.scalars()) {
    ids.push_back(scalar.id);
    pointers.push_back(const_cast<float*>(&scalar.value));  // cuDNN takes void* also for what it only reads
  }
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, "variant pack");
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids);
  pack.set_pointers(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, pointers);
  pack.set_pointers(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, {workspace});
  pack.finalize();
  pack_ = std::move(pack);
}

void ExecutionPlan::execute(cudnnHandle_t handle) {
  if (!pack_) throw std::logic_error("execute() before bind()");
  const cudnnStatus_t status = cudnnBackendExecute(handle, plan_.get(), pack_->get());
  if (status != CUDNN_STATUS_SUCCESS) throw CudnnError(status, "execute");
}

}  // namespace orrery::kernels
