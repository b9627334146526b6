#include "topologies/cluster_spec.hpp"

#include <gtest/gtest.h>

#include "cluster_reading.hpp"

namespace orrery {
namespace {

TEST(Cluster, PresetNameGivesOneScalableUnit) {
  const Cluster cluster = read_text(R"("dgx-h100")");
  EXPECT_EQ(cluster.spec.nodes, 32);
  EXPECT_EQ(cluster.spec.gpus, 256);
  EXPECT_EQ(cluster.device.name, "h100-sxm-80gb");
  EXPECT_EQ(cluster.device.sms, 132);
  EXPECT_EQ(cluster.device.memory_capacity, mebibytes(81559));
  EXPECT_EQ(cluster.device.peak_for(Precision::bf16), teraflops(989));
  EXPECT_EQ(cluster.device.peak_for(Precision::fp8_block), teraflops(1979));
  EXPECT_FALSE(cluster.device.peak_for(Precision::mxfp8).has_value());
  EXPECT_FALSE(cluster.device.peak_for(Precision::nvfp4).has_value());
  EXPECT_EQ(cluster.shape.scale_up_bandwidth, gigabytes_per_second(450));
  EXPECT_EQ(cluster.shape.nic_bandwidth, gigabits_per_second(400));
  EXPECT_TRUE(cluster.shape.in_network_reduction);
}

TEST(Cluster, NodesOrGpusOverrideThePresetsSize) {
  EXPECT_EQ(read_text(R"({"preset": "dgx-h100", "nodes": 128})").spec.gpus, 1024);
  EXPECT_EQ(read_text(R"({"preset": "dgx-h100", "gpus": 1024})").spec.nodes, 128);
  EXPECT_EQ(read_text(R"({"preset": "dgx-h100", "gpus": 16, "nodes": 2})").spec.nodes, 2);
}

TEST(Cluster, OfFewerGpusThanANodeKeepsTheNearestNics) {
  const Cluster four = read_text(R"({"preset": "dgx-h100", "gpus": 4})");
  EXPECT_EQ(four.spec.nodes, 1);
  EXPECT_EQ(four.shape.gpus_per_node, 4);
  EXPECT_EQ(four.shape.nics_per_node, 4);
  const Cluster three = read_text(
      R"({"node": {"preset": "dgx-a100-80gb", "nics": {"count": 4, "bandwidth": "200 Gb/s"}}, "gpus": 3})");
  EXPECT_EQ(three.shape.nics_per_node, 2);  // two GPUs a NIC
  const Cluster many = read_text(
      R"({"node": {"preset": "dgx-h100", "nics": {"count": 32, "bandwidth": "100 Gb/s"}}, "gpus": 2})");
  EXPECT_EQ(many.shape.nics_per_node, 8);  // four NICs a GPU
}

TEST(Cluster, OverridesMergeKeyByKey) {
  const Cluster cluster = read_text(R"({"node": {"preset": "dgx-h100",
      "nics": {"count": 32, "bandwidth": "100 Gb/s", "protocol": "efa"}}, "nodes": 64, "fabric": {"kind": "leaf_spine"}})");
  EXPECT_EQ(cluster.shape.nics_per_node, 32);
  EXPECT_EQ(cluster.shape.protocol, NicProtocol::efa);
  EXPECT_EQ(cluster.spec.node.nics.latency, microseconds(9));  // EFA's, not the preset's InfiniBand's
  EXPECT_EQ(cluster.spec.node.gpu.device.name, "h100-sxm-80gb");
  EXPECT_FALSE(cluster.shape.rail_optimized);
}

TEST(Cluster, AnotherGpuBringsItsOwnNvlink) {
  const Cluster cluster =
      read_text(R"({"node": {"preset": "dgx-h100", "gpu": "h800-sxm-80gb"}, "nodes": 2})");
  EXPECT_EQ(cluster.shape.scale_up_bandwidth, gigabytes_per_second(200));
}

TEST(Cluster, DomainsOfARackAreSixteenTraysWhereTheyDivide) {
  // Contract section 2: 18, or 16 when nodes > 18 and divides by 16.
  EXPECT_EQ(read_text(R"({"preset": "gb200-nvl72", "nodes": 18})").shape.gpus_per_domain, 72);
  EXPECT_EQ(read_text(R"({"preset": "gb200-nvl72", "nodes": 36})").shape.gpus_per_domain, 72);
  EXPECT_EQ(read_text(R"({"preset": "gb200-nvl72", "nodes": 64})").shape.gpus_per_domain, 64);
  EXPECT_EQ(read_text(R"({"preset": "gb200-nvl72", "nodes": 16})").shape.gpus_per_domain, 64);
  EXPECT_EQ(read_text(R"({"preset": "gb200-nvl72", "nodes": 2})").shape.gpus_per_domain, 8);
  EXPECT_EQ(read_text(R"({"preset": "gb200-nvl72", "nodes": 8, "fabric": {"domain_nodes": 2}})")
                .shape.gpus_per_domain,
            8);
}

TEST(Cluster, ReadsACustomNodeOnPcie) {
  const Cluster cluster = read_text(R"({"node": {"gpu": "l40s", "gpus": 4,
      "scale_up": {"kind": "pcie", "bandwidth": "32 GB/s"},
      "nics": {"count": 2, "bandwidth": "400 Gb/s", "protocol": "ethernet"}}, "nodes": 2, "fabric": {"kind": "leaf_spine"}})");
  EXPECT_EQ(cluster.shape.scale_up, ScaleUpKind::pcie);
  EXPECT_EQ(cluster.shape.host_link, gigabytes_per_second(32));
  EXPECT_EQ(cluster.shape.gpus_per_domain, 4);
  EXPECT_FALSE(cluster.shape.in_network_reduction);
}

