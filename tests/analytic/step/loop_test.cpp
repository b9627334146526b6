// What surrounds the passes of a step (data, checkpoints, synchronisation) against hand calculations, in both
// engines.
#include <gtest/gtest.h>

#include "models/estimate.hpp"
#include "models/loop_estimate.hpp"
#include "models/loop_plan.hpp"
#include "models/lowering.hpp"
#include "sim/engine/engine.hpp"
#include "tests/analytic/step/step_fixture.hpp"

namespace orrery {
namespace {

constexpr double kRounding = 1e-9;  // relative: no model error between the two

double term_of(const StepEstimate& estimate, BreakdownTerm term) {
  return estimate.breakdown[static_cast<size_t>(term)];
}

/// Nodes of 8 GPUs with a store of 10 GB/s read and 5 GB/s written; NICs of 50 GB/s.
ClusterShape with_storage(int gpus) {
  ClusterShape cluster = eight_gpu_nodes(gpus);
  cluster.storage.exists = true;
  cluster.storage.read = gigabytes_per_second(10);
  cluster.storage.write = gigabytes_per_second(5);
  return cluster;
}

struct Loop {
  ModelSpec model = plain_model(4);
  TrainingSpec training = plain_training(16);
  ParallelPlan parallel;
  ClusterShape cluster = with_storage(8);
  SoftwareStack stack;
  /// Forward 1 ms and backward 2 ms a layer, head nothing, optimizer 1 ms.
  NamedCost cost{{{"qkv_projection", 1e-3}, {"qkv_dgrad", 2e-3}, {"optimizer_update", 1e-3}}};

