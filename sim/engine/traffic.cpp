#include "sim/engine/traffic.hpp"

#include <algorithm>
#include <cmath>

namespace orrery {

namespace {

/// Twins' bottlenecks that differ by less are the same.
constexpr double kSameBottleneck = 1e-3;
constexpr double kRounding = 1e-9;

/// Finaliser of SplitMix64 (Steele, Lea, Flood 2014).
std::uint64_t mixed(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

/// What is asked of each link if all communications ran at once, as a share of its capacity, and by whom.
struct Requests {
  std::vector<double> share;          // by link
  std::vector<std::uint64_t> askers;  // by link: sum of the communications' mixed numbers
};

Requests requests_of(const Traffic& traffic) {
  Requests requests;
  requests.share.assign(traffic.capacity.size(), 0.0);
  requests.askers.assign(traffic.capacity.size(), 0);
  for (size_t i = 0; i < traffic.footprints.size(); ++i) {
    for (const LinkLoad& load : traffic.footprints[i]) {
      const auto link = static_cast<size_t>(load.link);
      requests.share[link] += load.weight * traffic.flows[i].rate_bound / traffic.capacity[link];
      requests.askers[link] += mixed(i);
    }
  }
  return requests;
}

bool differ(double a, double b) { return std::abs(a - b) > kSameBottleneck * std::max(a, b); }

/// Where one twin is held up most.
struct Bottleneck {
  double all = 0.0;  // asked by all communications, share of the capacity
  double own = 0.0;  // by this communication, its twins included
  std::uint64_t askers = 0;

  bool is_like(const Bottleneck& other) const {
    return !differ(all, other.all) && !differ(own, other.own) && askers == other.askers;
  }
};

class TwinComparison {
 public:
  TwinComparison(const WorkloadGraph& graph, const Topology& topology, const Traffic& traffic)
      : graph_(graph),
        traffic_(traffic),
        builder_(topology, traffic.trunks),
        requests_(requests_of(traffic)) {
    own_.assign(traffic.capacity.size(), 0.0);
  }

  bool alike(size_t index) {
    const Communication& communication = graph_.communications[index];
    const auto& footprint = traffic_.footprints[index];
    const bool crowded = std::any_of(footprint.begin(), footprint.end(), [this](const LinkLoad& load) {
      return requests_.share[static_cast<size_t>(load.link)] > 1.0 + kRounding;
    });
    if (communication.groups.size() < 2 || !crowded) {
      return true;
    }
    for (const LinkLoad& load : footprint) {
      const auto link = static_cast<size_t>(load.link);
      own_[link] = load.weight * traffic_.flows[index].rate_bound / traffic_.capacity[link];
    }
    const Bottleneck first = bottleneck(communication, 0);
    for (size_t group = 1; group < communication.groups.size(); ++group) {
      if (!bottleneck(communication, group).is_like(first)) {
        return false;
      }
    }
    return true;
  }

 private:
  Bottleneck bottleneck(const Communication& communication, size_t group) {
    const std::vector<LinkLoad> loads = builder_.footprint_of_group(communication, group);
    double most = 1.0;  // what is never asked for more than that holds nobody up
    for (const LinkLoad& load : loads) {
      most = std::max(most, requests_.share[static_cast<size_t>(load.link)]);
    }
    Bottleneck result;
    for (const LinkLoad& load : loads) {
      const auto link = static_cast<size_t>(load.link);
      if (requests_.share[link] < most * (1.0 - kSameBottleneck) ||
          requests_.share[link] <= 1.0 + kRounding) {
        continue;
      }
      // Of several with the same request the one where most is this communication's own.
      const bool better = result.askers == 0 || own_[link] > result.own * (1.0 + kSameBottleneck) ||
                          (!differ(own_[link], result.own) && requests_.askers[link] > result.askers);
      if (better) {
        result = {requests_.share[link], own_[link], requests_.askers[link]};
      }
    }
    return result;
  }

  const WorkloadGraph& graph_;
  const Traffic& traffic_;
  FootprintBuilder builder_;
  Requests requests_;
  std::vector<double> own_;  // by link, of the communication being looked at
};

}  // namespace

Traffic traffic_of(const WorkloadGraph& graph, const Topology& topology) {
  Traffic traffic;
  traffic.trunks = std::make_shared<Trunks>(topology);
  FootprintBuilder builder(topology, traffic.trunks);
  for (size_t link = 0; link < topology.links().size(); ++link) {
    traffic.capacity.push_back(builder.capacity(static_cast<LinkId>(link)).base());
  }
  std::vector<bool> used(graph.communications.size(), false);
  for (const Task& task : graph.tasks) {
    if (task.kind == TaskKind::communication) {
      used[static_cast<size_t>(task.index)] = true;
    }
  }
  traffic.flows.resize(graph.communications.size());
  std::vector<FootprintBuilder::Parts> parts(graph.communications.size());
  for (size_t i = 0; i < graph.communications.size(); ++i) {
    if (used[i]) {
      parts[i] = builder.parts(graph.communications[i]);
    }
  }
  traffic.stands_for = traffic.trunks->merge_alike(traffic.capacity);
  traffic.footprints.resize(graph.communications.size());
  for (size_t i = 0; i < graph.communications.size(); ++i) {
    const Communication& communication = graph.communications[i];
    if (!used[i] || communication.groups.empty()) {
      continue;
    }
    traffic.footprints[i] = builder.put_together(parts[i]);
    parts[i] = {};
    const Bytes wire = wire_bytes(communication.op, communication.payload,
                                  static_cast<int>(communication.groups.front().size()));
    traffic.flows[i].wire_bytes = wire.base();
    if (!traffic.footprints[i].empty() && wire.base() > 0.0 && communication.transfer.base() > 0.0) {
      traffic.flows[i].rate_bound = (wire / communication.transfer).base();
    }
  }
  return traffic;
}

std::int32_t first_uneven_communication(const WorkloadGraph& graph, const Topology& topology,
                                        const Traffic& traffic) {
  TwinComparison comparison(graph, topology, traffic);
  for (size_t i = 0; i < graph.communications.size(); ++i) {
    if (!comparison.alike(i)) {
      return static_cast<std::int32_t>(i);
    }
  }
  return -1;
}

}  // namespace orrery
