#pragma once

#include <vector>

#include "models/host_lead.hpp"
#include "models/layer_kind.hpp"
#include "models/model_spec.hpp"
#include "models/parallel_plan.hpp"
#include "models/software_stack.hpp"
#include "models/training_spec.hpp"

namespace orrery {

/// Memory of the fullest GPU and of every stage (contract section 3.1, `memory`).
struct MemoryUse {
  Bytes parameters, gradients, optimizer, activations, buffers;  ///< of the fullest stage
  Bytes collective, context;
  Bytes allocator_peak;  ///< what the framework's allocator reports: without context and collective buffers
  Bytes logged_peak;     ///< what the framework's log shows of the allocator (software.logs_*)
  Bytes peak;            ///< everything at one time: what the GPU must have
  /// What the driver shows of the fullest GPU: with blocks that the allocator keeps for later. It gives them
  /// back before it fails (PyTorch, c10/cuda/CUDACachingAllocator.cpp: release_cached_blocks, then the
  /// allocation again), so they do not decide whether a run fits.
  Bytes reserved;
  std::vector<Bytes> per_stage_peak;
  int fullest_stage = 0;
};

/// Every stage holds its parameters, gradients and optimizer state after ZeRO, the activations of the
/// micro-batches that the schedule keeps in flight, and one layer's or the head's working set; the fullest
/// stage decides.
/// @param collective_buffers memory of the communicators of one rank
/// @param lead      how far the host is ahead: what it frees after a collective stays reserved until the GPU
///   is through (record_stream; PyTorch's documentation of it: memory depends on the host's lead)
/// @param capacity  of the GPU: no more than that is reserved; 0: not known
/// Not modelled: fragmentation, beyond the stack's framework_memory.
MemoryUse memory_use(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                     const ParallelPlan& plan, Bytes collective_buffers, const HostLead& lead = {},
                     Bytes capacity = {});
/// Bytes of activations that one transformer layer of a kind keeps for one micro-batch on one rank until its
/// backward.
///
/// By operator: the inputs of the norms and products, queries, keys and values, the MLP activation's input
/// and output; unfused attention also its scores; one byte an element of dropout masks where the model has
/// dropout (assumed: models with biases and layernorm, the GPT and BERT recipes, train with it). For a GPT
/// layer that is
///     s b h (10 + 24/t + 5 a s / (h t))        tensor parallel,
///     s b h / t (34 + 5 a s / h)               with sequence parallelism,
///     2 s b h                                  with full recomputation (its input only),
/// and without the last term under flash attention or selective recomputation.
/// Source: Korthikanti et al. 2022, table 2.
Bytes layer_activation_bytes(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                             const ParallelPlan& plan, bool recomputes, LayerKind kind = {});

}  // namespace orrery
