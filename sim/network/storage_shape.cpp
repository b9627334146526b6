#include "sim/network/storage_shape.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>

#include "sim/network/group_shape.hpp"

namespace orrery {
namespace {

double oversubscription_towards(const ClusterShape& cluster) {
  switch (cluster.storage.behind) {
    case StorageShape::Behind::no_uplinks:
      return 1.0;
    case StorageShape::Behind::leaf_uplinks:
      return cluster.oversubscription_leaf;
    case StorageShape::Behind::all_uplinks:
      break;
  }
  return cluster.oversubscription;
}

}  // namespace

StorageClients storage_clients(const ClusterShape& cluster, std::span<const int> gpus) {
  StorageClients result;
  std::map<int, int> on_node;
  for (const int gpu : gpus) {
    result.most_per_node = std::max(result.most_per_node, ++on_node[gpu / cluster.gpus_per_node]);
  }
  result.clients = static_cast<int>(gpus.size());
  return result;
}

BytesPerSecond storage_rate(const ClusterShape& cluster, StorageDirection direction,
                            const StorageClients& clients) {
  const StorageShape& storage = cluster.storage;
  if (!storage.exists || clients.clients < 1) {
    throw std::invalid_argument("a rate with storage needs storage and somebody who uses it");
  }
  const BytesPerSecond all = direction == StorageDirection::read ? storage.read : storage.write;
  const double on_node = clients.most_per_node;
  BytesPerSecond rate = all / (storage.local ? on_node : static_cast<double>(clients.clients));
  if (storage.per_client) rate = min(rate, *storage.per_client / on_node);
  if (!storage.local) {
    // A GPU sends through its own NICs, however idle the others are.
    const double nics = cluster.nics_per_node;
    const double own = std::max(1.0, nics / cluster.gpus_per_node);
    const BytesPerSecond uplinks =
        cluster.nic_bandwidth * nics / (oversubscription_towards(cluster) * on_node);
    rate = min(rate, min(cluster.nic_bandwidth * std::min(own, nics / on_node), uplinks) *
                         cluster.payload_efficiency);
  }
  if (cluster.host_link > BytesPerSecond(0)) rate = min(rate, cluster.host_link);
  return rate;
}

std::vector<Seconds> storage_times(const ClusterShape& cluster, StorageDirection direction,
                                   std::span<const StorageLoad> loads) {
  std::vector<size_t> fewest_first(loads.size());
  std::iota(fewest_first.begin(), fewest_first.end(), size_t{0});
  std::stable_sort(fewest_first.begin(), fewest_first.end(),
                   [&loads](size_t a, size_t b) { return loads[a].bytes < loads[b].bytes; });
  std::vector<Seconds> ends(loads.size());
  Seconds now;
  Bytes moved;
  for (size_t i = 0; i < fewest_first.size(); ++i) {
    const StorageLoad& load = loads[fewest_first[i]];
    if (load.bytes > moved) {
      std::vector<int> left;
      for (size_t each = i; each < fewest_first.size(); ++each) {
        const std::vector<int>& gpus = loads[fewest_first[each]].gpus;
        left.insert(left.end(), gpus.begin(), gpus.end());
      }
      now += (load.bytes - moved) / storage_rate(cluster, direction, storage_clients(cluster, left));
      moved = load.bytes;
    }
    ends[fewest_first[i]] = now;
  }
  return ends;
}

VertexId storage_endpoint(const Topology& topology, int node) {
  const std::string name = "node" + std::to_string(node);
  for (const std::string& id : {name + "/nvme", "storage0/" + name, std::string("storage0")}) {
    if (const VertexId found = topology.find(id); found >= 0) return found;
  }
  for (size_t v = 0; v < topology.vertices().size(); ++v) {
    const Vertex& vertex = topology.vertices()[v];
    if (vertex.kind == VertexKind::storage && (vertex.node == node || vertex.node < 0))
      return static_cast<VertexId>(v);
  }
  return -1;
}

VertexId met_by(const Topology& topology, VertexId endpoint, VertexId other) {
  const Vertex& store = topology.vertices()[static_cast<size_t>(endpoint)];
  const Vertex& client = topology.vertices()[static_cast<size_t>(other)];
  if (store.kind != VertexKind::storage || client.kind != VertexKind::gpu) return endpoint;
  const VertexId session = topology.find(store.id + "/node" + std::to_string(client.node));
  return session < 0 ? endpoint : session;
}

}  // namespace orrery
