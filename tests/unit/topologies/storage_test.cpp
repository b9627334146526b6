#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "cluster_reading.hpp"
#include "sim/network/storage_shape.hpp"
#include "topologies/build_topology.hpp"

namespace orrery {
namespace {

Topology with_storage(const std::string& storage,
                      const std::string& cluster = R"("preset": "dgx-h100", "nodes": 64)") {
  return build_topology(read_text("{" + cluster + R"(, "storage": )" + storage + "}").spec);
}
BytesPerSecond rate(const Topology& topology, VertexId from, VertexId to) {
  return route_bandwidth(topology, topology.route_between(from, to));
}

TEST(Storage, SharedIsReadAndWrittenAtTheServersRates) {
  const Topology topology = with_storage(
      R"({"kind": "shared", "read_bandwidth": "40 GB/s", "write_bandwidth": "20 GB/s", "latency": "100 us"})");
  const VertexId storage = topology.find("storage0");
  ASSERT_GE(storage, 0);
  EXPECT_EQ(storage_endpoint(topology, 5), storage);
  EXPECT_EQ(rate(topology, storage, topology.gpu(7)), gigabytes_per_second(40));
  EXPECT_EQ(rate(topology, topology.gpu(7), storage), gigabytes_per_second(20));
  // 100 us; cable and spine, cable and leaf, cable and NIC, two PCIe links: 100 + 2 x 0.25 + 0.65 + 0.5.
  const std::vector<LinkId> read = topology.route_between(storage, topology.gpu(7));
  EXPECT_NEAR(route_latency(topology, read).base(), 101.65e-6, 1e-12);
}

TEST(Storage, SharesTheCablesOfTheGradients) {
  const Topology topology = with_storage(R"({"kind": "shared", "read_bandwidth": "400 GB/s"})");
  const VertexId storage = topology.find("storage0");
  const std::vector<LinkId> read = topology.route_between(storage, topology.gpu(0));
  const std::vector<LinkId> gradient = topology.route(8 * 40, 0);  // from another leaf group
  // The last four links (leaf, NIC, PCIe, GPU) are the same but for the spine chosen.
  ASSERT_GE(read.size(), 4u);
  EXPECT_TRUE(std::equal(read.end() - 3, read.end(), gradient.end() - 3));
  EXPECT_EQ(topology.vertices()[static_cast<size_t>(topology.links()[static_cast<size_t>(read[2])].to)].kind,
            VertexKind::spine);
}

TEST(Storage, RedundancyMakesWritesDearer) {
  // Three copies take three times the bytes, 8+2 take 10/8.
  const auto written = [](const std::string& redundancy) {
    const Topology topology = with_storage(
        R"({"kind": "object", "read_bandwidth": "60 GB/s", "write_bandwidth": "30 GB/s", "redundancy": ")" +
        redundancy + "\"}");
    EXPECT_EQ(rate(topology, topology.find("storage0"), topology.gpu(0)),
              gigabytes_per_second(50));  // the NIC
    return rate(topology, topology.gpu(0), topology.find("storage0"));
  };
  EXPECT_EQ(written("none"), gigabytes_per_second(30));
  EXPECT_EQ(written("replication:3"), gigabytes_per_second(10));
  EXPECT_EQ(written("erasure:8+2"), gigabytes_per_second(24));
}

TEST(Storage, AClientIsCappedOnItsOwnLink) {
  const Topology topology =
      with_storage(R"({"kind": "shared", "read_bandwidth": "40 GB/s", "per_client_bandwidth": "8 GB/s"})");
  const VertexId client = storage_endpoint(topology, 3);
  EXPECT_EQ(topology.vertices()[static_cast<size_t>(client)].id, "storage0/node3");
  EXPECT_EQ(rate(topology, client, topology.gpu(3 * 8 + 1)), gigabytes_per_second(8));
  EXPECT_EQ(rate(topology, topology.gpu(3 * 8 + 1), client), gigabytes_per_second(8));
  EXPECT_EQ(topology.count(VertexKind::storage), 1 + 64);
  // All clients together cross the link of the servers' rate.
  const VertexId hub = topology.find("storage0/hub");
  const std::vector<LinkId> one = topology.route_between(client, topology.gpu(24));
  const std::vector<LinkId> other = topology.route_between(storage_endpoint(topology, 9), topology.gpu(72));
  EXPECT_EQ(topology.links()[static_cast<size_t>(one[1])].from, hub);
  EXPECT_EQ(one[1], other[1]);
  EXPECT_EQ(topology.links()[static_cast<size_t>(one[1])].bandwidth, gigabytes_per_second(40));
}

TEST(Storage, LocalDrivesStayInTheirNode) {
  const Topology topology =
      with_storage(R"({"kind": "local", "read_bandwidth": "28 GB/s", "write_bandwidth": "14 GB/s"})");
  const VertexId drive = topology.find("node2/nvme");
  ASSERT_GE(drive, 0);
  EXPECT_EQ(storage_endpoint(topology, 2), drive);
  for (int gpu = 16; gpu < 24; ++gpu) {
    EXPECT_EQ(rate(topology, drive, topology.gpu(gpu)), gigabytes_per_second(28));
    EXPECT_EQ(rate(topology, topology.gpu(gpu), drive), gigabytes_per_second(14));
    for (const LinkId l : topology.route_between(drive, topology.gpu(gpu))) {
      const VertexId to = topology.links()[static_cast<size_t>(l)].to;
      EXPECT_EQ(topology.vertices()[static_cast<size_t>(to)].node, 2);
    }
  }
  // A node without NICs has drives too.
  const Topology alone = with_storage(R"({"kind": "local", "read_bandwidth": "7 GB/s"})",
                                      R"("node": {"gpu": "h100-sxm-80gb", "gpus": 1}, "nodes": 1)");
  EXPECT_EQ(rate(alone, alone.find("node0/nvme"), alone.gpu(0)), gigabytes_per_second(7));
}

TEST(Storage, GpusMeetAtTheDrivesAlone) {
  // Files are striped over all drives of a node, which hang on several PCIe switches: two GPUs' paths have
  // the drives' own link in common and no other.
  const Topology topology = with_storage(R"({"kind": "local", "read_bandwidth": "28 GB/s"})");
  const VertexId drive = topology.find("node0/nvme");
  const std::vector<LinkId> first = topology.route_between(topology.gpu(0), drive);
  for (int gpu = 1; gpu < 8; ++gpu) {
    const std::vector<LinkId> other = topology.route_between(topology.gpu(gpu), drive);
    EXPECT_EQ(std::count_if(other.begin(), other.end(),
                            [&first](LinkId link) {
                              return std::find(first.begin(), first.end(), link) != first.end();
                            }),
              1);
    EXPECT_EQ(other.back(), first.back());
  }
}

TEST(Storage, LeavesTheGradientsPathsAlone) {
  const Topology with =
      with_storage(R"({"kind": "shared", "read_bandwidth": "400 GB/s", "per_client_bandwidth": "8 GB/s"})");
  const Topology without = build_topology(read_text(R"({"preset": "dgx-h100", "nodes": 64})").spec);
  for (int to = 1; to < 512; to += 7) EXPECT_EQ(with.route(0, to), without.route(0, to));
}

TEST(Storage, IsWrittenOverAllSpinesUnderStaticRouting) {
  // 64 nodes, 8 spines: GPU 0 of each node writes over the spine of its number on its leaf, 8 nodes a spine.
  const Topology topology =
      with_storage(R"({"kind": "shared", "read_bandwidth": "400 GB/s"})",
                   R"("preset": "dgx-h100", "nodes": 64, "fabric": {"routing": "static"})");
  const VertexId storage = topology.find("storage0");
  std::map<std::string, int> writers;
  for (int node = 0; node < 64; ++node) {
    for (const LinkId l : topology.route_between(topology.gpu(8 * node), storage)) {
      const Vertex& to =
          topology.vertices()[static_cast<size_t>(topology.links()[static_cast<size_t>(l)].to)];
      if (to.kind == VertexKind::spine) ++writers[to.id];
    }
  }
  EXPECT_EQ(writers.size(), 8u);
  for (const auto& [spine, nodes] : writers) EXPECT_EQ(nodes, 8) << spine;
}

TEST(Storage, IsOnEverySwitchOfADragonflyThatHoldsGlobalCables) {
  for (const auto& [kind, holder] :
       {std::pair("dragonfly", VertexKind::leaf), std::pair("dragonfly+", VertexKind::spine)}) {
    const Topology topology =
        with_storage(R"({"kind": "shared", "read_bandwidth": "20 GB/s"})",
                     R"("node": "dgx-h100", "nodes": 24, "fabric": {"kind": ")" + std::string(kind) + "\"}");
    EXPECT_EQ(topology.links_from(topology.find("storage0/nic")).size(),
              static_cast<size_t>(topology.count(holder)) + 1)  // and to the hub
        << kind;
  }
}

