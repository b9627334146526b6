#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sim/base/json_reader.hpp"

namespace orrery {

// What surrounds the passes of the training loop (contract section 2: training.data, checkpoint and sync).

/// How a dataset is dealt to those who read it; docs/experiment.md says what each reads.
enum class DataSplit { by_data, by_batch, by_sample };

struct DataSpec {
  /// False: the object says how the batch is dealt (shards, speeds) and nothing about reading it.
  bool reads = false;
  std::optional<std::int64_t> samples;    ///< sequences of the dataset
  std::optional<Bytes> bytes_per_sample;  ///< absent: its token ids as stored (InputPlan)
  int workers = 0;      ///< loader processes of a reading rank; 0: the training process itself
  Seconds open_cost;    ///< of opening the file, once a sample
  Seconds decode_cost;  ///< a worker's time from a sample's bytes to tensors
  DataSplit split = DataSplit::by_data;
  std::vector<std::int64_t> shards;  ///< sequences of the global batch by data rank; empty: equal
  std::vector<double> speeds;        ///< of each data rank's GPUs, against the cluster's GPU; empty: all 1
};

struct CheckpointSpec {
  std::int64_t every = 0;  ///< steps
  bool async = false;
};

enum class SyncKind { step, local, async };
enum class OuterOptimizer { average, nesterov };

struct SyncSpec {
  SyncKind kind = SyncKind::step;
  std::int64_t period = 1;                ///< steps between two synchronisations of kind local
  std::optional<std::int64_t> staleness;  ///< of kind async, in steps; absent: unbounded
  OuterOptimizer outer = OuterOptimizer::average;
  bool unbounded() const { return kind == SyncKind::async && !staleness; }
};

DataSpec read_data_spec(const SpecReader& reader);
CheckpointSpec read_checkpoint_spec(const SpecReader& reader);
SyncSpec read_sync_spec(const SpecReader& reader);

/// The contract's objects, completed; the readers above read them back to the same.
Json data_json(const DataSpec& data);
Json checkpoint_json(const CheckpointSpec& checkpoint);
Json sync_json(const SyncSpec& sync);

}  // namespace orrery
