#include "tests/properties/fluid/random_fabric.hpp"

#include <string>

namespace orrery::testing {
namespace {

class Builder {
 public:
  explicit Builder(std::uint32_t seed) : draws_(seed) {}

  Topology build(int kind) {
    if (kind == 0) tree(2);
    if (kind == 1) tree(3);
    if (kind == 2) rails();
    if (kind == 3) graph();
    const Routing kRoutings[] = {Routing::ecmp, Routing::adaptive, Routing::fixed};
    topology_.set_routing(kRoutings[draws_.below(3)]);
    topology_.set_hash_seed(static_cast<std::uint64_t>(draws_.below(1000)));
    topology_.set_payload_efficiency(draws_.uniform(0.8, 1.0));
    topology_.set_spray_efficiency(draws_.uniform(0.8, 1.0));
    topology_.set_ramp(Seconds(draws_.uniform(0.0, 1e-5)));
    return std::move(topology_);
  }

 private:
  BytesPerSecond rate() { return BytesPerSecond(draws_.uniform(5e9, 50e9)); }
  Seconds latency() { return Seconds(draws_.uniform(0.0, 2e-6)); }
  VertexId network_switch(VertexKind kind) {
    return topology_.add_vertex(kind, -1, "switch" + std::to_string(switches_++));
  }
  void join(VertexId a, VertexId b) { topology_.add_duplex_link(a, b, rate(), latency()); }

  /// A host of one GPU and one NIC.
  void host(VertexId leaf) {
    const std::string name = "node" + std::to_string(nodes_);
    const VertexId gpu = topology_.add_vertex(VertexKind::gpu, nodes_, name + "/gpu0");
    const VertexId nic = topology_.add_vertex(VertexKind::nic, nodes_++, name + "/nic0");
    join(gpu, nic);
    join(nic, leaf);
  }

  void tree(int tiers) {
    std::vector<VertexId> cores, spines;
    const int pods = tiers == 3 ? 2 : 1;
    for (int i = 0; tiers == 3 && i < 2 + draws_.below(2); ++i)
      cores.push_back(network_switch(VertexKind::core));
    for (int pod = 0; pod < pods; ++pod) {
      spines.clear();
      for (int i = 0; i < 1 + draws_.below(4); ++i) {
        spines.push_back(network_switch(VertexKind::spine));
        for (const VertexId core : cores) join(spines.back(), core);
      }
      const int leaves = 1 + draws_.below(3);
      for (int leaf = 0; leaf < leaves; ++leaf) {
        const VertexId at = network_switch(VertexKind::leaf);
        for (const VertexId spine : spines) join(at, spine);
        const int hosts = 2 + draws_.below(3);
        for (int i = 0; i < hosts; ++i) host(at);
      }
    }
  }

  void rails() {
    std::vector<VertexId> spines, leaves;
    const int gpus = 2 + draws_.below(3);
    for (int i = 0; i < 1 + draws_.below(3); ++i) spines.push_back(network_switch(VertexKind::spine));
    for (int rail = 0; rail < gpus; ++rail) {
      leaves.push_back(network_switch(VertexKind::leaf));
      for (const VertexId spine : spines) join(leaves.back(), spine);
    }
    const int nodes = 2 + draws_.below(4);
    for (int node = 0; node < nodes; ++node) {
      const std::string name = "node" + std::to_string(node);
      const VertexId nvswitch = topology_.add_vertex(VertexKind::nvswitch, node, name + "/nvswitch");
      for (int i = 0; i < gpus; ++i) {
        const VertexId gpu = topology_.add_vertex(VertexKind::gpu, node, name + "/gpu" + std::to_string(i));
        const VertexId nic = topology_.add_vertex(VertexKind::nic, node, name + "/nic" + std::to_string(i));
        topology_.add_duplex_link(gpu, nvswitch, 10.0 * rate(), latency());
        join(gpu, nic);
        join(nic, leaves[static_cast<size_t>(i)]);
      }
    }
  }

  /// Each switch joined to an earlier one, and a few pairs more.
  void graph() {
    std::vector<VertexId> all;
    const int count = 2 + draws_.below(6);
    for (int i = 0; i < count; ++i) {
      all.push_back(network_switch(VertexKind::leaf));
      if (i > 0) join(all[static_cast<size_t>(draws_.below(i))], all.back());
      for (int hosts = 1 + draws_.below(2); hosts > 0; --hosts) host(all.back());
    }
    for (int i = 0; i < draws_.below(4); ++i) {
      const int a = draws_.below(count), b = draws_.below(count);
      if (a != b) join(all[static_cast<size_t>(a)], all[static_cast<size_t>(b)]);
    }
  }

  Draws draws_;
  Topology topology_;
  int switches_ = 0, nodes_ = 0;
};

}  // namespace

Topology random_fabric(std::uint32_t seed) { return Builder(seed).build(static_cast<int>(seed % 4)); }

std::vector<TrafficFlow> random_flows(const Topology& topology, std::uint32_t seed) {
  Draws draws(seed + 77777);
  std::vector<TrafficFlow> flows;
  const int gpus = topology.gpu_count();
  const int count = 1 + draws.below(60);
  for (int i = 0; i < count; ++i) {
    const int from = draws.below(gpus), to = draws.below(gpus);
    if (from == to) continue;
    flows.push_back({topology.gpu(from), topology.gpu(to), Bytes(draws.uniform(1e4, 1e7)),
                     Seconds(draws.below(3) == 0 ? draws.uniform(0.0, 1e-3) : 0.0)});
  }
  if (flows.empty()) flows.push_back({topology.gpu(0), topology.gpu(1), Bytes(1e6), Seconds(0)});
  return flows;
}

}  // namespace orrery::testing
