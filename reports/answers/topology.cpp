#include "reports/answers/topology.hpp"

#include <algorithm>
#include <set>

#include "reports/answers/cluster_argument.hpp"
#include "sim/base/hash.hpp"
#include "sim/base/index.hpp"
#include "sim/network/cuts.hpp"
#include "topologies/build_topology.hpp"
#include "topologies/cluster_shape.hpp"
#include "topologies/fabric_checks.hpp"

namespace orrery {
namespace {

/// NIC cables of a GPU range, each once.
BytesPerSecond cable_rate(const Topology& topology, int begin, int end) {
  std::set<VertexId> ports;
  for (int gpu = begin; gpu < end; ++gpu) {
    for (const VertexId port : topology.ports_of(topology.gpu(gpu))) ports.insert(port);
  }
  BytesPerSecond sum;
  for (const VertexId port : ports) {
    for (const LinkId l : topology.links_from(port)) {
      if (is_network_switch(topology.vertices()[index_of(topology.links()[index_of(l)].to)].kind)) {
        sum = sum + topology.links()[index_of(l)].bandwidth;
      }
    }
  }
  return sum;
}

/// NVLinks from a range of GPUs to NVSwitches that GPUs of the other range hang off too.
BytesPerSecond shared_nvlink_rate(const Topology& topology, int begin, int end) {
  BytesPerSecond sum;
  for (int gpu = begin; gpu < end; ++gpu) {
    for (const LinkId l : topology.links_from(topology.gpu(gpu))) {
      const VertexId to = topology.links()[index_of(l)].to;
      if (topology.vertices()[index_of(to)].kind == VertexKind::gpu) {
        const int other = topology.gpu_index(to);
        if (other < begin || other >= end) sum = sum + topology.links()[index_of(l)].bandwidth;
      }
      if (topology.vertices()[index_of(to)].kind != VertexKind::nvswitch) continue;
      const std::span<const LinkId> behind = topology.links_from(to);
      const bool shared = std::any_of(behind.begin(), behind.end(), [&](LinkId second) {
        const int other = topology.gpu_index(topology.links()[index_of(second)].to);
        return other >= 0 && (other < begin || other >= end);
      });
      if (shared) sum = sum + topology.links()[index_of(l)].bandwidth;
    }
  }
  return sum;
}

/// @param topology  with nothing broken: what the cut is compared with
void measure_bisection(const Topology& topology, TopologyAnswer& answer) {
  const int half = bisection_split(topology);
  answer.bisection = bisection_bandwidth(answer.topology);
  answer.bisection_gpus = half;
  const BytesPerSecond nvlink = shared_nvlink_rate(topology, 0, half);
  answer.bisection_in_domain = nvlink.base() > 0.0;
  answer.full_bisection = min(cable_rate(topology, 0, half) + nvlink,
                              cable_rate(topology, half, topology.gpu_count()) +
                                  shared_nvlink_rate(topology, half, topology.gpu_count()));
}

}  // namespace

int TopologyAnswer::switches() const {
  return topology.count(VertexKind::leaf) + topology.count(VertexKind::spine) +
         topology.count(VertexKind::core);
}

int TopologyAnswer::cables() const {
  int sum = 0;
  for (const CableCount& count : fabric.cables) sum += count.cables;
  return sum;
}

TopologyAnswer answer_topology(const TopologyRequest& request) {
  TopologyAnswer answer;
  const ClusterArgument argument = read_cluster_argument(request.cluster, request.settings);
  Problems problems(argument.file);
  answer.cluster = read_cluster_spec(SpecReader(argument.json, argument.pointer, problems));
  problems.throw_if_any();
  answer.cluster_hash = content_hash(argument.json.dump());
  answer.topology = build_topology(answer.cluster);
  answer.fabric = count_tiers(answer.topology, dragonfly_groups(answer.cluster, answer.topology));
  answer.hops = count_hops(answer.topology);
  for (const HopCount& count : answer.hops.counts) {
    DistanceRow& row = answer.distances.emplace_back();
    row.count = count;
    if (count.from < 0) continue;
    row.latency = route_latency(answer.topology, answer.topology.route(count.from, count.to));
    row.has_latency = true;
  }
  answer.paths = count_paths(answer.topology);
  if (answer.cluster.fabric.what_if.any()) {
    measure_bisection(build_healthy_topology(answer.cluster), answer);
    answer.failures = single_failures(answer.topology);
  } else {
    measure_bisection(answer.topology, answer);
    // With the bridges that a cluster in which something is broken has.
    answer.failures = single_failures(build_healthy_topology(answer.cluster, true));
  }
  answer.warnings = fabric_warnings(answer.cluster);
  for (const std::string& assumption : answer.cluster.origins.assumptions) {
    // How fast the GPUs compute says nothing about the fabric.
    const bool of_fabric = assumption.starts_with("fabric.") || assumption.starts_with("storage.") ||
                           (assumption.starts_with("node.") && !assumption.starts_with("node.gpu."));
    if (of_fabric) answer.assumptions.push_back(assumption);
  }
  return answer;
}

}  // namespace orrery
