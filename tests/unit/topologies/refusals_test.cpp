#include <gtest/gtest.h>

#include "cluster_reading.hpp"

namespace orrery {
namespace {

using Lines = std::vector<std::string>;

/// Whole lines: the wording is part of the interface.
struct Refusal {
  const char* name;
  const char* cluster;
  Lines lines;
};
class Refused : public testing::TestWithParam<Refusal> {};

TEST_P(Refused, WithTheseLines) { EXPECT_EQ(refusals(GetParam().cluster), GetParam().lines); }

INSTANTIATE_TEST_SUITE_P(
    Cluster, Refused,
    testing::Values(
        Refusal{"UnknownKey",
                R"({"preset": "dgx-h100", "node_count": 4})",
                {"experiment.json: /cluster/node_count: found an unknown key, expected one of schema, node, "
                 "nodes, gpus, "
                 "fabric, storage, price, power, reliability, sources, note"}},
        Refusal{"UnknownPreset",
                R"("dgx-h10")",
                {"experiment.json: /cluster: found \"dgx-h10\", expected \"dgx-h100\" or one of alps, "
                 "dgx-a100-40gb, "
                 "dgx-a100-80gb, dgx-b200, dgx-b300, dgx-h200, dgx1-v100, frontier, gb200-nvl72, gb200-tray, "
                 "gb300-nvl72, gb300-tray, hpn-7, jean-zay-a100, meta-24k-roce, selene, superpod-b200, "
                 "superpod-b300, superpod-h100, tpu-v4"}},
        Refusal{"UnknownGpu",
                R"({"node": {"preset": "dgx-h100", "gpu": "h200"}, "nodes": 1})",
                {"experiment.json: /cluster/node/gpu: found \"h200\", expected \"h200-sxm-141gb\" or one of "
                 "a100-pcie-80gb, "
                 "a100-sxm4-40gb, a100-sxm4-80gb, b200-sxm-180gb, b300-sxm-288gb, gb200, gb300, gh200, "
                 "h100-sxm-80gb, "
                 "h100-sxm-96gb-hbm2e, h800-sxm-80gb, l40s, mi250x-gcd, mi300x, tpu-v4, "
                 "v100-sxm2-32gb"}},
        Refusal{"NotAnObject",
                "7",
                {"experiment.json: /cluster: found 7 (number), expected a preset's name or an object"}},
        Refusal{"NoSize",
                R"({"node": "dgx-h100"})",
                {"experiment.json: /cluster: says neither \"nodes\" nor \"gpus\"; expected one of them"}},
        Refusal{
            "NoNode",
            R"({"nodes": 2})",
            {"experiment.json: /cluster/node: found nothing, expected a node preset's name or an object"}},
        Refusal{"PartOfANode",
                R"({"preset": "dgx-h100", "gpus": 37})",
                {"experiment.json: /cluster/gpus: found 37, expected whole nodes of 8: 32 or 40"}},
        Refusal{"SizesDisagree",
                R"({"preset": "dgx-h100", "gpus": 32, "nodes": 8})",
                {"experiment.json: /cluster/gpus: found 32, expected 64, the GPUs of 8 nodes of 8, or "
                 "\"nodes\" left out"}},
        Refusal{"NoNodes",
                R"({"preset": "dgx-h100", "nodes": 0})",
                {"experiment.json: /cluster/nodes: found 0, expected an integer in [1, 1000000]"}},
        Refusal{"InNetworkReduction",
                R"({"preset": "dgx-h100", "fabric": {"in_network_reduction": true}})",
                {"experiment.json: /cluster/fabric/in_network_reduction: \"in_network_reduction\" is not "
                 "modelled yet; only false is"}},
        Refusal{"AllThatATorusHasNot",
                R"({"preset": "dgx-h100", "nodes": 64,
                    "fabric": {"kind": "torus", "nodes_per_leaf": 3, "dimensions": [4, 4], "switch_radix": 3,
                               "oversubscription": [2]}})",
                {"experiment.json: /cluster/fabric/nodes_per_leaf: found 3 (number), expected nothing, "
                 "because only leaf_spine, rail_optimized, nvl72, fat_tree, dragonfly or dragonfly+ have it",
                 "experiment.json: /cluster/fabric/switch_radix: found a number of ports, expected nothing, "
                 "because the routers of a torus have the ports that its dimensions need",
                 "experiment.json: /cluster/fabric: \"oversubscription\" belongs to trees of switches; a "
                 "torus follows from its own sizes",
                 "experiment.json: /cluster/fabric: \"dimensions\" 4 x 4 is a torus of 16 nodes, the "
                 "cluster has 64"}},
        Refusal{"SizeOfAnotherKind",
                R"({"preset": "dgx-h100", "fabric": {"groups": 4, "dimensions": [4, 8]}})",
                {"experiment.json: /cluster/fabric/groups: found 4 (number), expected nothing, because only "
                 "dragonfly or dragonfly+ have it",
                 "experiment.json: /cluster/fabric/dimensions: found a list, expected nothing, because only "
                 "torus has it"}},
        Refusal{"GraphWithoutEdges",
                R"({"node": "dgx-h100", "nodes": 2, "fabric": {"kind": "graph", "vertices": []}})",
                {"experiment.json: /cluster/fabric/edges: found nothing, expected a list"}},
        Refusal{
            "PortsOfALeaf",
            R"({"preset": "dgx-h100", "nodes": 80, "fabric": {"nodes_per_leaf": 40}})",
            {"experiment.json: /cluster/fabric: leaf0 needs 40 + 40 = 80 ports (below and beside or above), "
             "its switch has 64"}},
        Refusal{"Planes",
                R"({"preset": "dgx-h100", "nodes": 4, "fabric": {"planes": 3}})",
                {"experiment.json: /cluster/fabric: 3 planes take a NIC of every GPU on each: a multiple of "
                 "24 NICs a node, "
                 "found 8"}},
        Refusal{
            "TiersOfADragonfly",
            R"({"preset": "dgx-h100", "nodes": 4, "fabric": {"kind": "dragonfly", "tiers": 2}})",
            {"experiment.json: /cluster/fabric: \"tiers\" belongs to trees of switches; a dragonfly follows "
             "from its own sizes"}},
        Refusal{
            "Ramp",
            R"({"preset": "dgx-h100", "fabric": {"transport": {"ramp": 3}}})",
            {"experiment.json: /cluster/fabric/transport/ramp: found 3 (number), expected a string with a "
             "time unit such as \"1.5 us\""}},
        Refusal{"BareNumber",
                R"({"preset": "dgx-h100", "fabric": {"link_bandwidth": 400}})",
                {"experiment.json: /cluster/fabric/link_bandwidth: found 400 (number), expected a string "
                 "with a rate unit "
                 "such as \"450 GB/s\""}},
        Refusal{"Oversubscription",
                R"({"preset": "dgx-h100", "fabric": {"oversubscription": [0.5]}})",
                {"experiment.json: /cluster/fabric/oversubscription/0: found 0.5, expected a number in [1, "
                 "1000]"}},
        Refusal{"TooManyRatios",
                R"({"preset": "dgx-h100", "nodes": 4, "fabric": {"oversubscription": [2, 2]}})",
                {"experiment.json: /cluster/fabric: \"oversubscription\" has 2 ratios, a fabric of 2 tiers "
                 "has 1"}},
        Refusal{"OneRatioTooMany",
                R"({"preset": "dgx-h100", "nodes": 4,
                    "fabric": {"kind": "single_switch", "oversubscription": [2]}})",
                {"experiment.json: /cluster/fabric: \"oversubscription\" has 1 ratio, a fabric of 1 tier "
                 "has 0"}},
        Refusal{
            "SmallSwitch",
            R"({"preset": "dgx-h100", "nodes": 16, "fabric": {"kind": "single_switch", "switch_radix": 64}})",
            {"experiment.json: /cluster/fabric: one switch of 64 ports cannot take 128 NICs"}},
        Refusal{
            "NoRoomOnALeaf",
            R"({"preset": "dgx-h100", "nodes": 16, "fabric": {"kind": "leaf_spine", "switch_radix": 12}})",
            {"experiment.json: /cluster/fabric: a leaf has 6 ports for nodes (half of 12), a node has 8 "
             "NICs"}},
        Refusal{
            "TooManyTiers",
            R"({"node": {"preset": "dgx-h100", "nics": {"count": 1}}, "nodes": 32, "fabric": {"switch_radix": 4}})",
            {"experiment.json: /cluster/fabric: 32 nodes need more than three tiers of switches of 4 ports"}},
        // 999 x 16,777,216 global cables on 32 switches, 31 local ones beside them.
        Refusal{
            "GlobalLinksBeyondAllPorts",
            R"({"node": {"preset": "dgx-h100", "nics": {"count": 1}}, "nodes": 4000,
                    "fabric": {"kind": "dragonfly", "groups": 1000, "global_links": 16777216}})",
            {"experiment.json: /cluster/fabric: group0/switch0 needs 16 + 523763743 = 523763759 ports (below "
             "and beside or above), its switch has 64"}},
        // 100,000 x 1024 x 1023 / 2 inside the groups, 100,000 x 99,999 / 2 between them.
        Refusal{"MoreCablesThanAnybodyBuilds",
                R"({"node": {"preset": "dgx-h100", "nics": {"count": 1}}, "nodes": 4,
                    "fabric": {"kind": "dragonfly", "groups": 100000, "switches_per_group": 1024,
                               "switch_radix": 2048, "nodes_per_leaf": 1, "global_links": 1}})",
                {"experiment.json: /cluster/fabric: 100000 groups of 1024 switches take 57377550000 cables "
                 "between switches; at most 20000000 are built"}},
        Refusal{
            "KeysThatAGraphHasNoUseFor",
            R"({"node": {"gpu": "h100-sxm-80gb", "gpus": 1}, "nodes": 1, "fabric": {"kind": "graph",
                    "vertices": [{"id": "a", "kind": "gpu", "node": 0}], "edges": [], "link_bandwidth": "1 GB/s",
                    "switch_radix": 64, "switch_latency": "1 us"}})",
            {"experiment.json: /cluster/fabric/switch_radix: found a number of ports, expected nothing, "
             "because the switches of a graph have the edges that it lists",
             "experiment.json: /cluster/fabric/switch_latency: found 1e-06 s, expected nothing, because the "
             "latency of a graph's edges is all of it, switches included"}},
        Refusal{"PortsOfATorus",
                R"({"preset": "tpu-v4", "nodes": 8, "fabric": {"switch_radix": 64}})",
                {"experiment.json: /cluster/fabric/switch_radix: found a number of ports, expected nothing, "
                 "because the routers of a torus have the ports that its dimensions need"}},
        Refusal{
            "OversubscriptionOfOneNode",
            R"({"preset": "dgx-h100", "nodes": 1, "fabric": {"oversubscription": [2]}})",
            {"experiment.json: /cluster/fabric/oversubscription: found a ratio, expected nothing, because a "
             "single node has no fabric"}},
        Refusal{
            "SprayWithoutSpraying",
            R"({"preset": "dgx-h100", "fabric": {"routing": "static", "transport": {"spray_efficiency": 0.9}}})",
            {"experiment.json: /cluster/fabric/transport/spray_efficiency: found 0.9, expected nothing, "
             "because only adaptive routing sprays, this fabric's is static"}},
        Refusal{"OtherTiers",
                R"({"preset": "dgx-h100", "nodes": 32, "fabric": {"tiers": 3}})",
                {"experiment.json: /cluster/fabric: \"tiers\" is 3, this fabric has 2"}},
        Refusal{"NoNics",
                R"({"node": {"preset": "dgx-h100", "nics": {"count": 0}}, "nodes": 2})",
                {"experiment.json: /cluster/fabric: nodes without NICs cannot be joined: 2 nodes need nics"}},
        Refusal{"NothingBetweenGpus",
                R"({"node": {"gpu": "l40s", "gpus": 4, "scale_up": {"kind": "none"}}, "nodes": 1})",
                {"experiment.json: /cluster/node/scale_up/kind: found \"none\", expected \"pcie\" or another "
                 "link between "
                 "the 4 GPUs of the node"}},
        Refusal{"DomainsWithoutNvl72",
                R"({"preset": "dgx-h100", "fabric": {"domain_nodes": 4}})",
                {"experiment.json: /cluster/fabric/domain_nodes: found 4 (number), expected nothing, because "
                 "only "
                 "nvl72 has domains"}},
        Refusal{"DomainTooLarge",
                R"({"preset": "gb200-nvl72", "fabric": {"domain_nodes": 19}})",
                {"experiment.json: /cluster/fabric/domain_nodes: found 19, expected an integer in [1, 18]"}},
        Refusal{
            "TwoPcieRates",
            R"({"node": {"gpu": "l40s", "gpus": 4, "scale_up": {"kind": "pcie"}, "host_link": "63 GB/s"}, "nodes": 1})",
            {"experiment.json: /cluster/node/host_link: found \"63 GB/s\", expected the scale-up bandwidth "
             "31000000000 "
             "B/s or nothing, because both are the same PCIe bus"}},
        Refusal{
            "Redundancy",
            R"({"preset": "dgx-h100", "storage": {"kind": "shared", "read_bandwidth": "9 GB/s", "redundancy": "raid5"}})",
            {"experiment.json: /cluster/storage/redundancy: found \"raid5\", expected \"none\", "
             "\"replication:N\" or "
             "\"erasure:K+M\" with whole numbers"}},
        Refusal{"TwoPrices",
                R"({"preset": "dgx-h100", "price": {"gpu_hour": "2 USD", "years": 4}})",
                {"experiment.json: /cluster/price: gives both \"gpu_hour\" and a purchase; expected one of "
                 "the two"}},
        Refusal{"IdleAboveBusy",
                R"({"preset": "dgx-h100", "power": {"node_idle": "9 kW", "node_busy": "8 kW"}})",
                {"experiment.json: /cluster/power/node_busy: found \"8 kW\", expected at least node_idle, "
                 "9000 W"}},
        Refusal{
            "SeveralAtOnce",
            R"({"node": {"preset": "dgx-h100", "gpus": 8.0, "nics": {"bandwith": "1 Gb/s"}}, "nodes": 4,
                    "fabric": {"kind": "rail"}, "reliability": {"spares": -1}})",
            {"experiment.json: /cluster/node/gpus: found 8.0, expected an integer in [1, 64]",
             "experiment.json: /cluster/node/nics/bandwith: found an unknown key, expected \"bandwidth\" or "
             "one of "
             "count, latency, protocol",
             "experiment.json: /cluster/fabric/kind: found \"rail\", expected one of single_switch, "
             "leaf_spine, "
             "rail_optimized, nvl72, fat_tree, dragonfly, dragonfly+, torus, graph",
             "experiment.json: /cluster/reliability/spares: found -1, expected an integer in [0, 1000000]"}}),
    [](const testing::TestParamInfo<Refusal>& refusal) { return std::string(refusal.param.name); });

}  // namespace
}  // namespace orrery
