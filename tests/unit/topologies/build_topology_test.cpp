#include "topologies/build_topology.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "cluster_reading.hpp"
#include "sim/network/cuts.hpp"
#include "topologies/topology_presets.hpp"

namespace orrery {
namespace {

Cluster preset(const std::string& name, int nodes, const std::string& fabric = "{}") {
  return read_text(R"({"preset": ")" + name + R"(", "nodes": )" + std::to_string(nodes) + R"(, "fabric": )" +
                   fabric + "}");
}

std::vector<VertexKind> kinds(const Topology& topology, int from, int to) {
  std::vector<VertexKind> visited;
  for (const LinkId link : topology.route(from, to)) {
    visited.push_back(
        topology.vertices()[static_cast<size_t>(topology.links()[static_cast<size_t>(link)].to)].kind);
  }
  return visited;
}

size_t cables(const Topology& topology, VertexKind from, VertexKind to) {
  size_t count = 0;
  for (const Link& link : topology.links()) {
    count += topology.vertices()[static_cast<size_t>(link.from)].kind == from &&
             topology.vertices()[static_cast<size_t>(link.to)].kind == to;
  }
  return count;
}

using Kind = VertexKind;
using Kinds = std::vector<VertexKind>;

TEST(BuildTopology, DgxH100ScalableUnit) {
  const Topology topology = build_topology(preset("dgx-h100", 32).spec);
  EXPECT_EQ(topology.gpu_count(), 256);
  EXPECT_EQ(topology.count(Kind::nvswitch), 32);
  EXPECT_EQ(topology.count(Kind::pcie_switch), 256);
  EXPECT_EQ(topology.count(Kind::nic), 256);
  EXPECT_EQ(topology.count(Kind::leaf), 8);
  EXPECT_EQ(topology.count(Kind::spine), 4);
  EXPECT_EQ(topology.count(Kind::core), 0);
  // SuperPOD reference: 256 leaf-spine cables (8 leaves of 32 uplinks).
  EXPECT_EQ(cables(topology, Kind::leaf, Kind::spine), 256u);
  EXPECT_EQ(cables(topology, Kind::nic, Kind::leaf), 256u);
  // Both directions of GPU-NVSwitch, GPU-PCIe, PCIe-NIC, NIC-leaf and leaf-spine, 256 each.
  EXPECT_EQ(topology.links().size(), 2u * 5 * 256);
}

/// Switch counts that NVIDIA publishes for the DGX SuperPOD (H100 and B200 reference architectures).
struct SuperPod {
  int nodes, leaves, spines, cores;
};
class SuperPods : public testing::TestWithParam<SuperPod> {};
TEST_P(SuperPods, HaveThePublishedNumberOfSwitches) {
  const Topology topology = build_topology(preset("dgx-b200", GetParam().nodes).spec);
  EXPECT_EQ(topology.count(Kind::leaf), GetParam().leaves);
  EXPECT_EQ(topology.count(Kind::spine), GetParam().spines);
  EXPECT_EQ(topology.count(Kind::core), GetParam().cores);
}
INSTANTIATE_TEST_SUITE_P(Reference, SuperPods,
                         testing::Values(SuperPod{31, 8, 4, 0}, SuperPod{63, 16, 8, 0},
                                         SuperPod{96, 24, 16, 0}, SuperPod{127, 32, 16, 0},
                                         SuperPod{64, 16, 8, 0}, SuperPod{128, 32, 16, 0},
                                         SuperPod{256, 64, 32, 0}, SuperPod{512, 128, 128, 64},
                                         SuperPod{1024, 256, 256, 128}, SuperPod{2048, 512, 512, 256}));

TEST(BuildTopology, FatTreeOfFourPortSwitches) {
  // k = 4 in Al-Fares et al. 2008: 16 hosts, 8 edge, 8 aggregation, 4 core switches.
  const std::string cluster = R"({"node": {"preset": "dgx-h100", "gpus": 1, "scale_up": {"kind": "none"},
      "nics": {"count": 1}}, "nodes": 16, "fabric": {"kind": "leaf_spine", "switch_radix": 4}})";
  const Topology topology = build_topology(read_text(cluster).spec);
  EXPECT_EQ(topology.count(Kind::leaf), 8);
  EXPECT_EQ(topology.count(Kind::spine), 8);
  EXPECT_EQ(topology.count(Kind::core), 4);
  EXPECT_EQ(kinds(topology, 0, 15),
            (Kinds{Kind::pcie_switch, Kind::nic, Kind::leaf, Kind::spine, Kind::core, Kind::spine, Kind::leaf,
                   Kind::nic, Kind::pcie_switch, Kind::gpu}));
  EXPECT_EQ(bisection_bandwidth(topology), gigabytes_per_second(8 * 50));
}

