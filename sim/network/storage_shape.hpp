#pragma once

#include <optional>
#include <span>
#include <vector>

#include "sim/base/quantity.hpp"
#include "sim/network/topology.hpp"

namespace orrery {

struct ClusterShape;

/// What the closed forms see of a cluster's storage. Built by topologies beside the graph's storage vertices
/// (a test holds the two to each other).
struct StorageShape {
  bool exists = false;
  bool local = false;    ///< drives in every node; else one store that all nodes reach over the fabric
  BytesPerSecond read;   ///< of all clients together; local: of the drives of one node
  BytesPerSecond write;  ///< the same, copies and parity already taken off
  std::optional<BytesPerSecond> per_client;  ///< of a node, read or write; absent: no limit
  Seconds latency;                           ///< of one access without its bytes
  /// Uplinks that lie between nodes and a shared store: it is cabled to the top switches of a tree, to the
  /// spines of a dragonfly+, and to every switch of a dragonfly or torus.
  enum class Behind { all_uplinks, leaf_uplinks, no_uplinks };
  Behind behind = Behind::all_uplinks;
};

enum class StorageDirection { read, write };

/// GPUs that move bytes to or from storage at the same time.
struct StorageClients {
  int clients = 0;        ///< GPUs
  int most_per_node = 0;  ///< of them on one node
};
/// @param gpus cluster GPU numbers
StorageClients storage_clients(const ClusterShape& cluster, std::span<const int> gpus);

/// Rate of each of these clients when all move bytes at once and nothing else uses the links: the smallest of
/// its part of the store's rate, its part of its node's rate with the store, its NICs and its host link.
///
/// Clients of a node share what the node has evenly, and so do nodes the store; on the way the NICs lose what
/// headers take, and the uplinks between them and the store what these are oversubscribed by.
/// @throws std::invalid_argument if the cluster has no storage or there is no client
BytesPerSecond storage_rate(const ClusterShape& cluster, StorageDirection direction,
                            const StorageClients& clients);

/// As many bytes for each of these GPUs, to or from storage.
struct StorageLoad {
  std::vector<int> gpus;  ///< cluster GPU numbers
  Bytes bytes;            ///< of each of them
};
/// When the bytes of each load are moved where all start together: at storage_rate() of those that still move
/// bytes, since what a client that is done leaves goes to the others (max-min fairness, Bertsekas and
/// Gallager, Data Networks, section 6.5.2).
/// @throws std::invalid_argument if the cluster has no storage or there is no client
std::vector<Seconds> storage_times(const ClusterShape& cluster, StorageDirection direction,
                                   std::span<const StorageLoad> loads);

/// The storage vertex that a node reads from and writes to; -1 if the fabric has none. Ids are those of
/// build_topology; of a custom graph, the first storage vertex of the node or outside nodes.
VertexId storage_endpoint(const Topology& topology, int node);

/// Where the other end of a flow meets this one: under a rate a client a store is met by the node of a GPU at
/// that node's session, "storage0/node3"; any other endpoint is met at itself.
VertexId met_by(const Topology& topology, VertexId endpoint, VertexId other);

}  // namespace orrery
