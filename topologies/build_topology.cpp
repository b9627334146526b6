#include "topologies/build_topology.hpp"

#include <algorithm>
#include <stdexcept>

#include "topologies/fabric_layout.hpp"

namespace orrery {
namespace {

std::string numbered(std::string_view name, int number) { return std::string(name) + std::to_string(number); }

/// Builds the graph part by part; vertex numbers follow the order of construction.
class Builder {
 public:
  Builder(const ClusterSpec& cluster, const FabricLayout& layout) : cluster_(cluster), layout_(layout) {}

  Topology build() {
    topology_.set_routing(cluster_.fabric.routing);
    topology_.set_payload_efficiency(cluster_.fabric.payload_efficiency);
    VertexId nvswitch = -1;
    for (int node = 0; node < cluster_.nodes; ++node) {
      if (cluster_.node.scale_up.kind == ScaleUpKind::nvswitch && node % cluster_.fabric.domain_nodes == 0) {
        nvswitch = add_nvswitch(node);
      }
      add_node(node, nvswitch);
    }
    if (layout_.tiers >= 1) add_leaves();
    if (layout_.tiers >= 2) add_spines();
    if (layout_.tiers >= 3) add_cores();
    return std::move(topology_);
  }

 private:
  VertexId add_nvswitch(int node) {
    if (cluster_.fabric.domain_nodes > 1) {
      const int domain = node / cluster_.fabric.domain_nodes;
      return topology_.add_vertex(VertexKind::nvswitch, -1, numbered("domain", domain) + "/nvswitch");
    }
    return topology_.add_vertex(VertexKind::nvswitch, node, numbered("node", node) + "/nvswitch");
  }

  void add_node(int node, VertexId nvswitch) {
    const NodeSpec& spec = cluster_.node;
    const int gpus = cluster_.gpus_per_node();
    const int nics = cluster_.nics_per_node();
    const std::string prefix = numbered("node", node) + '/';
    std::vector<VertexId> gpu(static_cast<size_t>(gpus));
    for (int i = 0; i < gpus; ++i) {
      gpu[static_cast<size_t>(i)] = topology_.add_vertex(VertexKind::gpu, node, prefix + numbered("gpu", i));
    }
    for (int i = 0; i < gpus && nvswitch >= 0; ++i) {
      topology_.add_duplex_link(gpu[static_cast<size_t>(i)], nvswitch, spec.scale_up.bandwidth,
                                spec.scale_up.latency / 2);
    }
    if (spec.scale_up.kind == ScaleUpKind::nvlink_mesh) add_mesh(gpu);
    if (nics == 0 && spec.scale_up.kind != ScaleUpKind::pcie) return;

    // Each PCIe switch holds equal runs of the node's GPUs and NICs, as far as these are in use.
    const int switches = spec.pcie_switches();
    const int gpus_each = spec.gpus / switches;
    const int nics_each = spec.nics.count / switches;
    const Seconds gpu_link =
        spec.scale_up.kind == ScaleUpKind::pcie ? spec.scale_up.latency / 2 : spec.host_link_latency;
    for (int s = 0; s * gpus_each < gpus; ++s) {
      const VertexId pcie = topology_.add_vertex(VertexKind::pcie_switch, node, prefix + numbered("pcie", s));
      for (int i = s * gpus_each; i < std::min((s + 1) * gpus_each, gpus); ++i) {
        topology_.add_duplex_link(gpu[static_cast<size_t>(i)], pcie, spec.host_link, gpu_link);
      }
      for (int i = s * nics_each; i < std::min((s + 1) * nics_each, nics); ++i) {
        const VertexId nic = topology_.add_vertex(VertexKind::nic, node, prefix + numbered("nic", i));
        topology_.add_link(pcie, nic, spec.host_link, spec.host_link_latency + spec.nics.latency);
        topology_.add_link(nic, pcie, spec.host_link, spec.host_link_latency);
        nics_.push_back(nic);
      }
    }
  }

