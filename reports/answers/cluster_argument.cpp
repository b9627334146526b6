#include "reports/answers/cluster_argument.hpp"

#include <utility>

#include "reports/experiment/settings.hpp"

namespace orrery {

ClusterArgument read_cluster_argument(const std::string& argument, const std::vector<std::string>& settings) {
  const bool named = argument != "-" && argument.find('/') == std::string::npos &&
                     argument.find(".json") == std::string::npos;
  ClusterArgument cluster;
  cluster.file = argument;
  Json document = named ? Json(argument) : read_json_file(argument);
  if (document.is_object() && document.contains("cluster")) {
    cluster.pointer = "/cluster";
  } else {
    document = Json{{"cluster", std::move(document)}};
  }
  apply_settings(document["cluster"], settings);
  cluster.json = std::move(document["cluster"]);
  return cluster;
}

}  // namespace orrery
