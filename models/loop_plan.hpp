#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "models/layer_costs.hpp"
#include "models/step_plan.hpp"

namespace orrery {

// What a training loop does around the passes of a step, with a time on each part: reading the batch, writing
// checkpoints, synchronising otherwise than by reducing gradients in every step.

/// The loader of a rank that reads (training.data).
///
/// The reading ranks are those with tensor coordinate 0 on the stages with embedding and head (tokens and
/// labels; Megatron-LM, pretrain_gpt.py, is_dataset_built_on_rank): they hand the batch on to their tensor
/// group. Every context rank reads whole samples and keeps its part, unless the split is by_sample. With b
/// bytes and z seconds (open, access, decode) a sample, n samples a step, W workers and the rate R of
/// storage, a step's batch takes
///     load = max(n (z + b / R) / W, n b / R)
/// in the steady state: the asymptotic bounds of a closed loop of W customers with think time z and one
/// server (Denning and Buzen 1978, "The operational analysis of queueing network models", section 5), exact
/// where all samples are alike. Workers read a step's batch during the step before (prefetched): the step
/// lasts at least as long. Without workers the training process reads (W = 1) before the step's first pass.
struct InputPlan {
  bool prefetched = true;
  std::vector<StorageAccess> read;  ///< by stage; empty: nothing is read
  double samples = 0;               ///< that a reading rank goes through in a step
  int readers = 0;                  ///< ranks that read
  Bytes bytes_per_sample;           ///< as read by one of them
  Seconds load;                     ///< of a step's batch
  Seconds by_workers, by_storage;   ///< the two bounds
  std::optional<double> steps_per_epoch;
  std::optional<Bytes> dataset;
};

/// Weights and optimizer state written every few steps (training.checkpoint).
///
/// What several ranks hold alike is written once: with ZeRO 0 by the first data rank (torch.save on rank 0);
/// with shards by the ranks of the first shard group, weights included (PyTorch distributed checkpoint and
/// Megatron-Core's fully parallel save deal them out); workers of local and asynchronous training have states
/// of their own and write them all. Synchronous: the step waits for the write. Asynchronous: it waits for the
/// copy to host memory over the link that offloading takes; the write runs beside the steps that follow, and
/// the next checkpoint waits for it (PyTorch DCP async_save, ByteCheckpoint).
struct CheckpointPlan {
  std::int64_t every = 0;  ///< steps; 0: no checkpoints
  bool async = false;
  std::vector<StorageAccess> write;  ///< by stage
  int writers = 0;
  Bytes bytes;      ///< of a checkpoint, all writers
  Seconds staging;  ///< copy to host memory
  Seconds time;     ///< of all writes at once; of a simulated prediction, on its fabric
  /// Every rank reads back what it holds.
  std::vector<StorageAccess> read_back;  ///< by stage
  Seconds restore;
  /// One process merges the shards into one model: reads all weights and writes them as one. Under LoRA a
  /// checkpoint holds the adapters (Megatron-Bridge, peft; PEFT's save_pretrained); every rank restores its
  /// base weights beside them, and merging adds them to the base model.
  Bytes merged;  ///< weights
  Seconds merging;
};

/// Synchronisation other than in every step (training.sync).
struct SyncPlan {
  /// Kind local: every `period` steps the workers average their parameters (Stich 2018, "Local SGD converges
  /// fast and communicates little"), or apply Nesterov momentum to the mean of what each has moved by
  /// (DiLoCo, Douillard et al. 2023, algorithm 1). By stage.
  std::int64_t period = 0;  ///< 0: not local
  std::vector<Exchange> average;
  std::vector<PassCost> outer;  ///< what applying the mean takes
  /// Kind async with a staleness of one step or more: a parameter server sharded over the workers' GPUs (Li
  /// et al. 2014). Each worker pushes its gradients to all and pulls the parameters from all while it
  /// computes the next step. By stage.
  std::vector<Exchange> push, pull;
};

struct LoopPlan {
  InputPlan input;
  CheckpointPlan checkpoint;
  SyncPlan sync;
};

/// What of one parameter a checkpoint holds: the weight in the products' type, under mixed precision its fp32
/// master, and the optimizer's state: 14 bytes with Adam in mixed precision, 12 in fp32.
struct CheckpointBytes {
  double weight = 0, optimizer = 0;
  double all() const { return weight + optimizer; }
};
CheckpointBytes checkpoint_bytes_per_parameter(const TrainingSpec& training);

/// Bytes of a sample as stored where the experiment does not say: 2 a token id where the vocabulary has fewer
/// than 65,500 entries, else 4 (Megatron-Core, datasets/indexed_dataset.py, DType.optimal_dtype).
Bytes stored_sample_bytes(const ModelSpec& model, const TrainingSpec& training);

/// What the state of synchronisation adds to a GPU's memory, bytes a parameter that it holds: DiLoCo keeps
/// the parameters of the last synchronisation and the outer momentum, fp32 each.
double outer_state_bytes(const TrainingSpec& training);

/// The loop around a plan; null where there is nothing but the passes and reductions in the plan itself.
/// @throws std::invalid_argument if it needs storage and the cluster has none
std::shared_ptr<const LoopPlan> make_loop_plan(const ModelSpec& model, const TrainingSpec& training,
                                               const StepPlan& plan, const ClusterShape& cluster,
                                               const SoftwareStack& stack, const CostInputs& inputs);

/// Weakens the evidence of the plan's terms by that of its loop; what is sent between steps spreads at least
/// as wide.
void note_loop_evidence(StepPlan& plan);

/// Whether gradients are pushed to and parameters pulled from servers inside the step (kind async with
/// staleness 0), or beside it.
bool serves_in_step(const TrainingSpec& training);
bool serves_beside_step(const TrainingSpec& training);

}  // namespace orrery