TEST(Cluster, KnowsTheHostsMemory) {
  // Two sockets of eight channels of DDR5-4800: 2 x 8 x 38.4 GB/s; over the GPU's PCIe unless a link is
  // given.
  const ClusterShape dgx = read_text(R"("dgx-h100")").shape;
  EXPECT_DOUBLE_EQ(dgx.host_memory_bandwidth.base(), 2 * 8 * 38.4e9);
  EXPECT_EQ(dgx.host_memory_link, dgx.host_link);
  const ClusterShape given =
      read_text(R"({"preset": "dgx-h100", "node": {"host_memory": {"link": "50 GB/s"}}})").shape;
  EXPECT_EQ(given.host_memory_link, gigabytes_per_second(50));
  EXPECT_DOUBLE_EQ(given.host_memory_bandwidth.base(), 2 * 8 * 38.4e9);
  EXPECT_EQ(read_text(R"({"node": {"gpu": "h100-sxm-80gb", "gpus": 1}, "nodes": 1})")
                .shape.host_memory_bandwidth.base(),
            0.0);
}

TEST(Cluster, KnowsHowFastItsHostsAre) {
  EXPECT_EQ(read_text(R"("dgx-h100")").spec.node.host_speed, 1.0);
  const Cluster grace = read_text(R"({"node": "gb200-tray", "nodes": 1, "fabric": {"kind": "nvl72"}})");
  EXPECT_LT(grace.spec.node.host_speed, 1.0);
  EXPECT_EQ(read_text(R"({"preset": "dgx-h100", "node": {"host_speed": 1.5}})").spec.node.host_speed, 1.5);
}

TEST(Cluster, ReadsACustomGpu) {
  const Cluster cluster =
      read_text(R"({"node": {"gpu": {"preset": "h100-sxm-80gb", "sms": 114}, "gpus": 1}, "nodes": 1})");
  EXPECT_EQ(cluster.device.sms, 114);
  EXPECT_EQ(cluster.shape.scale_up, ScaleUpKind::none);
}

TEST(Cluster, KeepsWhatStandsAroundTheGpus) {
  const ClusterSpec spec = read_text(R"({"preset": "dgx-h100", "nodes": 2,
      "storage": {"kind": "shared", "read_bandwidth": "40 GB/s", "redundancy": "erasure:8+2"},
      "price": {"gpu_hour": "2.5 USD"}, "power": {"node_idle": "2 kW", "node_busy": "8 kW", "pue": 1.2},
      "reliability": {"node_failures_per_1000_days": 3.79, "detect": "30 s", "spares": 1}})")
                               .spec;
  ASSERT_TRUE(spec.storage && spec.price && spec.power && spec.reliability);
  EXPECT_EQ(spec.storage->data_parts, 8);
  EXPECT_EQ(redundancy_text(*spec.storage), "erasure:8+2");
  EXPECT_EQ(spec.price->gpu_hour, Dollars(2.5));
  EXPECT_EQ(spec.power->node_busy, Watts(8000));
  EXPECT_EQ(spec.reliability->detect, seconds(30));
}

TEST(ResolvedCluster, NamesTheOriginOfEveryValue) {
  const Cluster cluster = read_text(
      R"({"preset": "dgx-h100", "nodes": 4, "node": {"nics": {"count": 4}}, "fabric": {"oversubscription": [2]}})");
  const Json resolved = resolved_cluster_json(cluster.spec);
  const auto entry = [&](const char* pointer) { return resolved.at(Json::json_pointer(pointer)).dump(); };
  EXPECT_EQ(entry("/nodes"), R"({"value":4,"origin":"given"})");
  EXPECT_EQ(entry("/node/nics/count"), R"({"value":4,"origin":"given"})");
  EXPECT_EQ(entry("/node/nics/bandwidth"), R"({"value":"50000000000 B/s","origin":"preset dgx-h100"})");
  EXPECT_EQ(entry("/node/gpu/sms"), R"({"value":132,"origin":"preset h100-sxm-80gb"})");
  EXPECT_EQ(entry("/fabric/kind"), R"({"value":"rail_optimized","origin":"preset dgx-h100"})");
  EXPECT_EQ(entry("/fabric/oversubscription"), R"({"value":[2.0],"origin":"given"})");
  EXPECT_EQ(entry("/fabric/routing"), R"({"value":"adaptive","origin":"default"})");
  EXPECT_EQ(entry("/node/scale_up/bandwidth"), R"({"value":"450000000000 B/s","origin":"default"})");
}

TEST(Origins, ListAssumptionsThatAreInUse) {
  const auto mentions = [](const Cluster& cluster, const std::string& path) {
    for (const std::string& line : cluster.spec.origins.assumptions) {
      if (line.starts_with(path + ": ")) return true;
    }
    return false;
  };
  EXPECT_TRUE(mentions(read_text(R"({"preset": "gb300-nvl72"})"), "node.host_link"));
  EXPECT_FALSE(mentions(read_text(R"({"preset": "gb300-nvl72", "node": {"host_link": "63 GB/s"}})"),
                        "node.host_link"));
  EXPECT_TRUE(mentions(read_text(R"("dgx-h100")"), "fabric.link_latency"));
  EXPECT_FALSE(mentions(read_text(R"("dgx-h100")"), "node.gpu.sms"));
}

}  // namespace
}  // namespace orrery