  Loop() { parallel = plain_plan(model, 1, 1, 8); }
  StepPlan plan() const {
    return make_step_plan(model, training, stack, parallel, cluster, cost, AlphaBeta(5e-6));
  }
};

/// Passes alone: 2 micro-batches of 4 layers of 3 ms, and the optimizer.
constexpr double kPasses = 2 * 4 * 3e-3 + 1e-3;

/// What both engines say of the step and of the loop's exposed time in it, which must agree.
double exposed_input(const Loop& loop) {
  const StepPlan plan = loop.plan();
  const StepEstimate estimate = estimate_step(plan);
  double sum = 0;
  for (const double seconds : estimate.breakdown) sum += seconds;
  EXPECT_NEAR(sum, estimate.step_time.base(), kRounding);
  for (const Scope scope : {Scope::folded, Scope::full}) {
    const WorkloadGraph graph = lower(plan, scope);
    const StepTimeline timeline = run_contention_free(graph);
    EXPECT_NEAR(timeline.makespan_s, estimate.step_time.base(), kRounding * timeline.makespan_s);
    const Breakdown breakdown = breakdown_of_rank(graph, timeline, slowest_rank(graph, timeline));
    for (size_t term = 0; term < breakdown.size(); ++term) {
      EXPECT_NEAR(breakdown[term], estimate.breakdown[term], kRounding) << term;
    }
  }
  return term_of(estimate, BreakdownTerm::input_exposed);
}

TEST(InputPipeline, TakesTheLongerOfWorkersAndStorage) {
  Loop loop;
  DataSpec data;
  data.reads = true;
  data.bytes_per_sample = Bytes(125e6);  // eight readers share 10 GB/s: 0.1 s each
  data.open_cost = milliseconds(40);
  data.decode_cost = milliseconds(10);
  const auto load = [&](int workers) {
    data.workers = workers;
    loop.training.data = data;
    const StepPlan plan = loop.plan();
    return plan.loop->input.load.base();
  };
  // Two samples a reader. One worker: 2 (0.05 + 0.1); two: half of it, but no faster than 2 x 0.1.
  EXPECT_NEAR(load(1), 0.3, kRounding);
  EXPECT_NEAR(load(2), 0.2, kRounding);
  EXPECT_NEAR(load(16), 0.2, kRounding);
  data.bytes_per_sample = Bytes(1.25e6);  // 1 ms: workers set the pace
  EXPECT_NEAR(load(1), 2 * 0.051, kRounding);
  EXPECT_NEAR(load(2), 0.051, kRounding);
  EXPECT_NEAR(load(16), 0.051 / 8, kRounding);
}

TEST(InputPipeline, ExposesWhatOutlastsTheStepAndAllOfItWithoutWorkers) {
  Loop loop;
  const double alone = exposed_input(loop);
  EXPECT_EQ(alone, 0.0);
  DataSpec data;
  data.reads = true;
  data.bytes_per_sample = Bytes(125e6);
  data.workers = 1;
  loop.training.data = data;
  const double gradients = estimate_step(loop.plan()).step_time.base();
  EXPECT_NEAR(gradients, 0.2, kRounding);  // the load, which is longer than the passes
  EXPECT_NEAR(exposed_input(loop), 0.2 - estimate_step(Loop().plan()).step_time.base(), kRounding);
  data.bytes_per_sample = Bytes(1.25e3);
  loop.training.data = data;
  EXPECT_EQ(exposed_input(loop), 0.0);
  data.bytes_per_sample = Bytes(12.5e6);  // 10 ms each
  data.workers = 0;
  loop.training.data = data;
  EXPECT_NEAR(exposed_input(loop), 0.02, kRounding);
}

TEST(InputPipeline, ReadersAreTheFirstTensorRanksOfTheEndStages) {
  Loop loop;
  loop.parallel = plain_plan(loop.model, 2, 4, 1);
  DataSpec data;
  data.reads = true;
  data.workers = 0;
  data.bytes_per_sample = Bytes(50e6);  // two readers at 5 GB/s: 16 samples of 10 ms
  loop.training.data = data;
  EXPECT_EQ(loop.plan().loop->input.readers, 2);
  EXPECT_NEAR(exposed_input(loop), 0.16, kRounding);
}

TEST(InputPipeline, SplitsReadWhatTheirNamesSay) {
  Loop loop;
  loop.parallel = plain_plan(loop.model, 1, 1, 4);
  loop.parallel.context = 2;
  loop.parallel.shard_group = 8;
  DataSpec data;
  data.reads = true;
  data.bytes_per_sample = Bytes(1e6);
  const auto input = [&](DataSplit split) {
    data.split = split;
    loop.training.data = data;
    return loop.plan().loop->input;
  };
  EXPECT_EQ(input(DataSplit::by_data).samples, 4);    // 16 over 4 workers
  EXPECT_EQ(input(DataSplit::by_batch).samples, 16);  // the whole batch
  const InputPlan by_sample = input(DataSplit::by_sample);
  EXPECT_EQ(by_sample.samples, 4);
  EXPECT_EQ(by_sample.bytes_per_sample, Bytes(0.5e6));
  EXPECT_EQ(by_sample.readers, 8);
}

TEST(InputPipeline, TokenIdsAreStoredInTwoBytesBelowAVocabularyOf65500) {
  // Megatron-Core's DType.optimal_dtype: uint16 below 65,500, else int32.
  Loop loop;
  EXPECT_EQ(stored_sample_bytes(loop.model, loop.training), Bytes(2 * 1024));
  loop.model.vocab = 65'500;
  EXPECT_EQ(stored_sample_bytes(loop.model, loop.training), Bytes(4 * 1024));
}

// data/storage.md section 2: 14 bytes a parameter of mixed-precision Adam, 12 of fp32.
TEST(Checkpoint, HoldsWeightsMastersAndStates) {
  TrainingSpec training = plain_training(8);
  EXPECT_EQ(checkpoint_bytes_per_parameter(training).all(), 14.0);
  training.precision = Precision::fp32;
  EXPECT_EQ(checkpoint_bytes_per_parameter(training).all(), 12.0);
  training.optimizer = Optimizer::sgd;
  EXPECT_EQ(checkpoint_bytes_per_parameter(training).all(), 4.0);
}

double parameters_of(const Loop& loop) { return loop.plan().virtual_stages.front().parameters; }

TEST(Checkpoint, OfAdaptersLeavesTheBaseWeightsOut) {
  Loop loop;
  const double base = parameters_of(loop);
  loop.training.checkpoint = CheckpointSpec{1000, false};
  loop.training.lora = LoraSpec{};
  loop.training.lora->rank = 16;
  loop.training.lora->attention = true;
  // Beside QKV r (1024 + 3 x 1024), beside the output projection r (1024 + 1024), in each of 4 layers.
  const double adapters = 4 * 16.0 * (4 * 1024 + 2 * 1024);
  const StepPlan plan = loop.plan();
  EXPECT_EQ(parameters_of(loop), adapters);
  EXPECT_EQ(plan.loop->checkpoint.bytes.base(), 14 * adapters);
  // Eight ranks read the base weights and the checkpoint at 10 GB/s.
  EXPECT_NEAR(plan.loop->checkpoint.restore.base(), 8 * (2 * base + 14 * adapters) / 10e9, kRounding);
  // Read both, write a model of the base's size.
  EXPECT_EQ(plan.loop->checkpoint.merged.base(), 2 * base);
  EXPECT_NEAR(plan.loop->checkpoint.merging.base(), 2 * (base + adapters) / 10e9 + 2 * base / 5e9, kRounding);
}

TEST(Checkpoint, SynchronousIsAmortisedOverItsInterval) {
  Loop loop;
  const double step = estimate_step(loop.plan()).step_time.base();
  loop.training.checkpoint = CheckpointSpec{10, false};
  const double parameters = parameters_of(loop);
  // ZeRO 0: one writer of the whole state at 5 GB/s.
  const StepPlan plan = loop.plan();
  EXPECT_EQ(plan.loop->checkpoint.writers, 1);
  const double write = 14 * parameters / 5e9;
  const StepEstimate estimate = estimate_step(plan);
  EXPECT_NEAR(term_of(estimate, BreakdownTerm::checkpoint_exposed), write / 10, kRounding);
  EXPECT_NEAR(estimate.step_time.base(), step + write / 10, kRounding);
  for (const Scope scope : {Scope::folded, Scope::full}) {
    EXPECT_NEAR(run_contention_free(lower_checkpoint(plan, scope)).makespan_s, write, kRounding);
  }
  // Reading it back: eight GPUs at 10 GB/s together, the whole state each. Merging: weights once each way.
  EXPECT_NEAR(plan.loop->checkpoint.restore.base(), 8 * 14 * parameters / 10e9, kRounding);
  EXPECT_NEAR(plan.loop->checkpoint.merging.base(), 2 * parameters * (1 / 10e9 + 1 / 5e9), kRounding);
  // Shards are written by all and read back by part.
  loop.parallel.zero = 1;
  const StepPlan sharded = loop.plan();
  EXPECT_EQ(sharded.loop->checkpoint.writers, 8);
  EXPECT_NEAR(sharded.loop->checkpoint.time.base(), write, kRounding);  // the store is the bottleneck
  EXPECT_NEAR(sharded.loop->checkpoint.restore.base(), (2 + 12.0 / 8) * 8 * parameters / 10e9, kRounding);
}

TEST(Checkpoint, AsynchronousExposesTheCopyAndWhatOutlastsTheInterval) {
  Loop loop;
  const double step = estimate_step(loop.plan()).step_time.base();
  const double parameters = parameters_of(loop);
  const double staging = 14 * parameters / 120e9;  // link to the host memory, not the one to the NICs
  const double write = 14 * parameters / 5e9;
  loop.training.checkpoint = CheckpointSpec{1000, true};
  EXPECT_NEAR(term_of(estimate_step(loop.plan()), BreakdownTerm::checkpoint_exposed), staging / 1000,
              kRounding);
  ASSERT_GT(write, 2 * step);
  loop.training.checkpoint = CheckpointSpec{2, true};
  EXPECT_NEAR(term_of(estimate_step(loop.plan()), BreakdownTerm::checkpoint_exposed),
              (staging + write - 2 * step) / 2, kRounding);
}

TEST(LocalTraining, ReducesNoGradientsAndAveragesOnceAPeriod) {
  Loop loop;
  loop.training.sync.kind = SyncKind::local;
  loop.training.sync.period = 16;
  const StepPlan plan = loop.plan();
  const StepEstimate estimate = estimate_step(plan);
  // Ring over NVLink: 2 x 7/8 of 4 bytes a parameter at 400 GB/s; applying the mean costs nothing here.
  const double average = 5e-6 + 2 * 7.0 / 8 * 4 * parameters_of(loop) / 400e9;
  EXPECT_NEAR(estimate.step_time.base(), kPasses + average / 16, kRounding);
  EXPECT_NEAR(term_of(estimate, BreakdownTerm::data_comm_exposed), average / 16, kRounding);
  for (const Scope scope : {Scope::folded, Scope::full}) {
    EXPECT_NEAR(run_contention_free(lower(plan, scope)).makespan_s, kPasses, kRounding);
    EXPECT_NEAR(run_contention_free(lower_averaging(plan, scope)).makespan_s, average, kRounding);
  }
  // Workers of two context ranks go on reducing between these.
  loop.parallel = plain_plan(loop.model, 1, 1, 4);
  loop.parallel.context = 2;
  loop.parallel.shard_group = 8;
  const StepPlan pairs = loop.plan();
  EXPECT_EQ(pairs.virtual_stages.front().reduce.ranks, 2);
  EXPECT_EQ(pairs.loop->sync.average.front().ranks, 8);
}

TEST(LocalTraining, HybridShardsAverageAcrossShardGroups) {
  Loop loop;
  loop.parallel.zero = 2;
  loop.parallel.shard_group = 4;
  loop.training.sync.kind = SyncKind::local;
  loop.training.sync.period = 8;
  const StepPlan plan = loop.plan();
  const VirtualStage& stage = plan.virtual_stages.front();
  EXPECT_EQ(stage.reduce.ranks, 4);
  EXPECT_FALSE(stage.replica_reduce.exists());
  const Exchange& average = plan.loop->sync.average.front();
  EXPECT_EQ(average.ranks, 2);
  EXPECT_NEAR(average.payload.base(), 4 * stage.parameters / 4, 1);
}

TEST(ParameterServer, HidesAsMuchAsTheStalenessAllows) {
  Loop loop;
  loop.training.sync.kind = SyncKind::async;
  const double parameters = parameters_of(loop);
  // fp32 gradients out, bf16 parameters back, 7/8 of each over NVLink, 5 us each.
  const double bytes = 7.0 / 8 * (4 + 2) * parameters / 400e9;
  const auto step = [&](std::optional<std::int64_t> staleness) {
    loop.training.sync.staleness = staleness;
    const StepPlan plan = loop.plan();
    const double seconds = estimate_step(plan).step_time.base();
    EXPECT_NEAR(run_contention_free(lower(plan, Scope::folded)).makespan_s, seconds, kRounding);
    EXPECT_NEAR(run_contention_free(lower(plan, Scope::full)).makespan_s, seconds, kRounding);
    return seconds;
  };
  EXPECT_NEAR(step(0), kPasses + bytes + 10e-6, kRounding);
  EXPECT_NEAR(step(1), kPasses, kRounding);  // all of it is hidden
  // NVLink a thousandth: the exchange is longer than the passes.
  loop.cluster.scale_up_bandwidth /= 1000.0;
  ASSERT_GT(1000 * bytes, kPasses);
  EXPECT_NEAR(step(1), 1000 * bytes + 10e-6, kRounding);
  EXPECT_NEAR(step(std::nullopt), 1000 * bytes, kRounding);
}

TEST(UnevenWorkers, TheStepWaitsForTheSlowest) {
  Loop loop;
  DataSpec data;
  data.shards = {2, 2, 2, 2, 2, 2, 1, 3};
  loop.training.data = data;
  const double reduce = estimate_step(Loop().plan()).step_time.base() - kPasses;
  // Three micro-batches instead of two, the same gradients.
  EXPECT_NEAR(estimate_step(loop.plan()).step_time.base(), kPasses + 4 * 3e-3 + reduce, kRounding);
  // A worker of half the speed with one micro-batch of two is as fast as the others (but for its optimizer).
  data.shards = {2, 2, 2, 2, 2, 2, 1, 3};
  data.speeds = {1, 1, 1, 1, 1, 1, 0.25, 1};
  loop.training.data = data;
  EXPECT_NEAR(estimate_step(loop.plan()).step_time.base(), 4 * (4 * 3e-3 + 1e-3) + reduce, kRounding);
  // Asynchronous workers do not wait for one of half the speed: 7.5 of 8 workers' work, on NVLink for
  // nothing.
  data.shards.clear();
  data.speeds = {1, 1, 1, 1, 1, 1, 0.5, 1};
  loop.training.data = data;
  loop.training.sync.kind = SyncKind::async;
  EXPECT_NEAR(estimate_step(loop.plan()).step_time.base(), kPasses * 8 / 7.5, kRounding);
}

}  // namespace
}  // namespace orrery
