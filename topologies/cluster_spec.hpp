#pragma once

#include <optional>
#include <string>

#include "topologies/fabric_spec.hpp"
#include "topologies/facility_spec.hpp"
#include "topologies/node_spec.hpp"
#include "topologies/provenance.hpp"

namespace orrery {

/// A cluster of equal nodes, every value resolved.
struct ClusterSpec {
  std::string preset;  ///< empty for an object without one
  NodeSpec node;
  int nodes = 1;
  int gpus = 1;  ///< all of every node, or the first few of a single one
  FabricSpec fabric;
  std::optional<StorageSpec> storage;
  std::optional<PriceSpec> price;
  std::optional<PowerSpec> power;
  std::optional<ReliabilitySpec> reliability;
  Origins origins;

  int gpus_per_node() const { return gpus / nodes; }  ///< in use
  /// NICs of a node in use: those of its GPUs in use.
  int nics_per_node() const;
};

/// Reads `cluster` of contract section 2 (a preset's name, an object, or a preset with overrides). Problems
/// go to the reader; the result means nothing if there are any. Left out: the fabric's kind is that of
/// defaults.json, its links follow from the NICs, and it is non-blocking.
ClusterSpec read_cluster_spec(const SpecReader& value);

/// Why the storage cannot be joined to this cluster, a whole sentence; empty if it can or there is none.
std::string storage_problem(const ClusterSpec& cluster);

/// What a kernel time needs to know of the cluster's GPUs.
inline const DeviceSpec& device_spec(const ClusterSpec& cluster) { return cluster.node.gpu.device; }

/// The closed form's view of a cluster; agrees with the graph of build_topology() on latencies (those of the
/// longest path of each tier) and bandwidths. What is broken narrows each tier to its worst switch and every
/// node to the worst one; estimate_limits() says what else it cannot see.
/// @throws std::invalid_argument if the fabric cannot be built (which read_cluster_spec refuses)
ClusterShape cluster_shape(const ClusterSpec& cluster);
/// The same as seen by a flow that has the fabric to itself: oversubscribed tiers and broken NICs, cables and
/// switches do not narrow it, because the engine simulates them on the graph. A broken NVLink does: what
/// stays inside a domain is not simulated link by link. @throws as above
ClusterShape uncontended_shape(const ClusterSpec& cluster);

/// Every value of the cluster as {"value": ..., "origin": "given" | "preset NAME" | "default"}, nested as in
/// contract section 2. Quantities are texts that read back exactly.
Json resolved_cluster_json(const ClusterSpec& cluster);

}  // namespace orrery