  void add_mesh(const std::vector<VertexId>& gpu) {
    const BytesPerSecond pair = cluster_.node.scale_up.bandwidth / std::max(1, cluster_.node.gpus - 1);
    for (size_t a = 0; a < gpu.size(); ++a) {
      for (size_t b = a + 1; b < gpu.size(); ++b) {
        topology_.add_duplex_link(gpu[a], gpu[b], pair, cluster_.node.scale_up.latency);
      }
    }
  }

  void add_leaves() {
    const FabricSpec& fabric = cluster_.fabric;
    const BytesPerSecond port = min(cluster_.node.nics.bandwidth, fabric.link_bandwidth);
    const int nics = cluster_.nics_per_node();
    for (int i = 0; i < layout_.leaves; ++i) {
      leaves_.push_back(topology_.add_vertex(VertexKind::leaf, -1, numbered("leaf", i)));
    }
    for (int node = 0; node < cluster_.nodes; ++node) {
      const int group = node / layout_.nodes_per_leaf;
      for (int i = 0; i < nics; ++i) {
        const int rail = layout_.rails > 1 ? i : 0;
        const int leaf_number = group * layout_.rails + rail;
        const int nic_number = node * nics + i;
        const VertexId leaf = leaves_[static_cast<size_t>(leaf_number)];
        const VertexId nic = nics_[static_cast<size_t>(nic_number)];
        topology_.add_link(nic, leaf, port, fabric.link_latency + fabric.switch_latency);
        topology_.add_link(leaf, nic, port, fabric.link_latency + cluster_.node.nics.latency);
      }
    }
  }

  void add_spines() {
    for (int i = 0; i < layout_.spines(); ++i) {
      spines_.push_back(topology_.add_vertex(VertexKind::spine, -1, numbered("spine", i)));
    }
    for (int leaf = 0; leaf < layout_.leaves; ++leaf) {
      const int first = leaf / layout_.leaves_per_pod * layout_.spines_per_pod;
      for (int cable = 0; cable < layout_.uplinks; ++cable) {
        const int spine = first + cable_target(leaf, cable, layout_.uplinks, layout_.spines_per_pod);
        add_cable(leaves_[static_cast<size_t>(leaf)], spines_[static_cast<size_t>(spine)],
                  layout_.uplink_bandwidth);
      }
    }
  }

  /// Spine s of every pod goes to the s-th set of cores: a path up fixes the path down, save for parallel
  /// cables.
  void add_cores() {
    std::vector<VertexId> cores;
    cores.reserve(static_cast<size_t>(layout_.cores()));
    for (int i = 0; i < layout_.cores(); ++i) {
      cores.push_back(topology_.add_vertex(VertexKind::core, -1, numbered("core", i)));
    }
    for (int spine = 0; spine < layout_.spines(); ++spine) {
      const int pod = spine / layout_.spines_per_pod;
      const int first = spine % layout_.spines_per_pod * layout_.cores_per_spine;
      for (int cable = 0; cable < layout_.spine_uplinks; ++cable) {
        const int core = first + cable_target(pod, cable, layout_.spine_uplinks, layout_.cores_per_spine);
        add_cable(spines_[static_cast<size_t>(spine)], cores[static_cast<size_t>(core)],
                  layout_.spine_uplink_bandwidth);
      }
    }
  }

  void add_cable(VertexId below, VertexId above, BytesPerSecond bandwidth) {
    topology_.add_duplex_link(below, above, bandwidth,
                              cluster_.fabric.link_latency + cluster_.fabric.switch_latency);
  }

  const ClusterSpec& cluster_;
  const FabricLayout& layout_;
  Topology topology_;
  std::vector<VertexId> nics_;  // node by node
  std::vector<VertexId> leaves_;
  std::vector<VertexId> spines_;
};

}  // namespace

Topology build_topology(const ClusterSpec& cluster) {
  std::string problem;
  const FabricLayout layout = fabric_layout(cluster, problem);
  if (!problem.empty()) throw std::invalid_argument(problem);
  return Builder(cluster, layout).build();
}

}  // namespace orrery