TEST(Storage, TakesWhatTheNodesOfADragonflysSwitchSend) {
  // Four nodes of four NICs of 200 Gb/s meet at four of 2368 switches; each reaches the store over its own,
  // where an equal part of 2 TB/s would be 0.8 GB/s and a cable of the fabric carries 25 for four NICs.
  const Topology topology = with_storage(R"({"kind": "shared", "read_bandwidth": "2 TB/s"})",
                                         R"("preset": "frontier", "nodes": 4)");
  const auto cable_to = [&topology](const char* to) {
    for (const LinkId each : topology.links_from(topology.find("storage0/nic"))) {
      const Link& link = topology.links()[static_cast<size_t>(each)];
      if (link.to == topology.find(to)) return link.bandwidth;
    }
    return BytesPerSecond();
  };
  EXPECT_EQ(cable_to("group0/switch0"), gigabytes_per_second(100));
  EXPECT_EQ(cable_to("group5/switch0"), gigabytes_per_second(25));
}

TEST(Storage, IsReachedWithoutTheUplinksThatADragonflyOrTorusPasses) {
  // 16 nodes of one NIC of 50 GB/s each, global cables for an eighth of a group; of a torus two NICs, which
  // its ring links carry half of. The store takes what every NIC sends.
  const auto written = [](const std::string& nics, const std::string& fabric) {
    const ClusterShape shape =
        read_text(R"({"node": {"gpu": "h100-sxm-80gb", "gpus": 1, "host_link": "200 GB/s",
                               "nics": {"count": )" +
                  nics + R"(, "bandwidth": "400 Gb/s"}}, "nodes": 16, "fabric": )" + fabric +
                  R"(, "storage": {"kind": "shared", "read_bandwidth": "9 TB/s"}})")
            .shape;
    EXPECT_GT(shape.oversubscription, 1.5) << fabric;
    const StorageClients all{16, 1};
    return storage_rate(shape, StorageDirection::write, all) / shape.payload_efficiency;
  };
  const std::string groups =
      R"("groups": 2, "switches_per_group": 2, "nodes_per_leaf": 4, "global_links": 1})";
  EXPECT_NEAR(written("1", R"({"kind": "dragonfly", )" + groups).base(), 50e9, 1);
  EXPECT_NEAR(written("1", R"({"kind": "dragonfly+", "spines_per_group": 2, )" + groups).base(), 50e9, 1);
  EXPECT_NEAR(written("2", R"({"kind": "torus", "dimensions": [4, 4]})").base(), 100e9, 1);
}