TEST(BuildTopology, LeafSpineKeepsANodeOnOneLeaf) {
  // 32 ports down, 4 NICs a node: 8 nodes a leaf. 16 nodes: 2 leaves of 32 uplinks, 64 cables: one spine of
  // 64 ports.
  const Cluster cluster =
      read_text(R"({"node": {"preset": "dgx-a100-80gb", "nics": {"count": 4, "bandwidth": "200 Gb/s"}},
      "nodes": 16, "fabric": {"kind": "leaf_spine"}})");
  const Topology topology = build_topology(cluster.spec);
  EXPECT_EQ(topology.count(Kind::leaf), 2);
  EXPECT_EQ(topology.count(Kind::spine), 1);
  EXPECT_EQ(topology.count(Kind::pcie_switch), 16 * 4);  // two GPUs and a NIC on each
  EXPECT_EQ(kinds(topology, 0, 63),
            (Kinds{Kind::pcie_switch, Kind::nic, Kind::leaf, Kind::nic, Kind::pcie_switch, Kind::gpu}));
  EXPECT_EQ(kinds(topology, 0, 64).size(), 8u);
}

TEST(BuildTopology, SingleNodeHasNoSwitchesOutside) {
  const Topology topology = build_topology(preset("dgx-h100", 1).spec);
  EXPECT_EQ(topology.count(Kind::leaf), 0);
  EXPECT_EQ(topology.count(Kind::nic), 8);
  EXPECT_EQ(kinds(topology, 0, 7), (Kinds{Kind::nvswitch, Kind::gpu}));
}

TEST(BuildTopology, RackIsOneNvlinkDomain) {
  const Topology topology = build_topology(preset("gb200-nvl72", 36).spec);
  EXPECT_EQ(topology.gpu_count(), 144);
  EXPECT_EQ(topology.count(Kind::nvswitch), 2);
  EXPECT_EQ(kinds(topology, 0, 71), (Kinds{Kind::nvswitch, Kind::gpu}));
  EXPECT_EQ(kinds(topology, 0, 72).size(), 8u);  // another rack: over leaf, spine, leaf
  // 18 of 32 ports down, so that no domain is split: 2 groups of 4 rails.
  EXPECT_EQ(topology.count(Kind::leaf), 8);
}

TEST(BuildTopology, MeshLinksEveryPair) {
  const Topology topology = build_topology(preset("dgx1-v100", 1).spec);
  EXPECT_EQ(cables(topology, Kind::gpu, Kind::gpu), 8u * 7);
  EXPECT_NEAR(route_bandwidth(topology, topology.route(0, 5)).base(), 150e9 / 7, 1);
}

TEST(Rails, MeetOnTheLeafOfTheirNumber) {
  const Topology topology = build_topology(preset("dgx-h100", 64).spec);
  for (int rail = 0; rail < 8; ++rail) {
    const std::vector<LinkId> route = topology.route(rail, 8 + rail);
    ASSERT_EQ(route.size(), 6u);
    const Link& into_leaf = topology.links()[static_cast<size_t>(route[2])];
    EXPECT_EQ(topology.vertices()[static_cast<size_t>(into_leaf.to)].id, "leaf" + std::to_string(rail));
  }
  EXPECT_EQ(topology.route(0, 9).size(), 8u);       // another rail
  EXPECT_EQ(topology.route(0, 32 * 8).size(), 8u);  // another group of nodes
}

TEST(Rails, EcmpUsesEverySpine) {
  const Topology topology = build_topology(preset("dgx-h100", 64, R"({"routing": "ecmp"})").spec);
  std::set<VertexId> spines;
  for (std::uint64_t flow = 0; flow < 500; ++flow) {
    spines.insert(topology.links()[static_cast<size_t>(topology.route(0, 256, flow)[3])].to);
  }
  EXPECT_EQ(spines.size(), 8u);
}

