#include <stdexcept>

#include "topologies/fabric_graph.hpp"
#include "topologies/fabric_layout.hpp"

namespace orrery {
namespace {

/// Leaves, spines and cores of a tree of switches.
class Tree {
 public:
  Tree(const ClusterSpec& cluster, const FabricLayout& layout, FabricGraph& graph)
      : cluster_(cluster), layout_(layout), graph_(graph) {}

  void add_leaves() {
    const BytesPerSecond port = min(cluster_.node.nics.bandwidth, cluster_.fabric.link_bandwidth);
    const int nics = cluster_.nics_per_node();
    leaves_ = switches(VertexKind::leaf, "leaf", layout_.leaves);
    for (int node = 0; node < cluster_.nodes; ++node) {
      const int group = node / layout_.nodes_per_leaf;
      for (int i = 0; i < nics; ++i) {
        // NIC i is on plane i mod planes; on rails each NIC number has its own leaf.
        const int leaf = group * layout_.rails + i % layout_.rails;
        const int nic = node * nics + i;
        add_nic_cable(cluster_, graph_, graph_.nics[static_cast<size_t>(nic)], at(leaves_, leaf), port);
      }
    }
  }

  void add_spines() {
    spines_ = switches(VertexKind::spine, "spine", layout_.spines());
    for (int leaf = 0; leaf < layout_.leaves; ++leaf) {
      const int plane = leaf % layout_.rails % layout_.planes;
      const int number = leaf / layout_.planes;  // among the leaves of its plane
      const int pod = leaf / layout_.leaves_per_pod;
      const int first = (pod * layout_.planes + plane) * layout_.spines_per_pod;
      for (int cable = 0; cable < layout_.uplinks; ++cable) {
        const int spine = first + cable_target(number, cable, layout_.uplinks, layout_.spines_per_pod);
        add_switch_cable(cluster_, graph_, at(leaves_, leaf), at(spines_, spine), layout_.uplink_bandwidth);
      }
    }
  }

  /// Spine s of every pod goes to the s-th set of cores: a path up fixes the path down, save for parallel
  /// cables.
  void add_cores() {
    const std::vector<VertexId> cores = switches(VertexKind::core, "core", layout_.cores());
    const int of_pod = layout_.planes * layout_.spines_per_pod;
    for (int spine = 0; spine < layout_.spines(); ++spine) {
      const int pod = spine / of_pod;
      const int first = spine % of_pod * layout_.cores_per_spine;
      for (int cable = 0; cable < layout_.spine_uplinks; ++cable) {
        const int core = first + cable_target(pod, cable, layout_.spine_uplinks, layout_.cores_per_spine);
        add_switch_cable(cluster_, graph_, at(spines_, spine), at(cores, core),
                         layout_.spine_uplink_bandwidth);
      }
    }
  }

 private:
  static VertexId at(const std::vector<VertexId>& all, int number) {
    return all[static_cast<size_t>(number)];
  }

  std::vector<VertexId> switches(VertexKind kind, std::string_view name, int count) {
    std::vector<VertexId> added;
    added.reserve(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) added.push_back(graph_.topology.add_vertex(kind, -1, numbered(name, i)));
    graph_.top_switches = added;
    return added;
  }

  const ClusterSpec& cluster_;
  const FabricLayout& layout_;
  FabricGraph& graph_;
  std::vector<VertexId> leaves_;
  std::vector<VertexId> spines_;
};

}  // namespace

void add_tree(const ClusterSpec& cluster, FabricGraph& graph) {
  std::string problem;
  const FabricLayout layout = fabric_layout(cluster, problem);
  if (!problem.empty()) throw std::invalid_argument(problem);
  Tree tree(cluster, layout, graph);
  if (layout.tiers >= 1) tree.add_leaves();
  if (layout.tiers >= 2) tree.add_spines();
  if (layout.tiers >= 3) tree.add_cores();
}

}  // namespace orrery