TEST(Storage, OfOneNodeIsOnASwitchOfItsOwn) {
  const Topology topology = with_storage(R"({"kind": "shared", "read_bandwidth": "40 GB/s"})",
                                         R"("preset": "dgx-h100", "nodes": 1)");
  EXPECT_EQ(topology.count(VertexKind::leaf), 1);
  EXPECT_EQ(rate(topology, topology.find("storage0"), topology.gpu(5)), gigabytes_per_second(40));
}

TEST(Storage, IsOnEveryKindOfFabric) {
  for (const char* fabric :
       {R"({"kind": "single_switch"})", R"({"kind": "leaf_spine"})", R"({"kind": "fat_tree"})",
        R"({"kind": "dragonfly"})", R"({"kind": "dragonfly+"})", R"({"kind": "torus"})"}) {
    SCOPED_TRACE(fabric);
    const Topology topology =
        with_storage(R"({"kind": "shared", "read_bandwidth": "20 GB/s", "per_client_bandwidth": "10 GB/s"})",
                     R"("node": "dgx-h100", "nodes": 24, "fabric": )" + std::string(fabric));
    for (int gpu = 0; gpu < 24 * 8; gpu += 5) {
      EXPECT_EQ(rate(topology, storage_endpoint(topology, gpu / 8), topology.gpu(gpu)),
                gigabytes_per_second(10));
    }
  }
}

TEST(Storage, RefusesWhatCannotBe) {
  using Refusals = std::vector<std::string>;
  EXPECT_EQ(
      refusals(R"({"preset": "dgx-h100", "storage": {"kind": "shared"}})"),
      (Refusals{"experiment.json: /cluster/storage/read_bandwidth: found nothing, expected a string with a "
                "rate unit such as \"450 GB/s\""}));
  EXPECT_EQ(
      refusals(R"({"preset": "dgx-h100", "storage": {"kind": "local", "read_bandwidth": "7 GB/s",
                         "per_client_bandwidth": "1 GB/s"}})"),
      (Refusals{"experiment.json: /cluster/storage/per_client_bandwidth: found \"1 GB/s\", expected nothing, "
                "because a node's drives have one client"}));
  EXPECT_EQ(
      refusals(R"({"node": {"gpu": "h100-sxm-80gb", "gpus": 1}, "nodes": 1,
                         "storage": {"kind": "shared", "read_bandwidth": "7 GB/s"}})"),
      (Refusals{"experiment.json: /cluster/storage: nodes without NICs reach no shared storage: expected the "
                "node's nics"}));
}

}  // namespace
}  // namespace orrery