TEST(StaticRouting, GivesAShiftPermutationPathsOfItsOwn) {
  // Each NIC of a leaf of group 0 sends to its twin of group 1: D-mod-K gives each of the 32 flows its own
  // cables.
  const Topology topology = build_topology(preset("dgx-h100", 64, R"({"routing": "static"})").spec);
  std::set<LinkId> used;
  for (int node = 0; node < 32; ++node) {
    for (const LinkId link : topology.route(node * 8, (32 + node) * 8)) {
      EXPECT_TRUE(used.insert(link).second) << "node " << node;
    }
  }
}

TEST(StaticRouting, GivesAShiftPermutationPathsOfItsOwnThroughThreeTiers) {
  // 512 nodes: pods of 128 under a core tier. Every GPU sends to the one 64 nodes on, half of them across
  // pods.
  const Topology topology = build_topology(preset("dgx-h100", 512, R"({"routing": "static"})").spec);
  std::set<LinkId> used;
  for (int gpu = 0; gpu < 512 * 8; ++gpu) {
    for (const LinkId link : topology.route(gpu, (gpu + 64 * 8) % (512 * 8))) {
      EXPECT_TRUE(used.insert(link).second) << "GPU " << gpu;
    }
  }
}

TEST(Bisection, OfANonBlockingClusterIsHalfItsNics) {
  // 32 nodes of 8 x 50 GB/s on each side.
  EXPECT_EQ(bisection_bandwidth(build_topology(preset("dgx-h100", 64).spec)),
            gigabytes_per_second(32 * 8 * 50));
}

TEST(Bisection, FallsByTheOversubscriptionOfTheCut) {
  EXPECT_EQ(bisection_bandwidth(build_topology(preset("dgx-h100", 64, R"({"oversubscription": [2]})").spec)),
            gigabytes_per_second(32 * 8 * 25));
  // 3:1 of 32 ports takes 11 cables, a little below their rate so that the ratio is exact. They do not divide
  // over the 3 spines: a spine may have one cable more to the one half than to the other, of 8 x 11.
  const double third =
      bisection_bandwidth(build_topology(preset("dgx-h100", 64, R"({"oversubscription": [3]})").spec)).base();
  EXPECT_LE(third, 32 * 8 * 50e9 / 3);
  EXPECT_GE(third, 32 * 8 * 50e9 / 3 * 87 / 88 - 1000);  // capacities are whole bytes a second
  const std::string tree = R"({"node": {"preset": "dgx-h100", "gpus": 1, "scale_up": {"kind": "none"},
      "nics": {"count": 1}}, "nodes": 16, "fabric": {"kind": "leaf_spine", "switch_radix": 4, "oversubscription": [1, 2]}})";
  EXPECT_EQ(bisection_bandwidth(build_topology(read_text(tree).spec)), gigabytes_per_second(4 * 50));
}

TEST(Latency, AddsUpByHand) {
  const Cluster cluster = preset("dgx-h100", 64);
  // 2 x (PCIe 0.25 + 0.25, NIC 0.55), cables 0.1 + 0.1, a switch of 0.15; over a spine two more of each.
  EXPECT_NEAR(cluster.shape.network_latency.base(), 2.45e-6, 1e-15);
  EXPECT_NEAR(cluster.shape.network_latency_far.base(), 2.95e-6, 1e-15);
}

/// The closed form's shape against the graph, for every preset at several sizes.
class ShapeAndGraph : public testing::TestWithParam<std::string> {};

