#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>

#include "sim/engine/engine.hpp"
#include "tests/analytic/engine/small_fabric.hpp"
#include "tests/properties/engine/max_min_reference.hpp"

namespace orrery {
namespace {

using testing::communication;
using testing::communication_task;
using testing::segment;
using testing::segment_task;
using testing::SmallFabric;

constexpr int kSeeds = 20;

/// A number in [low, high), the same on every machine (the standard's distributions are not).
double uniform(std::mt19937_64& random, double low, double high) {
  return low + (high - low) * static_cast<double>(random() >> 11) * 0x1p-53;
}
int below(std::mt19937_64& random, int limit) {
  return static_cast<int>(random() % static_cast<std::uint64_t>(limit));
}

struct RandomGraph {
  int ranks;
  int tasks;
  /// Who sends to whom: GPU pairs of one communication.
  std::function<std::vector<std::vector<int>>(std::mt19937_64&, int communication)> groups;
  double rate;       ///< of a message alone, B/s
  bool one_at_once;  ///< each communication's tasks follow one another
};

/// Segments and messages of random size; every task waits for up to three earlier ones, tasks of one rank's
/// compute stream for one another.
WorkloadGraph random_graph(const RandomGraph& shape, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  WorkloadGraphBuilder builder(shape.ranks);
  constexpr int kKinds = 12;
  std::vector<std::int32_t> segments;
  std::vector<std::int32_t> messages;
  for (int i = 0; i < kKinds; ++i) {
    segments.push_back(builder.add_segment(
        segment(uniform(random, 0.1e-3, 2e-3), static_cast<BreakdownTerm>(below(random, 3)))));
    const double payload = uniform(random, 1e6, 50e6);
    messages.push_back(builder.add_communication(
        communication(CollectiveOp::send_receive, payload, uniform(random, 0, 20e-6), payload / shape.rate,
                      shape.groups(random, i), i % 2 == 0 ? GroupKind::pipeline : GroupKind::data)));
  }
  std::vector<std::int32_t> last_segment(static_cast<size_t>(shape.ranks), -1);
  std::vector<std::int32_t> last_message(kKinds, -1);
  for (int i = 0; i < shape.tasks; ++i) {
    const int rank = below(random, shape.ranks);
    const auto kind = static_cast<size_t>(below(random, kKinds));
    std::int32_t task = -1;
    if (below(random, 2) == 0) {
      task = builder.add_task(segment_task(rank, segments[kind]));
      if (last_segment[static_cast<size_t>(rank)] >= 0)
        builder.depend(task, last_segment[static_cast<size_t>(rank)]);
      last_segment[static_cast<size_t>(rank)] = task;
    } else {
      const std::int32_t other = below(random, shape.ranks);
      task = builder.add_task(communication_task(rank, messages[kind], 3), std::span(&other, 1));
      if (shape.one_at_once && last_message[kind] >= 0) builder.depend(task, last_message[kind]);
      last_message[kind] = task;
    }
    for (int edge = below(random, 4); edge > 0 && task > 0; --edge) {
      builder.depend(task, std::max(0, task - 1 - below(random, 30)));
    }
  }
  return builder.finish();
}

/// Communication i from GPU 2i to GPU 2i + 1 and nobody else on these links.
RandomGraph disjoint() {
  return {6, 400,
          [](std::mt19937_64&, int i) {
            return std::vector<std::vector<int>>{{2 * i, 2 * i + 1}};
          },
          50e9, true};
}

/// Random pairs of 12 nodes on three leaves with narrow uplinks; each stands for up to three twins.
RandomGraph crowded() {
  return {6, 300,
          [](std::mt19937_64& random, int) {
            std::vector<std::vector<int>> groups;
            for (int twins = 1 + below(random, 3); twins > 0; --twins) {
              const int from = below(random, 12);
              groups.push_back({from, (from + 1 + below(random, 11)) % 12});
            }
            return groups;
          },
          50e9, false};
}
Topology crowded_fabric() { return SmallFabric{.nodes = 12, .nodes_a_leaf = 4, .uplink = 70e9}.build(); }

TEST(Engines, AgreeWhereNothingContends) {
  const Topology topology = SmallFabric{.nodes = 24}.build();
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const WorkloadGraph graph = random_graph(disjoint(), seed);
    const StepTimeline free = run_contention_free(graph);
    const StepTimeline shared = run_simgrid(graph, topology);
    EXPECT_FALSE(shared.contended);
    for (size_t task = 0; task < graph.tasks.size(); ++task) {
      ASSERT_NEAR(free.end_s[task], shared.end_s[task], 1e-9 * free.makespan_s) << "seed " << seed;
    }
  }
}

TEST(Engines, AgreeWithProgressiveFillingWhereManyContend) {
  const Topology topology = crowded_fabric();
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const WorkloadGraph graph = random_graph(crowded(), seed);
    const std::vector<double> expected = testing::max_min_reference(graph, topology);
    const StepTimeline timeline = run_simgrid(graph, topology);
    EXPECT_TRUE(timeline.contended);
    for (size_t task = 0; task < graph.tasks.size(); ++task) {
      // SimGrid merges events within 1e-11 s; chains of a hundred tasks add that up.
      ASSERT_NEAR(timeline.end_s[task], expected[task], 1e-8 * timeline.makespan_s)
          << "seed " << seed << " task " << task;
    }
  }
}

