#pragma once

#include <string_view>
#include <vector>

#include "models/layer_operators.hpp"
#include "models/layer_shapes.hpp"
#include "models/memory.hpp"

namespace orrery::layer_fixtures {

/// Brown et al. 2020, table 2.1, as trained by Megatron-LM (vocabulary padded to 51200).
inline ModelSpec gpt3_175b() {
  ModelSpec model;
  model.name = "gpt3-175b";
  model.layers = 96;
  model.hidden = 12288;
  model.heads = model.kv_heads = 96;
  model.head_dim = 128;
  model.ffn_hidden = 49152;
  model.vocab = 51200;
  return model;
}

/// A GPT model of the SC21 family: four-fold MLP, vocabulary 51200.
inline ModelSpec gpt(int layers, std::int64_t hidden, int heads) {
  ModelSpec model = gpt3_175b();
  model.layers = layers;
  model.hidden = hidden;
  model.heads = model.kv_heads = heads;
  model.head_dim = hidden / heads;
  model.ffn_hidden = 4 * hidden;
  return model;
}

/// Dubey et al. 2024, table 3.
inline ModelSpec llama3(int layers, std::int64_t hidden, int heads, std::int64_t ffn) {
  ModelSpec model;
  model.layers = layers;
  model.hidden = hidden;
  model.heads = heads;
  model.kv_heads = 8;
  model.head_dim = hidden / heads;
  model.ffn_hidden = ffn;
  model.vocab = 128256;
  model.activation = Activation::swiglu;
  model.norm = Norm::rmsnorm;
  model.gated = true;
  model.tied_embeddings = false;
  model.position = PositionEncoding::rope;
  model.bias = false;
  model.attention = AttentionKind::gqa;
  return model;
}
inline ModelSpec llama3_70b() { return llama3(80, 8192, 64, 28672); }

inline TrainingSpec training(std::int64_t seq_length, std::int64_t global_batch,
                             std::int64_t micro_batch = 1) {
  TrainingSpec spec;
  spec.seq_length = seq_length;
  spec.global_batch = global_batch;
  spec.micro_batch = micro_batch;
  return spec;
}

/// Round numbers of passes and kernels, so that sums can be done by hand.
inline SoftwareStack stack() {
  SoftwareStack software;
  software.attention_kernel = AttentionKernel::flash2;
  software.forward_passes = {7, 2, 3, 4, 0, 2};
  software.backward_passes = {14, 2, 5, 6, 0, 2};
  software.quantize.forward = {2.5, 1, 1, 1.5};
  software.quantize.backward = {7, 2, 2, 3};
  software.attention_score_passes_forward = 4.5;
  software.attention_score_passes_backward = 5.5;
  software.kernels_forward = 20;
  software.kernels_backward = 37;
  software.gradient_accumulation_bytes = 10;
  software.optimizer_bytes_per_parameter = 30;
  software.optimizer_bytes_per_resident = 8;
  software.optimizer_kernels = 12;
  return software;
}

inline ParallelPlan plan(int tensor, bool sequence = false) {
  ParallelPlan degrees;
  degrees.tensor = tensor;
  degrees.sequence = sequence;
  return degrees;
}

inline std::vector<Operator> operators_of(const LayerPass& pass) {
  std::vector<Operator> found;
  for (const LayerItem& item : pass.items) {
    if (const auto* op = std::get_if<Operator>(&item)) found.push_back(*op);
  }
  return found;
}
inline std::vector<LayerCommunication> communications_of(const LayerPass& pass) {
  std::vector<LayerCommunication> found;
  for (const LayerItem& item : pass.items) {
    if (const auto* communication = std::get_if<LayerCommunication>(&item)) found.push_back(*communication);
  }
  return found;
}
template <typename Shape>
std::vector<Shape> shapes_named(const LayerPass& pass, std::string_view name) {
  std::vector<Shape> found;
  for (const Operator& op : operators_of(pass)) {
    const auto* shape = std::get_if<Shape>(&op.shape);
    if (shape != nullptr && op.name == name) found.push_back(*shape);
  }
  return found;
}
inline double gemm_flops(const LayerPass& pass) {
  double flops = 0;
  for (const Operator& op : operators_of(pass)) {
    if (const auto* gemm = std::get_if<GemmShape>(&op.shape)) flops += gemm->flops().base();
  }
  return flops;
}
inline double memory_traffic(const LayerPass& pass) {
  double bytes = 0;
  for (const Operator& op : operators_of(pass)) {
    if (const auto* memory = std::get_if<MemoryShape>(&op.shape)) bytes += memory->traffic.base();
  }
  return bytes;
}

}  // namespace orrery::layer_fixtures
