#include <cstdint>
#include <stdexcept>

#include "topologies/fabric_graph.hpp"
#include "topologies/fabric_layout.hpp"

namespace orrery {
namespace {

VertexId at(const std::vector<VertexId>& all, int number) { return all[static_cast<size_t>(number)]; }

/// The switch of `group` that holds the global cable of that number to `other`: cables are dealt over the
/// switches one by one, so that those to one group leave from neighbouring switches.
int global_port(const DragonflyLayout& layout, int group, int other, int cable) {
  const int pair = other < group ? other : other - 1;
  return static_cast<int>((std::int64_t{pair} * layout.global_links + cable) % layout.global_switches());
}

}  // namespace

void add_dragonfly(const ClusterSpec& cluster, FabricGraph& graph) {
  std::string problem;
  const DragonflyLayout layout = dragonfly_layout(cluster, problem);
  if (!problem.empty()) throw std::invalid_argument(problem);
  Topology& topology = graph.topology;
  const BytesPerSecond link = cluster.fabric.link_bandwidth;
  const BytesPerSecond port = min(cluster.node.nics.bandwidth, link);
  const int switches = layout.switches_per_group;
  const int spines = layout.spines_per_group;
  std::vector<VertexId> low;   // switches that nodes are cabled to, group by group
  std::vector<VertexId> high;  // those that hold global cables
  for (int group = 0; group < layout.groups; ++group) {
    const std::string prefix = numbered("group", group) + '/';
    for (int i = 0; i < switches; ++i) {
      low.push_back(
          topology.add_vertex(VertexKind::leaf, -1, prefix + numbered(layout.plus ? "leaf" : "switch", i)));
    }
    for (int i = 0; i < spines; ++i) {
      high.push_back(topology.add_vertex(VertexKind::spine, -1, prefix + numbered("spine", i)));
    }
    const int first = group * switches;
    for (int a = 0; a < switches && layout.plus; ++a) {
      for (int cable = 0; cable < layout.uplinks; ++cable) {
        add_switch_cable(cluster, graph, at(low, first + a),
                         at(high, group * spines + cable_target(a, cable, layout.uplinks, spines)),
                         layout.uplink_bandwidth);
      }
    }
    for (int a = 0; a < switches && !layout.plus; ++a) {
      for (int b = a + 1; b < switches; ++b) {
        add_switch_cable(cluster, graph, at(low, first + a), at(low, first + b), link);
      }
    }
  }
  if (!layout.plus) high = low;
  const int nics = cluster.nics_per_node();
  for (int node = 0; node < cluster.nodes; ++node) {
    const int chassis = node / layout.nodes_per_leaf;  // groups hold whole chassis
    for (int i = 0; i < nics; ++i) {
      add_nic_cable(cluster, graph, at(graph.nics, node * nics + i),
                    at(low, chassis * layout.rails + i % layout.rails), port);
    }
  }
  for (int a = 0; a < layout.groups; ++a) {
    for (int b = a + 1; b < layout.groups; ++b) {
      for (int cable = 0; cable < layout.global_links; ++cable) {
        add_switch_cable(cluster, graph,
                         at(high, a * layout.global_switches() + global_port(layout, a, b, cable)),
                         at(high, b * layout.global_switches() + global_port(layout, b, a, cable)), link);
      }
    }
  }
  graph.top_switches = high;
}

std::vector<int> dragonfly_groups(const ClusterSpec& cluster, const Topology& topology) {
  std::vector<int> groups;
  if (!cluster.fabric.is_dragonfly()) return groups;
  groups.assign(topology.vertices().size(), -1);
  std::string problem;
  const DragonflyLayout layout = dragonfly_layout(cluster, problem);
  for (int group = 0; group < layout.groups; ++group) {
    const std::string prefix = numbered("group", group) + '/';
    const auto note = [&](const char* kind, int count) {
      for (int i = 0; i < count; ++i) {
        const VertexId found = topology.find(prefix + numbered(kind, i));
        if (found >= 0) groups[static_cast<size_t>(found)] = group;
      }
    };
    note(layout.plus ? "leaf" : "switch", layout.switches_per_group);
    note("spine", layout.spines_per_group);
  }
  return groups;
}

void add_torus(const ClusterSpec& cluster, FabricGraph& graph) {
  std::string problem;
  const std::vector<int> sizes = torus_dimensions(cluster, problem);
  if (!problem.empty()) throw std::invalid_argument(problem);
  if (cluster.nodes <= 1) return;
  const int nics = cluster.nics_per_node();
  std::vector<VertexId> routers;
  for (int node = 0; node < cluster.nodes; ++node) {
    routers.push_back(graph.topology.add_vertex(VertexKind::leaf, node, numbered("node", node) + "/router"));
    for (int i = 0; i < nics; ++i) {
      add_nic_cable(cluster, graph, at(graph.nics, node * nics + i), routers.back(),
                    cluster.node.nics.bandwidth);
    }
  }
  int stride = 1;
  for (const int size : sizes) {
    for (int node = 0; node < cluster.nodes; ++node) {
      const int place = node / stride % size;
      // Each router's cable to the next one; a ring of two has one cable.
      if (size == 1 || (size == 2 && place == 1)) continue;
      const int next = node + ((place + 1) % size - place) * stride;
      add_switch_cable(cluster, graph, at(routers, node), at(routers, next), cluster.fabric.link_bandwidth);
    }
    stride *= size;
  }
  graph.top_switches = routers;
}

}  // namespace orrery