void expect_agreement(const Cluster& cluster) {
  const ClusterShape& shape = cluster.shape;
  const Topology topology = build_topology(cluster.spec);
  ASSERT_EQ(topology.gpu_count(), shape.gpus);
  const int of_storage = topology.find("storage0/nic") >= 0 ? 1 : 0;
  EXPECT_EQ(topology.count(VertexKind::nic), shape.nics_per_node * cluster.spec.nodes + of_storage);
  EXPECT_EQ(topology.payload_efficiency(), shape.payload_efficiency);
  const auto check = [&](int from, int to) {
    const std::vector<LinkId> route = topology.route(from, to);
    const GroupShape group = group_shape(shape, std::vector<int>{from, to});
    const bool inside = !group.crosses_domains();
    Seconds latency = inside ? group.scale_up_latency : group.network_latency;
    const auto over_nvswitch = [&](LinkId l) {
      const VertexId v = topology.links()[static_cast<size_t>(l)].to;
      return topology.vertices()[static_cast<size_t>(v)].kind == VertexKind::nvswitch;
    };
    // PXN takes NVLink to the right rail and one leaf, where the shape counts leaf, spine, leaf.
    if (!inside && std::any_of(route.begin(), route.end(), over_nvswitch))
      latency = shape.network_latency + shape.scale_up_latency;
    EXPECT_NEAR(route_latency(topology, route).base(), latency.base(), 1e-15) << from << " -> " << to;
    const double bandwidth =
        inside ? group.scale_up_bandwidth.base() : std::min(group.nic_bandwidth, shape.host_link).base();
    EXPECT_NEAR(route_bandwidth(topology, route).base(), bandwidth, 1) << from << " -> " << to;
    if (!inside) {
      // A node's GPUs together leave through its NICs: their share is what the shape promises to each.
      std::set<LinkId> ports;
      for (int gpu = 0; gpu < shape.gpus_per_node; ++gpu) {
        for (const VertexId nic : topology.nics_of_gpu(gpu)) ports.insert(nic);
      }
      EXPECT_EQ(static_cast<int>(ports.size()), shape.nics_per_node);
    }
  };
  const int last = shape.gpus - 1;
  for (const int from : {0, shape.gpus_per_node - 1}) {
    for (const int to :
         {1, shape.gpus_per_node, 2 * shape.gpus_per_node - 1, shape.gpus_per_domain, shape.gpus / 2, last}) {
      if (to > from && to < shape.gpus) check(from, to);
    }
  }
}

/// Dragonflies and tori have paths of several lengths; fabrics_test.cpp holds those to the longest.
std::vector<std::string> presets_of_trees() {
  std::vector<std::string> names = topology_preset_names(TopologyPresetKind::cluster);
  std::erase_if(names, [](const std::string& name) {
    const Json preset = topology_preset(TopologyPresetKind::cluster, name);
    const std::string kind = preset.at("fabric").at("kind");
    return kind == "dragonfly" || kind == "torus";
  });
  return names;
}

TEST_P(ShapeAndGraph, Agree) {
  for (const int nodes : {1, 2, 3, 16, 18, 36, 40, 64, 128, 320}) {
    SCOPED_TRACE(GetParam() + " nodes " + std::to_string(nodes));
    expect_agreement(preset(GetParam(), nodes));
  }
}
INSTANTIATE_TEST_SUITE_P(Presets, ShapeAndGraph, testing::ValuesIn(presets_of_trees()));

TEST(ShapeAndGraph, AgreeOnOtherNodesAndFabrics) {
  for (
      const char* cluster :
      {R"({"node": {"preset": "dgx-h100", "nics": {"count": 32, "bandwidth": "100 Gb/s", "protocol": "efa"}},
            "nodes": 64, "fabric": {"kind": "leaf_spine"}})",
       R"({"node": {"preset": "dgx-a100-80gb", "nics": {"count": 4, "bandwidth": "100 Gb/s", "protocol": "omni_path"}},
            "nodes": 48, "fabric": {"kind": "leaf_spine"}})",
       R"({"node": {"gpu": "l40s", "gpus": 4, "scale_up": {"kind": "pcie", "bandwidth": "32 GB/s"},
            "nics": {"count": 2, "bandwidth": "400 Gb/s", "protocol": "ethernet"}}, "nodes": 2, "fabric": {"kind": "leaf_spine"}})",
       R"({"node": {"gpu": "mi300x", "gpus": 8, "scale_up": {"kind": "nvlink_mesh"},
            "nics": {"count": 8, "bandwidth": "400 Gb/s", "protocol": "roce"}}, "nodes": 16})",
       R"({"node": "dgx-h100", "nodes": 12, "fabric": {"kind": "single_switch"}})",
       R"({"preset": "dgx-h100", "nodes": 12, "fabric": {"link_bandwidth": "200 Gb/s"}})",
       R"({"preset": "dgx-h100", "nodes": 512})", R"({"preset": "dgx-h100", "gpus": 3})"}) {
    SCOPED_TRACE(cluster);
    expect_agreement(read_text(cluster));
  }
}

}  // namespace
}  // namespace orrery
