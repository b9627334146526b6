#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "sim/network/topology.hpp"
#include "tests/unit/network/fabrics.hpp"

namespace orrery {
namespace {

using test::ids_of;
using test::numbered;

/// Two nodes of four GPUs on an NVSwitch, each GPU with two NICs behind a PCIe switch of its own.
/// @param planes  1: all NICs on one switch; 2: the first of each GPU on one, the second on another that the
///                first is not joined to
Topology two_nics_a_gpu(int planes) {
  Topology topology;
  std::vector<VertexId> leaves;
  for (int i = 0; i < planes; ++i)
    leaves.push_back(topology.add_vertex(VertexKind::leaf, -1, numbered("leaf", i)));
  for (int node = 0; node < 2; ++node) {
    const std::string prefix = numbered("node", node) + "/";
    const VertexId nvswitch = topology.add_vertex(VertexKind::nvswitch, node, prefix + "nvswitch");
    for (int i = 0; i < 4; ++i) {
      const VertexId gpu = topology.add_vertex(VertexKind::gpu, node, prefix + numbered("gpu", i));
      const VertexId pcie = topology.add_vertex(VertexKind::pcie_switch, node, prefix + numbered("pcie", i));
      topology.add_duplex_link(gpu, nvswitch, gigabytes_per_second(450), microseconds(0.3));
      topology.add_duplex_link(gpu, pcie, gigabytes_per_second(63), microseconds(0.25));
      for (int k = 0; k < 2; ++k) {
        const VertexId nic = topology.add_vertex(VertexKind::nic, node, prefix + numbered("nic", 2 * i + k));
        topology.add_duplex_link(pcie, nic, gigabytes_per_second(63), microseconds(0.5));
        topology.add_duplex_link(nic, leaves[static_cast<size_t>(k % planes)], gigabytes_per_second(25),
                                 microseconds(0.1));
      }
    }
  }
  topology.set_pxn(true);
  return topology;
}

/// How much of all GPUs' traffic to their counterparts, two flows each, leaves node 0 over each of its NICs.
std::map<std::string, double> sent_by_nic(const Topology& topology) {
  std::map<std::string, double> sent;
  for (int gpu = 0; gpu < 4; ++gpu) {
    for (std::uint64_t flow = 0; flow < 2; ++flow) {
      for (const std::string& id : ids_of(topology, topology.route(gpu, gpu + 4, flow)))
        if (id.starts_with("node0/nic")) sent[id] += 0.5;
    }
  }
  return sent;
}

TEST(LostNics, LeaveAGpuItsNicOnTheOtherPlane) {
  // GPU 0 and GPU 1 have lost theirs on the first plane. Their second ones carry both of their flows, to the
  // second ones of their counterparts: over a neighbour's the neighbour would be slowed as well.
  Topology topology = two_nics_a_gpu(2);
  for (const char* nic : {"node0/nic0", "node0/nic2"}) topology.fail_vertex(topology.find(nic));
  const std::map<std::string, double> expected = {{"node0/nic1", 1.0}, {"node0/nic3", 1.0},
                                                  {"node0/nic4", 0.5}, {"node0/nic5", 0.5},
                                                  {"node0/nic6", 0.5}, {"node0/nic7", 0.5}};
  EXPECT_EQ(sent_by_nic(topology), expected);
}

TEST(LostNics, AreDealtOverTheOthersFlowByFlow) {
  // Two GPUs have lost both of theirs: their four halves go to the four NICs that are left, one each.
  Topology topology = two_nics_a_gpu(1);
  for (const char* nic : {"node0/nic0", "node0/nic1", "node0/nic2", "node0/nic3"})
    topology.fail_vertex(topology.find(nic));
  const std::map<std::string, double> expected = {
      {"node0/nic4", 1.0}, {"node0/nic5", 1.0}, {"node0/nic6", 1.0}, {"node0/nic7", 1.0}};
  EXPECT_EQ(sent_by_nic(topology), expected);
}

}  // namespace
}  // namespace orrery
