#include "sim/engine/child_process.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "sim/engine/engine.hpp"
#include "tests/analytic/engine/small_fabric.hpp"

namespace orrery {
namespace {

std::string message_of(const std::function<std::vector<double>()>& body) {
  try {
    doubles_from_child(body);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "no error";
}

TEST(ChildProcess, ReturnsWhatTheBodyReturnedWhateverItsSize) {
  // More than a pipe holds (64 KiB).
  const std::vector<double> values = doubles_from_child([] { return std::vector<double>(1 << 18, 1.5); });
  EXPECT_EQ(values, std::vector<double>(1 << 18, 1.5));
  EXPECT_TRUE(doubles_from_child([] { return std::vector<double>(); }).empty());
}

TEST(ChildProcess, LeavesTheCallersMemoryAlone) {
  int counter = 0;
  EXPECT_EQ(doubles_from_child([&] { return std::vector<double>{static_cast<double>(++counter)}; })[0], 1.0);
  EXPECT_EQ(counter, 0);
}

TEST(ChildProcess, ReportsAnException) {
  EXPECT_EQ(message_of([]() -> std::vector<double> { throw std::runtime_error("the disk is on fire"); }),
            "the simulation process ended with status 1: the disk is on fire");
}

TEST(ChildProcess, ReportsTheLastLineBeforeAnAbort) {
  const std::string message = message_of([]() -> std::vector<double> {
    std::fputs("first\nzone has no route\nBacktrace (displayed in actor maestro):\n  0# somewhere\n", stderr);
    std::abort();
  });
  EXPECT_EQ(message, "the simulation process was killed by signal 6 (Aborted): zone has no route");
}

TEST(ChildProcess, ReportsAnExitWithoutAResult) {
  EXPECT_EQ(message_of([]() -> std::vector<double> { std::_Exit(3); }),
            "the simulation process ended with status 3");
}

TEST(ChildProcess, WorksFromSeveralThreadsAtOnce) {
  std::vector<double> results(static_cast<size_t>(worker_count(8)), 0.0);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < results.size(); ++i) {
    threads.emplace_back([&results, i] {
      results[i] = doubles_from_child([i] { return std::vector<double>{static_cast<double>(i)}; }).at(0);
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i], static_cast<double>(i));
  }
}

TEST(ChildProcess, IsNotHeldUpByWhatOtherThreadsLock) {
  // The others allocate all the while: a fork meets them inside the allocator, and a child that waited for
  // its lock would never end.
  std::atomic<bool> stop{false};
  std::vector<std::thread> others;
  for (int i = 1; i < worker_count(4); ++i) {
    others.emplace_back([&stop] {
      while (!stop.load()) {
        const auto text = std::make_unique<std::string>(100, 'x');
        if (text->empty()) break;
      }
    });
  }
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(doubles_from_child([] { return std::vector<double>(1000, 1.0); }).size(), 1000U);
  }
  stop.store(true);
  for (std::thread& other : others) other.join();
}

TEST(RunSimgrid, SaysWhichGpusHaveNoPath) {
  Topology topology;
  topology.add_vertex(VertexKind::gpu, 0, "node0/gpu0");
  topology.add_vertex(VertexKind::gpu, 1, "node1/gpu0");
  const auto graph =
      testing::concurrent({testing::communication(CollectiveOp::send_receive, 1e9, 0.0, 1.0, {{0, 1}})});
  try {
    run_simgrid(graph, topology);
    FAIL() << "ran without a path";
  } catch (const std::runtime_error& error) {
    EXPECT_EQ(std::string(error.what()), "no path from node0/gpu0 to node1/gpu0");
  }
}

TEST(RunSimgrid, RunsAnEmptyGraph) {
  const StepTimeline timeline = run_simgrid(WorkloadGraphBuilder(1).finish(), testing::SmallFabric{}.build());
  EXPECT_EQ(timeline.makespan_s, 0.0);
}

}  // namespace
}  // namespace orrery