TEST(Engines, OurSolverAgreesWithSimgridWhereManyContend) {
  const Topology topology = crowded_fabric();
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const WorkloadGraph graph = random_graph(crowded(), seed);
    const Traffic traffic = traffic_of(graph, topology);
    const StepTimeline expected = run_simgrid(graph, traffic);
    const StepTimeline timeline = run_max_min(graph, traffic);
    // It may put off a solve after an end by 1e-4 of the time since the last start.
    EXPECT_NEAR(timeline.makespan_s, expected.makespan_s, 1e-3 * expected.makespan_s) << "seed " << seed;
    EXPECT_EQ(timeline.contended, expected.contended);
    EXPECT_EQ(timeline.link_bytes, expected.link_bytes);
  }
}

TEST(Engines, StartATaskWhenItsLastPredecessorEnds) {
  const Topology topology = crowded_fabric();
  const WorkloadGraph graph = random_graph(crowded(), 7);
  for (const StepTimeline& timeline : {run_contention_free(graph), run_simgrid(graph, topology)}) {
    std::vector<double> ready(graph.tasks.size(), 0.0);
    for (size_t task = 0; task < graph.tasks.size(); ++task) {
      EXPECT_EQ(timeline.start_s[task], ready[task]);
      EXPECT_GE(timeline.end_s[task], timeline.start_s[task]);
      for (const std::int32_t successor : graph.successors_of(static_cast<std::int32_t>(task))) {
        double& when = ready[static_cast<size_t>(successor)];
        when = std::max(when, timeline.end_s[task]);
      }
    }
  }
}

TEST(Engines, ConserveBytesAndCapacity) {
  const Topology topology = crowded_fabric();
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const WorkloadGraph graph = random_graph(crowded(), seed);
    const StepTimeline timeline = run_simgrid(graph, topology);
    std::vector<double> expected(topology.links().size(), 0.0);
    for (const Task& task : graph.tasks) {
      if (task.kind != TaskKind::communication) continue;
      const Communication& message = graph.communications[static_cast<size_t>(task.index)];
      for (const auto& pair : message.groups) {
        for (const LinkId link : topology.route(pair[0], pair[1])) {
          expected[static_cast<size_t>(link)] += message.payload.base();
        }
      }
    }
    for (size_t link = 0; link < expected.size(); ++link) {
      EXPECT_NEAR(timeline.link_bytes[link], expected[link], 1e-9 * expected[link]);
      EXPECT_LE(expected[link], topology.links()[link].bandwidth.base() * timeline.makespan_s * (1 + 1e-9));
    }
  }
}

