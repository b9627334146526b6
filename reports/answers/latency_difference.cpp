#include "reports/answers/latency_difference.hpp"

#include <algorithm>
#include <cmath>

namespace orrery {
namespace {

constexpr std::array<const char*, 4> kLatencyKeys = {"/node/nics/latency", "/node/scale_up/latency",
                                                     "/fabric/link_latency", "/fabric/switch_latency"};

}  // namespace

std::vector<std::string> given_latency_keys(const Json& cluster) {
  std::vector<std::string> given;
  for (const char* const pointer : kLatencyKeys) {
    if (cluster.contains(Json::json_pointer(pointer))) given.emplace_back(pointer + 1);
  }
  return given;
}

std::vector<std::string> given_latency_keys(const Experiment& experiment) {
  const auto cluster = experiment.document.find("cluster");
  return cluster == experiment.document.end() ? std::vector<std::string>() : given_latency_keys(*cluster);
}

CollectiveHops collective_hops(CollectiveOp op, std::string_view algorithm, const GroupShape& shape) {
  const double rounds = op == CollectiveOp::all_reduce ? 2.0 : 1.0;
  if (op == CollectiveOp::send_receive || op == CollectiveOp::all_to_all) {
    return shape.crosses_domains() ? CollectiveHops{1.0, 0.0} : CollectiveHops{0.0, 1.0};
  }
  if (algorithm == "ring") {
    const double network = rounds * (shape.domains - 1);
    return {network, rounds * (shape.ranks - 1) - network};
  }
  const double levels = std::ceil(std::log2(std::max(1, shape.domains)));
  const bool chains = algorithm == "tree";
  return {rounds * levels,
          shape.ranks_per_domain > 1 ? rounds * (chains ? shape.ranks_per_domain - 1 : 1) : 0};
}

CollectivesWithLatency::CollectivesWithLatency(const CollectiveModel& base, const ClusterShape& given,
                                               const ClusterShape& usual)
    : base_(base),
      tiers_{given.network_latency, given.network_latency_pod, given.network_latency_far},
      longer_{given.network_latency - usual.network_latency,
              given.network_latency_pod - usual.network_latency_pod,
              given.network_latency_far - usual.network_latency_far},
      inner_longer_(given.scale_up_latency - usual.scale_up_latency) {}

CollectiveTime CollectivesWithLatency::time(CollectiveOp op, Bytes payload, const GroupShape& shape) const {
  CollectiveTime result = base_.time(op, payload, shape);
  if (shape.ranks <= 1 || payload <= Bytes(0) || base_.follows_latencies()) return result;
  const auto tier = std::find(tiers_.begin(), tiers_.end(), shape.network_latency);
  const Seconds network =
      tier == tiers_.end() ? Seconds(0) : longer_[static_cast<size_t>(tier - tiers_.begin())];
  const CollectiveHops hops = collective_hops(op, result.algorithm, shape);
  const Seconds longer = network * hops.network + inner_longer_ * hops.inner;
  const Seconds before = result.total();
  result.latency = max(Seconds(0), result.latency + longer);
  if (result.total() > Seconds(0)) result.bus_bandwidth *= before / result.total();
  return result;
}

ClusterShape shape_with_usual_latencies(const Json& cluster, const ClusterSpec& built,
                                        const std::string& file) {
  Json without = cluster;
  for (const std::string& key : given_latency_keys(cluster)) {
    const Json::json_pointer pointer("/" + key);
    without.at(pointer.parent_pointer()).erase(pointer.back());
  }
  Problems problems(file);
  const ClusterSpec read = read_cluster_spec(SpecReader(without, "/cluster", problems));
  problems.throw_if_any();
  ClusterSpec usual = built;
  usual.node.nics.latency = read.node.nics.latency;
  usual.node.scale_up.latency = read.node.scale_up.latency;
  usual.fabric.link_latency = read.fabric.link_latency;
  usual.fabric.switch_latency = read.fabric.switch_latency;
  return cluster_shape(usual);
}

}  // namespace orrery
