#pragma once

#include <string>
#include <vector>

#include "sim/base/json_reader.hpp"
#include "sim/network/fabric_tiers.hpp"
#include "sim/network/hop_counts.hpp"
#include "sim/network/single_failures.hpp"
#include "topologies/cluster_spec.hpp"

namespace orrery {

struct TopologyRequest {
  std::string cluster;                ///< a preset's name, a file (with "/" or ".json") or "-"
  std::vector<std::string> settings;  ///< --set, paths from the cluster down
};

/// GPUs at one distance and how long the first byte takes.
struct DistanceRow {
  HopCount count;
  Seconds latency;  ///< of the route between the two GPUs named in `count`
  bool has_latency = false;
};

/// What a fabric is, measured on its graph.
struct TopologyAnswer {
  ClusterSpec cluster;
  Topology topology;
  std::string cluster_hash;
  FabricTiers fabric;
  HopHistogram hops;
  std::vector<DistanceRow> distances;
  PathDiversity paths;
  BytesPerSecond bisection;
  int bisection_gpus = 0;  ///< GPUs of the first part (bisection_split())
  /// What the smaller part could send if only its NICs and NVLinks bound it and nothing were broken.
  BytesPerSecond full_bisection;
  bool bisection_in_domain = false;  ///< an NVLink domain has GPUs of both halves
  std::vector<SingleFailure> failures;
  std::vector<std::string> warnings;     ///< what is uneven about the fabric
  std::vector<std::string> assumptions;  ///< values of fabric, nodes and storage whose source says "assumed"

  int switches() const;
  int cables() const;  ///< between NICs (or GPUs, storage) and switches and among switches
};

/// @throws InputError
TopologyAnswer answer_topology(const TopologyRequest& request);

}  // namespace orrery
