#include "cluster_reading.hpp"

namespace orrery {

Cluster read_text(const std::string& json) {
  const Json document = parse_json(json, "experiment.json");
  Problems problems("experiment.json");
  Cluster cluster = cluster_from_json(SpecReader(document, "/cluster", problems));
  problems.throw_if_any();
  return cluster;
}

std::vector<std::string> refusals(const std::string& json) {
  std::vector<std::string> lines;
  try {
    read_text(json);
  } catch (const InputError& error) {
    for (const InputProblem& problem : error.problems()) lines.push_back(problem.line());
  }
  return lines;
}

}  // namespace orrery
