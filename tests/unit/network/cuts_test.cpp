#include "sim/network/cuts.hpp"

#include <gtest/gtest.h>

#include "fabrics.hpp"

namespace orrery {
namespace {

TEST(Bisection, OfOneGpuIsZero) {
  Topology topology;
  EXPECT_EQ(bisection_bandwidth(topology), BytesPerSecond());
  topology.add_vertex(VertexKind::gpu, 0, "a");
  EXPECT_EQ(bisection_bandwidth(topology), BytesPerSecond());
}

TEST(Bisection, OfTwoGpusIsTheDirectionFromTheFirst) {
  Topology topology;
  const VertexId a = topology.add_vertex(VertexKind::gpu, 0, "a");
  const VertexId b = topology.add_vertex(VertexKind::gpu, 0, "b");
  topology.add_link(a, b, gigabytes_per_second(3), Seconds());
  topology.add_link(b, a, gigabytes_per_second(5), Seconds());
  EXPECT_EQ(bisection_bandwidth(topology), gigabytes_per_second(3));
}

TEST(Bisection, AddsPathsThatDoNotShareALink) {
  // a reaches b over two switches, whose narrower links are 2 and 4.
  Topology topology;
  const VertexId a = topology.add_vertex(VertexKind::gpu, 0, "a");
  const VertexId b = topology.add_vertex(VertexKind::gpu, 0, "b");
  const VertexId s = topology.add_vertex(VertexKind::nvswitch, 0, "s");
  const VertexId t = topology.add_vertex(VertexKind::nvswitch, 0, "t");
  topology.add_link(a, s, gigabytes_per_second(2), Seconds());
  topology.add_link(s, b, gigabytes_per_second(9), Seconds());
  topology.add_link(a, t, gigabytes_per_second(9), Seconds());
  topology.add_link(t, b, gigabytes_per_second(4), Seconds());
  EXPECT_EQ(bisection_bandwidth(topology), gigabytes_per_second(6));
}

TEST(Bisection, OfAnOddNumberOfNodesRunsBetweenTwoOfThem) {
  // Three nodes of four GPUs on an NVSwitch: one node against two, 4 x 50 GB/s of NICs; through the middle
  // node it would add two NVLinks of 450.
  const Topology three = test::rails(3, 4, 4, 2, 1);
  EXPECT_EQ(bisection_split(three), 4);
  EXPECT_EQ(bisection_bandwidth(three), gigabytes_per_second(4 * 50));
  // The SuperPOD's 31 nodes: 15 against 16.
  const Topology superpod = test::rails(31, 8, 32, 4, 8);
  EXPECT_EQ(bisection_split(superpod), 15 * 8);
  EXPECT_EQ(bisection_bandwidth(superpod), gigabytes_per_second(15 * 8 * 50));
}

TEST(Bisection, KeepsScaleUpDomainsWholeWhereItCan) {
  // Six nodes of one GPU; NVSwitches join 0-1, 2-3 and 4-5: cut after two GPUs, not after three.
  Topology topology = test::rails(6, 1, 6, 0, 0);
  for (const int domain : {0, 1, 2}) {
    const VertexId nvswitch = topology.add_vertex(VertexKind::nvswitch, -1, test::numbered("domain", domain));
    for (const int gpu : {2 * domain, 2 * domain + 1})
      topology.add_duplex_link(topology.gpu(gpu), nvswitch, gigabytes_per_second(450), Seconds());
  }
  EXPECT_EQ(bisection_split(topology), 2);
  EXPECT_EQ(bisection_bandwidth(topology), gigabytes_per_second(2 * 50));
  // Dead or alive.
  topology.fail_vertex(topology.find("domain1"));
  EXPECT_EQ(bisection_split(topology), 2);
  // One domain of all: between nodes, where its NVLinks count.
  Topology rack = test::rails(2, 2, 2, 0, 0);
  const VertexId all = rack.add_vertex(VertexKind::nvswitch, -1, "all");
  for (int gpu = 0; gpu < 4; ++gpu)
    rack.add_duplex_link(rack.gpu(gpu), all, gigabytes_per_second(450), Seconds());
  EXPECT_EQ(bisection_split(rack), 2);
  EXPECT_EQ(bisection_bandwidth(rack), gigabytes_per_second(2 * 500));
}

TEST(Bisection, OfAnOddNumberHasTheSmallerHalfFirst) {
  Topology topology;
  const VertexId s = topology.add_vertex(VertexKind::nvswitch, 0, "s");
  for (const char* id : {"a", "b", "c"}) {
    topology.add_duplex_link(topology.add_vertex(VertexKind::gpu, 0, id), s, gigabytes_per_second(10),
                             Seconds());
  }
  EXPECT_EQ(bisection_bandwidth(topology), gigabytes_per_second(10));
}

}  // namespace
}  // namespace orrery
