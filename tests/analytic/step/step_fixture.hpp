#pragma once

#include <map>
#include <string>
#include <string_view>

#include "models/step_plan.hpp"

namespace orrery {

/// Kernels take what the test says by name; all others take nothing. Hand calculations stay short.
class NamedCost : public CostModel {
 public:
  explicit NamedCost(std::map<std::string, double, std::less<>> seconds, DeviceSpec device = {})
      : seconds_(std::move(seconds)), device_(std::move(device)) {}
  KernelTime time(const Operator& op) const override {
    const auto known = seconds_.find(op.name);
    return {Seconds(known == seconds_.end() ? 0.0 : known->second), 0.0, Evidence::measured};
  }
  KernelPower power(const Operator& /*op*/) const override { return {}; }
  const DeviceSpec& device() const override { return device_; }
  std::string profile_name() const override { return "by name"; }
  std::string profile_source() const override { return "the test"; }
  double profile_error() const override { return 0.0; }

 private:
  std::map<std::string, double, std::less<>> seconds_;
  DeviceSpec device_;
};

/// t = alpha + wire bytes / rate, wire bytes = bus factor x payload; the rate is that of the NICs across
/// nodes and of NVLink inside, as GroupShape gives them.
class AlphaBeta : public CollectiveModel {
 public:
  /// @param free_inside collectives inside a scale-up domain take no time
  explicit AlphaBeta(double alpha_s, bool free_inside = false)
      : alpha_s_(alpha_s), free_inside_(free_inside) {}
  CollectiveTime time(CollectiveOp op, Bytes payload, const GroupShape& shape) const override {
    CollectiveTime result;
    if (shape.ranks <= 1 || payload <= Bytes(0)) return result;
    if (free_inside_ && !shape.crosses_domains()) return result;
    const BytesPerSecond rate = shape.crosses_domains() ? shape.scale_out_per_rank * shape.ranks_per_domain
                                                        : shape.scale_up_bandwidth;
    result.latency = Seconds(alpha_s_);
    result.transfer = payload * bus_factor(op, shape.ranks) / rate;
    result.evidence = Evidence::measured;
    return result;
  }
  Bytes buffer_bytes(const GroupShape&) const override { return Bytes(0); }
  double profile_error() const override { return 0.0; }
  std::string profile_source() const override { return "the test"; }

 private:
  double alpha_s_;
  bool free_inside_;
};

/// Nodes of 8 GPUs, NVLink 400 GB/s, 8 NICs of 50 GB/s, nothing lost.
inline ClusterShape eight_gpu_nodes(int gpus) {
  ClusterShape cluster;
  cluster.gpus = gpus;
  cluster.gpus_per_node = cluster.gpus_per_domain = 8;
  cluster.scale_up = ScaleUpKind::nvswitch;
  cluster.scale_up_bandwidth = gigabytes_per_second(400);
  cluster.nics_per_node = 8;
  cluster.nic_bandwidth = gigabytes_per_second(50);
  cluster.host_link = gigabytes_per_second(60);
  cluster.host_memory_link = gigabytes_per_second(120);
  return cluster;
}

/// Hidden 1024, no bias, no positions, untied, vocabulary 0 cost (the head's kernels have no time unless
/// named).
inline ModelSpec plain_model(int layers) {
  ModelSpec model;
  model.layers = layers;
  model.hidden = 1024;
  model.heads = model.kv_heads = 8;
  model.head_dim = 128;
  model.ffn_hidden = 4096;
  model.vocab = 1024;
  model.norm = Norm::layernorm;
  model.tied_embeddings = false;
  model.position = PositionEncoding::rope;
  model.bias = false;
  return model;
}

inline TrainingSpec plain_training(std::int64_t global_batch) {
  TrainingSpec training;
  training.seq_length = 1024;
  training.micro_batch = 1;
  training.global_batch = global_batch;
  return training;
}

inline ParallelPlan plain_plan(const ModelSpec& model, int tensor, int pipeline, int data,
                               int interleave = 1) {
  ParallelPlan plan;
  plan.tensor = tensor;
  plan.pipeline = pipeline;
  plan.data = data;
  plan.interleave = interleave;
  plan.schedule = interleave > 1 ? ScheduleKind::interleaved : ScheduleKind::one_f_one_b;
  plan.shard_group = data;
  plan.stage_layers.assign(static_cast<size_t>(pipeline * interleave),
                           model.layers / (pipeline * interleave));
  return plan;
}

}  // namespace orrery
