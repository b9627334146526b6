#pragma once

#include <string>
#include <vector>

#include "topologies/cluster.hpp"

namespace orrery {

/// Reads a cluster from JSON text as the experiment's /cluster. @throws InputError if it is refused
Cluster read_text(const std::string& json);

/// The lines that the user sees when it is refused.
std::vector<std::string> refusals(const std::string& json);

}  // namespace orrery