TEST(Engines, LayWhatFlowsLoseToTheLinksThatHeldThem) {
  // What all flows took longer than alone is what all links held them up: nothing is lost and nothing counted
  // twice.
  const Topology topology = crowded_fabric();
  int contended = 0;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const WorkloadGraph graph = random_graph(crowded(), seed);
    const Traffic traffic = traffic_of(graph, topology);
    for (const StepTimeline& timeline : {run_simgrid(graph, traffic), run_max_min(graph, traffic)}) {
      double lost_s = 0.0;
      for (size_t task = 0; task < graph.tasks.size(); ++task) {
        if (graph.tasks[task].kind != TaskKind::communication) continue;
        const Communication& flow = graph.communications[static_cast<size_t>(graph.tasks[task].index)];
        lost_s += timeline.end_s[task] - timeline.start_s[task] - (flow.latency + flow.transfer).base();
      }
      double held_s = 0.0;
      for (const LinkContention& link : timeline.contention) held_s += link.held_s;
      // Flows that lose less than 0.1 % are not counted; rates may stay for 1e-4 of the time.
      EXPECT_NEAR(held_s, lost_s, 2e-3 * lost_s + 1e-3 * timeline.makespan_s) << "seed " << seed;
      contended += timeline.contended ? 1 : 0;
    }
  }
  EXPECT_GE(contended, 10);
}

TEST(Engines, GiveTheSameBytesAgain) {
  const Topology topology = crowded_fabric();
  const WorkloadGraph graph = random_graph(crowded(), 3);
  const StepTimeline first = run_simgrid(graph, topology);
  const StepTimeline second = run_simgrid(graph, topology);
  EXPECT_EQ(first.start_s, second.start_s);
  EXPECT_EQ(first.end_s, second.end_s);
  EXPECT_EQ(first.link_bytes, second.link_bytes);
}

TEST(Breakdowns, AddUpToTheMakespanOnEveryRank) {
  const Topology topology = crowded_fabric();
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const WorkloadGraph graph = random_graph(crowded(), seed);
    const StepTimeline timeline = run_simgrid(graph, topology);
    for (int rank = 0; rank < graph.ranks; ++rank) {
      const Breakdown breakdown = breakdown_of_rank(graph, timeline, rank);
      EXPECT_NEAR(std::accumulate(breakdown.begin(), breakdown.end(), 0.0), timeline.makespan_s,
                  1e-9 * timeline.makespan_s);
      EXPECT_GE(*std::min_element(breakdown.begin(), breakdown.end()), 0.0);
      double exposed = 0.0;
      for (const CommunicationUse& use : communication_use(graph, timeline, rank)) exposed += use.exposed_s;
      const auto term = [&](BreakdownTerm which) { return breakdown[static_cast<size_t>(which)]; };
      EXPECT_NEAR(exposed,
                  term(BreakdownTerm::pipeline_comm_exposed) + term(BreakdownTerm::data_comm_exposed),
                  1e-9 * timeline.makespan_s);
    }
  }
}

TEST(CriticalPaths, HaveNoGap) {
  const Topology topology = crowded_fabric();
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const WorkloadGraph graph = random_graph(crowded(), seed);
    const StepTimeline timeline = run_simgrid(graph, topology);
    const auto path = critical_path(graph, timeline);
    ASSERT_FALSE(path.empty());
    EXPECT_EQ(timeline.start_s[static_cast<size_t>(path.front())], 0.0);
    EXPECT_EQ(timeline.end_s[static_cast<size_t>(path.back())], timeline.makespan_s);
    for (size_t i = 1; i < path.size(); ++i) {
      EXPECT_EQ(timeline.start_s[static_cast<size_t>(path[i])],
                timeline.end_s[static_cast<size_t>(path[i - 1])]);
    }
  }
}

}  // namespace
}  // namespace orrery
