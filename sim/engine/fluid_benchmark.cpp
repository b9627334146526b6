// Speed of the fluid engine: flow sets and ring collectives step by step, with bare SimGrid on the same flows
// beside it. `solves` counts how often the sharing was found, `cpu` is what to compare on a busy machine. The
// ring of 4,096 ranks step by step (33.5 M messages) runs on demand: --benchmark_filter=ring_steps/4096 with
// ORRERY_LONG_BENCHMARKS=1.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "sim/engine/child_process.hpp"
#include "sim/engine/fluid_traffic.hpp"
#include "sim/engine/link_capacity.hpp"
#include "sim/engine/ring_steps.hpp"
#include "sim/engine/shared_resources.hpp"
#include "sim/engine/simgrid_platform.hpp"

namespace orrery {
namespace {

constexpr int kHostsPerLeaf = 8;
constexpr double kFlowBytes = 1e6;

/// Hosts of one GPU on leaves of eight, every leaf on eight spines; 400 Gb/s, 1 us a wire.
Topology fabric(int hosts, Routing routing) {
  Topology topology;
  std::vector<VertexId> spines;
  for (int spine = 0; spine < kHostsPerLeaf; ++spine) {
    spines.push_back(topology.add_vertex(VertexKind::spine, -1, "spine" + std::to_string(spine)));
  }
  const BytesPerSecond rate = gigabits_per_second(400);
  VertexId leaf = -1;
  for (int host = 0; host < hosts; ++host) {
    if (host % kHostsPerLeaf == 0) {
      leaf = topology.add_vertex(VertexKind::leaf, -1, "leaf" + std::to_string(host / kHostsPerLeaf));
      for (const VertexId spine : spines) topology.add_duplex_link(leaf, spine, rate, microseconds(1));
    }
    const std::string name = "node" + std::to_string(host);
    const VertexId gpu = topology.add_vertex(VertexKind::gpu, host, name + "/gpu0");
    const VertexId nic = topology.add_vertex(VertexKind::nic, host, name + "/nic0");
    topology.add_duplex_link(gpu, nic, 2.0 * rate, Seconds(0));
    topology.add_duplex_link(nic, leaf, rate, microseconds(1));
  }
  topology.set_routing(routing);
  return topology;
}

std::vector<TrafficFlow> all_to_all(const Topology& topology) {
  std::vector<TrafficFlow> flows;
  for (int from = 0; from < topology.gpu_count(); ++from) {
    for (int to = 0; to < topology.gpu_count(); ++to) {
      if (from != to) flows.push_back({topology.gpu(from), topology.gpu(to), Bytes(kFlowBytes), Seconds(0)});
    }
  }
  return flows;
}

/// Host h sends to the host half the fabric and three further on.
std::vector<TrafficFlow> permutation(const Topology& topology) {
  std::vector<TrafficFlow> flows;
  const int hosts = topology.gpu_count();
  for (int from = 0; from < hosts; ++from) {
    const int to = (from + hosts / 2 + 3) % hosts;
    flows.push_back({topology.gpu(from), topology.gpu(to), Bytes(kFlowBytes), Seconds(0)});
  }
  return flows;
}

void traffic(benchmark::State& state, Routing routing, bool everyone, double tolerance) {
  const Topology topology = fabric(static_cast<int>(state.range(0)), routing);
  const std::vector<TrafficFlow> flows = everyone ? all_to_all(topology) : permutation(topology);
  TrafficOptions options;
  options.fluid.tolerance = tolerance;
  TrafficTimes times;
  while (state.KeepRunning()) {
    FluidTraffic fluid(topology, options);
    for (const TrafficFlow& flow : flows) fluid.add(flow);
    times = fluid.run();
  }
  state.counters["flows"] = static_cast<double>(flows.size());
  state.counters["solves"] = static_cast<double>(times.solves);
  state.counters["simulated_s"] = times.span_s;
}

/// The same flows, routes and capacities in SimGrid, started by one actor's callbacks as StepExecutor does.
void bare_simgrid(benchmark::State& state) {
  const Topology topology = fabric(static_cast<int>(state.range(0)), Routing::ecmp);
  const std::vector<double> capacities = link_capacities(topology);
  std::vector<std::vector<LinkLoad>> footprints;
  std::vector<double> bounds;
  for (const TrafficFlow& flow : all_to_all(topology)) {
    const FluidRoute route = fluid_route(topology, flow.from, flow.to, 0);
    std::vector<LinkLoad>& loads = footprints.emplace_back();
    for (const FluidLoad& load : route.loads) loads.push_back({load.link, load.weight});
    std::sort(loads.begin(), loads.end(),
              [](const LinkLoad& a, const LinkLoad& b) { return a.link < b.link; });
    bounds.push_back(route.line_rate);
  }
  std::vector<double> span;
  while (state.KeepRunning()) {
    span = doubles_from_child([&] {
      const SharedResources resources(footprints, capacities);
      SimgridPlatform platform(resources, bounds, kFlowBytes, false);
      double last = 0.0;
      platform.on_flow_end([&](std::int32_t, std::span<const LostTime>) { last = platform.now(); });
      for (size_t i = 0; i < footprints.size(); ++i) {
        const auto flow = static_cast<std::int32_t>(i);
        platform.start_flow({flow, flow, kFlowBytes, bounds[i], resources.binding_shares_of(flow)});
      }
      platform.run();
      return std::vector<double>{last};
    });
  }
  state.counters["flows"] = static_cast<double>(footprints.size());
  state.counters["simulated_s"] = span.front();
}

RingCollective ring_over(int ranks, bool shuffled) {
  RingCollective ring;
  for (int i = 0; i < ranks; ++i) ring.gpus.push_back(shuffled ? (i * 37) % ranks : i);
  ring.payload = Bytes(1e9);
  ring.alpha = microseconds(3);
  return ring;
}

/// @param shuffled neighbours in the ring sit under different leaves, so that hashed paths collide
void ring(benchmark::State& state, bool step_by_step, bool shuffled, Routing routing) {
  const int ranks = static_cast<int>(state.range(0));
  if (step_by_step && ranks > 1024 && std::getenv("ORRERY_LONG_BENCHMARKS") == nullptr) {
    state.SkipWithError("set ORRERY_LONG_BENCHMARKS=1");
    return;
  }
  const Topology topology = fabric(ranks, routing);
  const RingCollective collective = ring_over(ranks, shuffled);
  StepTimes times;
  while (state.KeepRunning()) {
    times = step_by_step ? simulate_rings(topology, std::span(&collective, 1))
                         : fluid_rings(topology, std::span(&collective, 1));
  }
  state.counters["sends"] = static_cast<double>(times.sends);
  state.counters["contended"] = static_cast<double>(times.contended_sends);
  state.counters["solves"] = static_cast<double>(times.solves);
  state.counters["simulated_s"] = times.time.base();
}

BENCHMARK_CAPTURE(traffic, all_to_all_hashed, Routing::ecmp, true, 0.002)
    ->Arg(64)
    ->Arg(128)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(traffic, all_to_all_hashed_exact, Routing::ecmp, true, 0.0)
    ->Arg(64)
    ->Unit(benchmark::kMillisecond);
BENCHMARK(bare_simgrid)->Arg(64)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(traffic, permutation_hashed, Routing::ecmp, false, 0.0)
    ->Arg(128)
    ->Arg(1024)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(traffic, permutation_sprayed, Routing::adaptive, false, 0.0)
    ->Arg(128)
    ->Arg(1024)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(ring, steps, true, false, Routing::ecmp)
    ->Arg(256)
    ->Arg(1024)
    ->Arg(4096)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(ring, steps_colliding, true, true, Routing::ecmp)
    ->Arg(256)
    ->Arg(1024)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(ring, fluid_plus_latency, false, false, Routing::ecmp)
    ->Arg(1024)
    ->Arg(4096)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(ring, fluid_plus_latency_colliding, false, true, Routing::ecmp)
    ->Arg(256)
    ->Arg(1024)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace orrery
