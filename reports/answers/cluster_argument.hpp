#pragma once

#include <string>
#include <vector>

#include "sim/base/json_reader.hpp"

namespace orrery {

/// The cluster that a command-line argument names: a preset's name, a file (with "/" or ".json") or "-"; an
/// experiment's file stands for its cluster.
struct ClusterArgument {  // NOLINT(bugprone-exception-escape): moving ordered JSON allocates nothing
  std::string file;       ///< for messages
  std::string pointer;    ///< of the cluster in it
  Json json;
};

/// @param settings  of --set, paths from the cluster down: "nodes=16"
/// @throws InputError for a file that cannot be read or a setting that cannot be applied
ClusterArgument read_cluster_argument(const std::string& argument, const std::vector<std::string>& settings);

}  // namespace orrery
