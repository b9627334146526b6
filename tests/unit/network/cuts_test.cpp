#include "sim/network/cuts.hpp"

#include <gtest/gtest.h>

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
