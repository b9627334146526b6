#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "reports/answers/cluster_argument.hpp"
#include "sim/engine/fluid_traffic.hpp"
#include "topologies/cluster_spec.hpp"

namespace orrery {

struct TrafficRequest {
  std::string cluster;                ///< a preset's name, a file (with "/" or ".json") or "-"
  std::string flows;                  ///< a file of flows, one a line, or "-"
  std::vector<std::string> settings;  ///< --set, paths from the cluster down: "nodes=16"
  std::uint64_t seed = 1;
  int seeds = 1;             ///< draws of the hash: seed, seed + 1, ...
  double tolerance = 0.002;  ///< FluidOptions::tolerance
  bool acknowledged = true;
  int usage_parts = 0;  ///< link use over so many equal parts of the time; 0: not wanted
};

/// A flow as its line gave it.
struct TrafficLine {
  TrafficFlow flow;
  std::int64_t line = 0;
};

/// 5th, 50th and 95th percentile over the draws of the hash.
struct Spread {
  double p5 = 0.0, p50 = 0.0, p95 = 0.0;
};

struct TrafficAnswer {
  TrafficRequest request;
  ClusterSpec cluster;
  Topology topology;
  std::string cluster_hash, flows_hash;
  std::vector<TrafficLine> lines;
  TrafficTimes times;  ///< of the first seed
  double mean_s = 0.0, p50_s = 0.0, p99_s = 0.0, max_s = 0.0;
  std::optional<Spread> mean_over_seeds, max_over_seeds;  ///< with more than one seed
  std::vector<std::string> warnings;
};

/// Lines {"from": GPU, "to": GPU, "bytes": N, "start_s": 0}; an endpoint is a GPU's number or the id of a GPU
/// or storage vertex ("node3/gpu1", "storage0"). Blank lines are passed over.
/// @throws InputError with all bad lines: "FILE:LINE: /key: found ..., expected ..."
std::vector<TrafficLine> read_flows(const std::string& text, const std::string& file,
                                    const Topology& topology);

/// How long a set of flows takes on a cluster's fabric. @throws InputError
TrafficAnswer answer_traffic(const TrafficRequest& request);

}  // namespace orrery
