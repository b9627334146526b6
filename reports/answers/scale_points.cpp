#include "reports/answers/scale_points.hpp"

#include <algorithm>

#include "topologies/fabric_layout.hpp"

namespace orrery {
namespace {

constexpr int kMostTried = 32;        // numbers read in full, each way, before giving up on a nearest one
constexpr int kMostGpus = 8'000'000;  // beyond what the cluster reader takes

/// GPUs of one model replica: what a number of GPUs must be a multiple of.
int replica_gpus(const Experiment& base) {
  return base.parallel.tensor * base.parallel.pipeline * base.parallel.context;
}

/// The experiment says how every tier of its fabric is oversubscribed; fewer nodes may have fewer tiers.
void keep_ratios_in_use(const Experiment& base, int gpus, Json& cluster) {
  const Json::json_pointer list("/fabric/oversubscription");
  if (!base.cluster.fabric.is_clos() || !cluster.contains(list) || !cluster[list].is_array()) return;
  ClusterSpec other = base.cluster;
  other.nodes = std::max(1, gpus / other.node.gpus);
  other.gpus = gpus;
  const auto above_leaves = static_cast<size_t>(std::max(0, tiers_of_tree(other) - 1));
  Json& ratios = cluster[list];
  while (ratios.size() > above_leaves) ratios.erase(ratios.size() - 1);
}

Json resized(const Experiment& base, ScalingKind kind, int gpus) {
  Json document = base.document;
  Json& cluster = document["cluster"];
  if (cluster.is_string()) cluster = Json{{"preset", cluster}};
  cluster.erase("nodes");
  cluster["gpus"] = gpus;
  keep_ratios_in_use(base, gpus, cluster);
  document.erase("measured");
  if (document.contains("parallel")) document["parallel"].erase("data");
  const int replica = replica_gpus(base);
  if (kind == ScalingKind::weak && gpus % replica == 0) {
    document["training"]["global_batch"] = base.training.global_batch / base.parallel.data * (gpus / replica);
  }
  return document;
}

std::string all_reasons(const std::vector<InputProblem>& problems) {
  std::string reasons;
  for (InputProblem problem : problems) {
    problem.file.clear();
    std::string line = problem.line();
    line.erase(0, line.find_first_not_of(": "));
    reasons += (reasons.empty() ? "" : "; ") + line;
  }
  return reasons;
}

/// Without reading anything: what whole nodes, whole replicas and whole micro-batches rule out.
bool may_be_legal(const Experiment& base, ScalingKind kind, int gpus) {
  const int node = base.cluster.node.gpus;
  if (gpus > node && gpus % node != 0) return false;
  if (kind == ScalingKind::weak) return true;
  const std::int64_t data = gpus / replica_gpus(base);
  return base.training.global_batch % (base.training.micro_batch * data) == 0;
}

/// The next legal number of GPUs in one direction; nothing if none of those tried is.
std::optional<int> next_legal(const Experiment& base, ScalingKind kind, int gpus, int direction) {
  const int replica = replica_gpus(base);
  int candidate = gpus / replica * replica;
  if (candidate >= gpus && direction < 0) candidate -= replica;
  if (candidate <= gpus && direction > 0) candidate += replica;
  int tried = 0;
  for (; candidate > 0 && candidate <= kMostGpus && tried < kMostTried; candidate += direction * replica) {
    // Strong scaling ends where every micro-batch has a data rank of its own.
    if (direction > 0 && kind == ScalingKind::strong &&
        candidate / replica > base.training.global_batch / base.training.micro_batch) {
      break;
    }
    if (!may_be_legal(base, kind, candidate)) continue;
    ++tried;
    try {
      read_experiment(resized(base, kind, candidate), base.file);
      return candidate;
    } catch (const InputError&) {
      continue;
    }
  }
  return std::nullopt;
}

}  // namespace

std::string_view name_of(ScalingKind kind) { return kind == ScalingKind::strong ? "strong" : "weak"; }

ScaledExperiment experiment_at(const Experiment& base, ScalingKind kind, int gpus) {
  ScaledExperiment scaled;
  try {
    scaled.experiment = read_experiment(resized(base, kind, gpus), base.file);
  } catch (const InputError& error) {
    scaled.reason = all_reasons(error.problems());
    for (const int direction : {-1, 1}) {
      if (const auto legal = next_legal(base, kind, gpus, direction)) scaled.nearest.push_back(*legal);
    }
  }
  return scaled;
}

}  // namespace orrery
