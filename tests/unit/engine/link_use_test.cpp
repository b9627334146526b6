#include "sim/engine/link_use.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "sim/engine/engine.hpp"
#include "tests/analytic/engine/small_fabric.hpp"

namespace orrery {
namespace {

using testing::communication;
using testing::concurrent;
using testing::SmallFabric;

const LinkClassUse* find_class(const std::vector<LinkClassUse>& uses, const std::string& name) {
  const auto found =
      std::find_if(uses.begin(), uses.end(), [&name](const LinkClassUse& use) { return use.name == name; });
  return found == uses.end() ? nullptr : &*found;
}

TEST(LinkUse, TellsBytesMeanAndWhoBinds) {
  // Two sends of 1 GB from two nodes of a leaf to two of the other; NICs 50 GB/s, the uplink 50 GB/s: each
  // gets 25 GB/s for 40 ms. The uplink is full throughout, a NIC half used; each send loses 20 ms.
  const Topology topology = SmallFabric{.nodes = 4, .nodes_a_leaf = 2, .uplink = 50e9}.build();
  const WorkloadGraph graph =
      concurrent({communication(CollectiveOp::send_receive, 1e9, 0.0, 20e-3, {{0, 2}}),
                  communication(CollectiveOp::send_receive, 1e9, 0.0, 20e-3, {{1, 3}})});
  const Traffic traffic = traffic_of(graph, topology);
  const StepTimeline timeline = run_simgrid(graph, traffic);
  const auto uses = link_use(graph, timeline, traffic, topology, 10);
  const LinkClassUse* up = find_class(uses, "leaf -> spine");
  ASSERT_NE(up, nullptr);
  EXPECT_EQ(uses.front().max_use, up->max_use);
  EXPECT_EQ(up->links, 2);
  EXPECT_NEAR(up->bytes, 2e9, 1.0);
  EXPECT_NEAR(up->max_use, 1.0, 1e-9);
  EXPECT_NEAR(up->mean_use, 0.5, 1e-9);  // the other leaf sends nothing
  EXPECT_EQ(up->busiest_from, "leaf0");
  EXPECT_EQ(up->busiest_to, "spine0");
  const LinkClassUse* nic = find_class(uses, "nic -> leaf");
  ASSERT_NE(nic, nullptr);
  EXPECT_NEAR(nic->max_use, 0.5, 1e-9);
  // One of the two cables on the way (up or down: both carry the same flows) stands for both.
  double held = 0.0;
  double busy = 0.0;
  for (const LinkClassUse& use : uses) {
    held += use.held_s;
    busy = std::max(busy, use.busy_s);
    if (use.held_s > 0.0) {
      EXPECT_TRUE(use.name == "leaf -> spine" || use.name == "spine -> leaf") << use.name;
    }
  }
  EXPECT_NEAR(held, 2 * 20e-3, 1e-9);
  EXPECT_NEAR(busy, 40e-3, 1e-9);
}

TEST(LinkUse, OverTimeAddsUpToTheBytes) {
  // One send of 1 GB at 50 GB/s behind a latency of 20 ms: nothing in the first half, full in the second.
  const Topology topology = SmallFabric{.nodes = 2}.build();
  const WorkloadGraph graph =
      concurrent({communication(CollectiveOp::send_receive, 1e9, 20e-3, 20e-3, {{0, 1}})});
  const Traffic traffic = traffic_of(graph, topology);
  const auto uses = link_use(graph, run_simgrid(graph, traffic), traffic, topology, 4);
  const LinkClassUse* nic = find_class(uses, "nic -> leaf");
  ASSERT_NE(nic, nullptr);
  ASSERT_EQ(nic->max_over_time.size(), 4u);
  const double expected[4] = {0.0, 0.0, 1.0, 1.0};
  for (size_t part = 0; part < 4; ++part) {
    EXPECT_NEAR(nic->max_over_time[part], expected[part], 1e-9);
    EXPECT_NEAR(nic->mean_over_time[part], expected[part] / 2, 1e-9);  // node 1's NIC sends nothing
  }
  EXPECT_EQ(nic->held_s, 0.0);
}

}  // namespace
}  // namespace orrery
