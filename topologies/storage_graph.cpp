#include <stdexcept>
#include <vector>

#include "topologies/fabric_graph.hpp"

namespace orrery {
namespace {

/// The drives of a node as one, on its host side: files are striped over all drives, which hang on several
/// PCIe switches, and their bytes pass the host's memory (DGX H100: 8 U.2 drives in one RAID 0, DGX H100/H200
/// user guide), so that each GPU meets them over its own link.
void add_local_drives(const StorageSpec& storage, FabricGraph& graph) {
  for (size_t node = 0; node < graph.host_sides.size(); ++node) {
    const int number = static_cast<int>(node);
    const VertexId drive =
        graph.topology.add_vertex(VertexKind::storage, number, numbered("node", number) + "/nvme");
    graph.topology.add_link(drive, graph.host_sides[node], storage.read_rate(), storage.access_latency);
    graph.topology.add_link(graph.host_sides[node], drive, storage.client_write_rate(),
                            storage.access_latency);
  }
}

/// One node has no fabric: a switch of its own joins its NICs to the storage.
void add_switch_of_single_node(const ClusterSpec& cluster, FabricGraph& graph) {
  const VertexId leaf = graph.topology.add_vertex(VertexKind::leaf, -1, "leaf0");
  const BytesPerSecond port = min(cluster.node.nics.bandwidth, cluster.fabric.link_bandwidth);
  for (const VertexId nic : graph.nics) add_nic_cable(cluster, graph, nic, leaf, port);
  graph.top_switches = {leaf};
}

/// What each switch of a dragonfly gets from below: a `dragonfly`'s from the NICs on it, a spine of a
/// `dragonfly+` from its group's leaves.
std::vector<BytesPerSecond> from_below(const Topology& topology) {
  const auto kind = [&topology](VertexId v) { return topology.vertices()[static_cast<size_t>(v)].kind; };
  std::vector<BytesPerSecond> rates(topology.vertices().size());
  for (const Link& link : topology.links()) {
    const bool up = kind(link.from) == VertexKind::leaf && kind(link.to) == VertexKind::spine;
    if (up || kind(link.from) == VertexKind::nic) rates[static_cast<size_t>(link.to)] += link.bandwidth;
  }
  return rates;
}

void add_shared(const ClusterSpec& cluster, FabricGraph& graph) {
  const StorageSpec& storage = *cluster.storage;
  Topology& topology = graph.topology;
  if (graph.top_switches.empty()) add_switch_of_single_node(cluster, graph);
  const VertexId servers = topology.add_vertex(VertexKind::storage, -1, "storage0");
  const VertexId hub = topology.add_vertex(VertexKind::pcie_switch, -1, "storage0/hub");
  const VertexId nic = topology.add_vertex(VertexKind::nic, -1, "storage0/nic");
  // The servers' rate is that of hub and NIC: the cables beyond are enough for it together, headers included.
  topology.add_link(servers, hub, storage.read_rate(), Seconds());
  topology.add_link(hub, servers, storage.client_write_rate(), Seconds());
  topology.add_link(hub, nic, storage.read_rate(), storage.access_latency);
  topology.add_link(nic, hub, storage.client_write_rate(), storage.access_latency);
  const BytesPerSecond total =
      max(storage.read_rate(), storage.client_write_rate()) / cluster.fabric.payload_efficiency;
  const BytesPerSecond cable =
      max(cluster.fabric.link_bandwidth, total / static_cast<double>(graph.top_switches.size()));
  // A node's shortest paths are the cables of its own switch (of a `dragonfly+`, of its group's spines),
  // however many others there are: they carry what comes from below.
  std::vector<BytesPerSecond> below(topology.vertices().size());
  if (cluster.fabric.is_dragonfly()) below = from_below(topology);
  for (const VertexId each : graph.top_switches) {
    add_switch_cable(cluster, graph, nic, each, max(cable, min(total, below[static_cast<size_t>(each)])));
  }
  if (!storage.per_client_bandwidth) return;
  for (int node = 0; node < cluster.nodes; ++node) {
    const VertexId session =
        topology.add_vertex(VertexKind::storage, -1, "storage0/" + numbered("node", node));
    topology.add_duplex_link(session, hub, *storage.per_client_bandwidth, Seconds());
  }
}

}  // namespace

void add_storage(const ClusterSpec& cluster, FabricGraph& graph) {
  if (!cluster.storage) return;
  if (const std::string problem = storage_problem(cluster); !problem.empty()) {
    throw std::invalid_argument(problem);
  }
  if (cluster.storage->kind == StorageSpec::Kind::local) {
    add_local_drives(*cluster.storage, graph);
  } else {
    add_shared(cluster, graph);
  }
}

std::string storage_problem(const ClusterSpec& cluster) {
  if (!cluster.storage) return {};
  const bool local = cluster.storage->kind == StorageSpec::Kind::local;
  if (cluster.fabric.kind == FabricKind::graph) {
    if (local) return "drives of a graph's nodes are among its vertices, as kind \"storage\"";
    for (const GraphSpec::Vertex& vertex : cluster.fabric.graph.vertices) {
      if (vertex.kind == GraphSpec::Kind::storage) {
        return "the graph has storage of its own, " + vertex.id + "; expected one of the two";
      }
    }
  }
  if (local && cluster.node.host_link.base() <= 0.0) {
    return "a local drive hangs on PCIe: expected the node's host_link";
  }
  if (!local && cluster.node.nics.count == 0) {
    return "nodes without NICs reach no shared storage: expected the node's nics";
  }
  return {};
}

}  // namespace orrery
