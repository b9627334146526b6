// Speed of the engines on the step of a 1,024-GPU run: tensor 8 x pipeline 16 x data 8, 192 micro-batches,
// 1F1B, and a gradient all-reduce at the end, on a rail-optimised two-tier fabric. Full scope simulates every
// GPU (393,216 segments, 368,640 sends); folded scope one rank a pipeline stage with its twins.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "sim/engine/engine.hpp"

namespace orrery {
namespace {

constexpr int kTensor = 8;
constexpr int kData = 8;
constexpr int kStages = 16;
constexpr int kMicroBatches = 192;
constexpr int kNodesALeaf = 32;

/// Placement tensor, data, pipeline: a node holds the tensor group of one replica's stage.
int gpu_of(int stage, int data, int tensor) { return (stage * kData + data) * kTensor + tensor; }

/// 128 nodes of 8 GPUs and 8 NICs of 50 GB/s; NIC i of 32 nodes on a leaf of rail i, every leaf on every
/// spine.
Topology rail_fabric(double oversubscription) {
  Topology topology;
  constexpr int kNodes = kStages * kData;
  constexpr int kSpines = 32;
  const BytesPerSecond nic_rate = gigabytes_per_second(50);
  std::vector<VertexId> spines;
  for (int spine = 0; spine < kSpines; ++spine) {
    spines.push_back(topology.add_vertex(VertexKind::spine, -1, "spine" + std::to_string(spine)));
  }
  std::vector<VertexId> leaves;
  for (int leaf = 0; leaf < kNodes / kNodesALeaf * kTensor; ++leaf) {
    leaves.push_back(topology.add_vertex(VertexKind::leaf, -1, "leaf" + std::to_string(leaf)));
    for (const VertexId spine : spines) {
      topology.add_duplex_link(leaves.back(), spine, nic_rate / oversubscription, microseconds(0.3));
    }
  }
  for (int node = 0; node < kNodes; ++node) {
    const std::string name = "node" + std::to_string(node);
    const VertexId nvswitch = topology.add_vertex(VertexKind::nvswitch, node, name + "/nvswitch");
    for (int i = 0; i < kTensor; ++i) {
      const VertexId gpu = topology.add_vertex(VertexKind::gpu, node, name + "/gpu" + std::to_string(i));
      const VertexId nic = topology.add_vertex(VertexKind::nic, node, name + "/nic" + std::to_string(i));
      const VertexId leaf = leaves[static_cast<size_t>(node / kNodesALeaf * kTensor + i)];
      topology.add_duplex_link(gpu, nvswitch, gigabytes_per_second(450), microseconds(0.3));
      topology.add_duplex_link(gpu, nic, gigabytes_per_second(60), microseconds(0.3));
      topology.add_duplex_link(nic, leaf, nic_rate, microseconds(0.3));
    }
  }
  return topology;
}

/// One (forward or backward) pass of a stage over a micro-batch.
struct Pass {
  bool forward;
  int micro_batch;
};

std::vector<Pass> one_forward_one_backward(int stage) {
  std::vector<Pass> order;
  const int warm_up = kStages - 1 - stage;
  for (int i = 0; i < warm_up; ++i) {
    order.push_back({true, i});
  }
  for (int i = warm_up; i < kMicroBatches; ++i) {
    order.push_back({true, i});
    order.push_back({false, i - warm_up});
  }
  for (int i = kMicroBatches - warm_up; i < kMicroBatches; ++i) {
    order.push_back({false, i});
  }
  return order;
}

Communication message(CollectiveOp op, GroupKind kind, Bytes payload, Seconds transfer,
                      std::vector<std::vector<int>> groups) {
  Communication result;
  result.group = kind;
  result.op = op;
  result.payload = payload;
  result.latency = microseconds(op == CollectiveOp::send_receive ? 8 : 120);
  result.transfer = transfer;
  result.groups = std::move(groups);
  return result;
}

/// What the builder needs of one chain of stages: a pipeline of GPUs, or all pipelines folded into one.
struct Pipeline {
  int first_rank;
  std::vector<std::pair<int, int>> members;  // (data, tensor) of each pipeline it stands for
  double pace;                               // factor on its kernels' times
};

void add_pipeline(WorkloadGraphBuilder& builder, const Pipeline& pipeline,
                  std::vector<std::int32_t>& last_task) {
  const Bytes activation = mebibytes(10);
  const BytesPerSecond rate = gigabytes_per_second(48);
  std::vector<std::int32_t> forward(kStages);
  std::vector<std::int32_t> backward(kStages);
  std::vector<std::int32_t> send_on(kStages, -1);
  std::vector<std::int32_t> send_back(kStages, -1);
  for (int stage = 0; stage < kStages; ++stage) {
    const auto i = static_cast<size_t>(stage);
    const auto segment = [&](const char* name, BreakdownTerm term, double milliseconds_long) {
      const Seconds duration = milliseconds(milliseconds_long * pipeline.pace);
      return builder.add_segment(Segment{name, {Piece{name, term, duration}}, duration});
    };
    forward[i] = segment("forward", BreakdownTerm::forward, 5.0);
    backward[i] = segment("backward", BreakdownTerm::backward, 10.0);
    const auto sends_to = [&](int other) {
      std::vector<std::vector<int>> groups;
      for (const auto& [data, tensor] : pipeline.members) {
        groups.push_back({gpu_of(stage, data, tensor), gpu_of(other, data, tensor)});
      }
      return builder.add_communication(message(CollectiveOp::send_receive, GroupKind::pipeline, activation,
                                               activation / rate, std::move(groups)));
    };
    if (stage + 1 < kStages) send_on[i] = sends_to(stage + 1);
    if (stage > 0) send_back[i] = sends_to(stage - 1);
  }
  std::vector<std::vector<Pass>> order;
  for (int stage = 0; stage < kStages; ++stage) order.push_back(one_forward_one_backward(stage));
  // The send that brought a micro-batch to a stage, or -1 while it has not been added.
  std::vector<std::vector<std::int32_t>> brought_on(kStages, std::vector<std::int32_t>(kMicroBatches, -1));
  auto brought_back = brought_on;
  std::vector<size_t> next(kStages, 0);
  std::vector<std::int32_t> before(kStages, -1);
  for (bool added = true; added;) {
    added = false;
    for (int stage = 0; stage < kStages; ++stage) {
      const auto i = static_cast<size_t>(stage);
      while (next[i] < order[i].size()) {
        const Pass pass = order[i][next[i]];
        const auto m = static_cast<size_t>(pass.micro_batch);
        const bool needs = pass.forward ? stage > 0 : stage + 1 < kStages;
        const std::int32_t input = pass.forward ? brought_on[i][m] : brought_back[i][m];
        if (needs && input < 0) break;
        const int rank = pipeline.first_rank + stage;
        const auto task = builder.add_task(Task{.kind = TaskKind::segment,
                                                .rank = rank,
                                                .index = pass.forward ? forward[i] : backward[i],
                                                .micro_batch = pass.micro_batch});
        if (needs) builder.depend(task, input);
        if (before[i] >= 0) builder.depend(task, before[i]);
        before[i] = task;
        const std::int32_t send = pass.forward ? send_on[i] : send_back[i];
        if (send >= 0) {
          const int other = pass.forward ? stage + 1 : stage - 1;
          const std::int32_t participant = pipeline.first_rank + other;
          const auto sent = builder.add_task(Task{.kind = TaskKind::communication,
                                                  .rank = rank,
                                                  .index = send,
                                                  .micro_batch = pass.micro_batch,
                                                  .stream = 3},
                                             std::span(&participant, 1));
          builder.depend(sent, task);
          (pass.forward ? brought_on : brought_back)[static_cast<size_t>(other)][m] = sent;
        }
        ++next[i];
        added = true;
      }
    }
  }
  for (int stage = 0; stage < kStages; ++stage) {
    last_task[static_cast<size_t>(pipeline.first_rank + stage)] = before[static_cast<size_t>(stage)];
  }
}

/// @param jitter relative difference between the kernels of one replica and the next
WorkloadGraph step_graph(bool folded, double jitter) {
  std::vector<Pipeline> pipelines;
  for (int data = 0; data < kData; ++data) {
    for (int tensor = 0; tensor < kTensor; ++tensor) {
      if (folded && !pipelines.empty()) {
        pipelines[0].members.emplace_back(data, tensor);
      } else {
        pipelines.push_back(
            {static_cast<int>(pipelines.size()) * kStages, {{data, tensor}}, 1.0 + jitter * data});
      }
    }
  }
  const int ranks = static_cast<int>(pipelines.size()) * kStages;
  WorkloadGraphBuilder builder(ranks);
  std::vector<std::int32_t> last_task(static_cast<size_t>(ranks));
  for (const Pipeline& pipeline : pipelines) {
    add_pipeline(builder, pipeline, last_task);
  }
  const Bytes gradients = gibibytes(4);
  const Seconds transfer = 2.0 * (kData - 1) / kData * gradients / gigabytes_per_second(48);
  for (int stage = 0; stage < kStages; ++stage) {
    std::vector<std::vector<int>> rings;
    for (int tensor = 0; tensor < kTensor; ++tensor) {
      std::vector<int> ring;
      for (int data = 0; data < kData; ++data) ring.push_back(gpu_of(stage, data, tensor));
      rings.push_back(std::move(ring));
    }
    const auto reduce = [&](std::vector<std::vector<int>> groups,
                            const std::vector<std::int32_t>& participants) {
      const auto index = builder.add_communication(
          message(CollectiveOp::all_reduce, GroupKind::data, gradients, transfer, std::move(groups)));
      const auto task = builder.add_task(
          Task{.kind = TaskKind::communication, .rank = participants[0], .index = index, .stream = 2},
          participants);
      for (const std::int32_t rank : participants) builder.depend(task, last_task[static_cast<size_t>(rank)]);
    };
    if (folded) {
      reduce(std::move(rings), {stage});
      continue;
    }
    for (int tensor = 0; tensor < kTensor; ++tensor) {
      std::vector<std::int32_t> participants;
      for (int data = 0; data < kData; ++data) {
        participants.push_back((data * kTensor + tensor) * kStages + stage);
      }
      reduce({rings[static_cast<size_t>(tensor)]}, participants);
    }
  }
  return builder.finish();
}

void report(benchmark::State& state, const WorkloadGraph& graph, const StepTimeline& timeline) {
  state.counters["tasks"] = static_cast<double>(graph.tasks.size());
  state.counters["step_s"] = timeline.makespan_s;
  state.counters["contended"] = timeline.contended ? 1 : 0;
}

void simgrid(benchmark::State& state, bool folded, double jitter, double oversubscription) {
  const Topology topology = rail_fabric(oversubscription);
  const WorkloadGraph graph = step_graph(folded, jitter);
  StepTimeline timeline;
  while (state.KeepRunning()) {
    timeline = run_simgrid(graph, topology);
  }
  report(state, graph, timeline);
}

void contention_free(benchmark::State& state) {
  const WorkloadGraph graph = step_graph(false, 0.0);
  StepTimeline timeline;
  while (state.KeepRunning()) {
    timeline = run_contention_free(graph);
  }
  report(state, graph, timeline);
}

BENCHMARK(contention_free)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(simgrid, folded, true, 0.0, 1.0)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(simgrid, folded_8_to_1, true, 0.0, 8.0)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(simgrid, full, false, 0.0, 1.0)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(simgrid, full_uneven_replicas, false, 1e-4, 1.0)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(simgrid, full_8_to_1, false, 0.0, 8.0)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(simgrid, full_uneven_8_to_1, false, 1e-4, 8.0)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
}  // namespace orrery
