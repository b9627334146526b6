// Whether the groups of folded communications were held up alike on the fabric.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>

#include "sim/engine/local_max_min.hpp"
#include "sim/engine/shared_resources.hpp"
#include "sim/engine/tolerances.hpp"
#include "sim/engine/traffic.hpp"

namespace orrery {

namespace {

/// A twin that could be faster by less is held up as the others are.
constexpr double kSameHold = 1e-3;
/// What a rank's twins may be ahead of it at the end, as a share of the step. Twins that drift apart meet
/// others than they would have, which no sum tells; over 250 random plans on random fabrics, hashed,
/// oversubscribed, failed and degraded, the step of every GPU differed by at most half of it (mostly by far
/// less).
constexpr double kMostAhead = 1e-3;

/// What a communication at its bound, its twins included, asks of a link: a share of the capacity.
struct Request {
  std::int32_t communication;
  double share;
};

/// Links that would be asked for more than they carry if all communications ran at once, each as often as it
/// ever does: no other can hold anybody up. Those with the same requests are of one kind.
class CrowdedLinks {
 public:
  /// @param at_once  by communication: how often it runs at the same time, at most
  CrowdedLinks(const Traffic& traffic, std::span<const std::int32_t> at_once)
      : kind_(traffic.capacity.size(), -1) {
    std::vector<double> sum(traffic.capacity.size(), 0.0);
    const auto each_request = [&traffic](auto visit) {
      for (size_t i = 0; i < traffic.footprints.size(); ++i) {
        for (const LinkLoad& load : traffic.footprints[i]) {
          const auto link = static_cast<size_t>(load.link);
          visit(link, Request{static_cast<std::int32_t>(i),
                              load.weight * traffic.flows[i].rate_bound / traffic.capacity[link]});
        }
      }
    };
    each_request([&](size_t link, const Request& request) {
      sum[link] += request.share * at_once[static_cast<size_t>(request.communication)];
    });
    std::vector<std::int32_t> place(sum.size(), -1);
    std::vector<size_t> crowded;
    for (size_t link = 0; link < sum.size(); ++link) {
      if (sum[link] <= 1.0 + kRounding) continue;
      place[link] = static_cast<std::int32_t>(crowded.size());
      crowded.push_back(link);
    }
    std::vector<std::vector<Request>> requests(crowded.size());  // each by rising communication
    each_request([&](size_t link, const Request& request) {
      if (place[link] < 0 || request.share <= 0.0) return;
      requests[static_cast<size_t>(place[link])].push_back({request.communication, rounded(request.share)});
    });
    std::vector<size_t> order(crowded.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(),
              [&requests](size_t a, size_t b) { return less(requests[a], requests[b]); });
    for (size_t i = 0; i < order.size(); ++i) {
      if (i == 0 || less(requests[order[i - 1]], requests[order[i]])) ++kinds_;
      kind_[crowded[order[i]]] = kinds_ - 1;
      if (requests_.size() < static_cast<size_t>(kinds_)) requests_.push_back(requests[order[i]]);
    }
  }

  /// By rising communication.
  std::span<const Request> requests(std::int32_t kind) const { return requests_[static_cast<size_t>(kind)]; }

  /// The kinds of the links of a footprint, rising, each once.
  std::vector<std::int32_t> kinds_of(std::span<const LinkLoad> loads) const {
    std::vector<std::int32_t> kinds;
    for (const LinkLoad& load : loads) {
      const std::int32_t kind = kind_[static_cast<size_t>(load.link)];
      if (kind >= 0) kinds.push_back(kind);
    }
    std::sort(kinds.begin(), kinds.end());
    kinds.erase(std::unique(kinds.begin(), kinds.end()), kinds.end());
    return kinds;
  }

 private:
  static bool less(const std::vector<Request>& a, const std::vector<Request>& b) {
    return std::lexicographical_compare(
        a.begin(), a.end(), b.begin(), b.end(), [](const Request& x, const Request& y) {
          return x.communication != y.communication ? x.communication < y.communication : x.share < y.share;
        });
  }
  /// 32 bits of the mantissa: sums in another order compare equal. Where they fall on two sides all the same
  /// there are two kinds alike.
  static double rounded(double value) {
    int exponent = 0;
    const double mantissa = std::frexp(value, &exponent);
    return std::ldexp(std::nearbyint(std::ldexp(mantissa, 32)), exponent - 32);
  }

  std::vector<std::int32_t> kind_;              // by link; -1: not crowded
  std::vector<std::vector<Request>> requests_;  // by kind
  std::int32_t kinds_ = 0;
};

using Kinds = std::vector<std::int32_t>;  // rising
/// Communications in flight at the same time, rising; one may be there several times.
using InFlight = std::vector<std::int32_t>;

/// How much faster the fastest twin could be, by what is in flight together.
class TwinComparison {
 public:
  TwinComparison(const WorkloadGraph& graph, const Topology& topology, const Traffic& traffic,
                 std::span<const std::int32_t> at_once)
      : graph_(graph),
        traffic_(traffic),
        builder_(topology, traffic.trunks),
        crowd_(traffic, at_once),
        resources_(traffic.footprints, traffic.capacity),
        solver_(capacities(resources_), kRounding),
        paths_(graph.communications.size()) {}

  bool can_be_held(std::int32_t communication) const {
    return !crowd_.kinds_of(traffic_.footprints[static_cast<size_t>(communication)]).empty();
  }

  /// By place in the set: what the communication's fastest twin saves of a second, if all others keep their
  /// rates or, where they are faster than it, share with it.
  const std::vector<double>& saved(const InFlight& set) {
    const auto [known, added] = saved_.try_emplace(set);
    if (added) known->second = find_saved(set);
    return known->second;
  }

 private:
  static std::vector<double> capacities(const SharedResources& resources) {
    std::vector<double> result;
    for (const SharedResource& resource : resources.resources()) result.push_back(resource.capacity);
    return result;
  }
  double bound(std::int32_t communication) const {
    return traffic_.flows[static_cast<size_t>(communication)].rate_bound;
  }

  /// The kinds of crowded links that each group crosses; groups that cross the same once.
  const std::vector<Kinds>& paths(std::int32_t communication) {
    std::vector<Kinds>& known = paths_[static_cast<size_t>(communication)];
    if (!known.empty()) return known;
    const Communication& each = graph_.communications[static_cast<size_t>(communication)];
    std::set<Kinds> found;
    for (size_t group = 0; group < each.groups.size(); ++group) {
      found.insert(crowd_.kinds_of(builder_.footprint_of_group(each, group)));
    }
    known.assign(found.begin(), found.end());
    return known;
  }

  std::vector<double> rates(const InFlight& set) {
    std::vector<std::int32_t> numbers;
    numbers.reserve(set.size());
    for (const std::int32_t each : set)
      numbers.push_back(solver_.add(resources_.shares_of(each), bound(each)));
    solver_.settle();
    std::vector<double> result;
    result.reserve(numbers.size());
    for (const std::int32_t number : numbers) result.push_back(solver_.rate(number));
    for (const std::int32_t number : numbers) solver_.remove(number);
    solver_.settle();
    return result;
  }

  /// The rate at which the i-th would find a link full, others slowed to it where they are faster.
  double level(std::int32_t kind, const InFlight& set, std::span<const double> rate, size_t i) {
    on_link_.clear();
    double faster = 0.0;  // capacity for each B/s of those not yet known to be slower
    const auto requests = crowd_.requests(kind);
    for (size_t j = 0; j < set.size(); ++j) {
      const auto found =
          std::lower_bound(requests.begin(), requests.end(), set[j],
                           [](const Request& a, std::int32_t b) { return a.communication < b; });
      if (found == requests.end() || found->communication != set[j]) continue;
      const double share = found->share / bound(set[j]);
      faster += share;
      if (j != i) on_link_.emplace_back(rate[j], share);
    }
    std::sort(on_link_.begin(), on_link_.end());
    double left = 1.0;
    for (const auto& [slower, share] : on_link_) {
      if (faster * slower >= left) break;
      left -= share * slower;
      faster -= share;
    }
    return std::max(0.0, left) / faster;
  }

  std::vector<double> find_saved(const InFlight& set) {
    const std::vector<double> rate = rates(set);
    std::vector<double> saved(set.size(), 0.0);
    for (size_t i = 0; i < set.size(); ++i) {
      if (rate[i] >= bound(set[i]) * (1.0 - kSameHold)) continue;
      if (i > 0 && set[i] == set[i - 1]) {
        saved[i] = saved[i - 1];
        continue;
      }
      levels_.clear();
      for (const Kinds& path : paths(set[i])) {
        double free = bound(set[i]);
        for (const std::int32_t kind : path) {
          const auto [known, added] = levels_.try_emplace(kind, 0.0);
          if (added) known->second = level(kind, set, rate, i);
          free = std::min(free, known->second);
          if (free <= rate[i] * (1.0 + kSameHold)) break;
        }
        if (free > rate[i] * (1.0 + kSameHold)) saved[i] = std::max(saved[i], 1.0 - rate[i] / free);
      }
    }
    return saved;
  }

  const WorkloadGraph& graph_;
  const Traffic& traffic_;
  FootprintBuilder builder_;
  CrowdedLinks crowd_;
  SharedResources resources_;
  LocalMaxMin solver_;
  std::vector<std::vector<Kinds>> paths_;  // by communication; empty: not asked for yet
  std::map<InFlight, std::vector<double>> saved_;
  std::vector<std::pair<double, double>> on_link_;   // rates and shares; empty between calls
  std::unordered_map<std::int32_t, double> levels_;  // by kind, of one communication; looked up only
};

/// A flow begins or ends.
struct FlowEvent {
  double time;
  bool begins;
  std::int32_t task;
  bool operator<(const FlowEvent& other) const {
    if (time != other.time) return time < other.time;
    return begins != other.begins ? !begins : task < other.task;
  }
};

std::vector<FlowEvent> flow_events(const WorkloadGraph& graph, const Traffic& traffic,
                                   const StepTimeline& folded) {
  std::vector<FlowEvent> events;
  for (size_t i = 0; i < graph.tasks.size(); ++i) {
    const auto index = static_cast<size_t>(graph.tasks[i].index);
    if (graph.tasks[i].kind != TaskKind::communication || traffic.flows[index].rate_bound <= 0.0) continue;
    const double begin = folded.start_s[i] + graph.communications[index].latency.base();
    if (folded.end_s[i] <= begin) continue;
    events.push_back({begin, true, static_cast<std::int32_t>(i)});
    events.push_back({folded.end_s[i], false, static_cast<std::int32_t>(i)});
  }
  std::sort(events.begin(), events.end());
  return events;
}

std::vector<std::int32_t> most_at_once(const WorkloadGraph& graph, std::span<const FlowEvent> events) {
  std::vector<std::int32_t> now(graph.communications.size(), 0);
  std::vector<std::int32_t> most(now.size(), 0);
  for (const FlowEvent& event : events) {
    const auto index = static_cast<size_t>(graph.tasks[static_cast<size_t>(event.task)].index);
    now[index] += event.begins ? 1 : -1;
    most[index] = std::max(most[index], now[index]);
  }
  return most;
}

}  // namespace

std::int32_t first_uneven_communication(const WorkloadGraph& graph, const Topology& topology,
                                        const Traffic& traffic, const StepTimeline& folded) {
  std::vector<FlowEvent> events = flow_events(graph, traffic, folded);
  TwinComparison comparison(graph, topology, traffic, most_at_once(graph, events));
  std::vector<bool> can_be_held(graph.communications.size());
  for (size_t i = 0; i < can_be_held.size(); ++i) {
    can_be_held[i] = comparison.can_be_held(static_cast<std::int32_t>(i));
  }
  const auto index_of = [&graph](std::int32_t task) { return graph.tasks[static_cast<size_t>(task)].index; };
  std::erase_if(events, [&](const FlowEvent& event) {
    return !can_be_held[static_cast<size_t>(index_of(event.task))];
  });

  std::vector<double> ahead(static_cast<size_t>(graph.ranks), 0.0);  // by rank: seconds
  std::vector<std::pair<std::int32_t, std::int32_t>> in_flight;      // communication and task, rising
  InFlight set;
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    const std::pair each(index_of(events[i].task), events[i].task);
    const auto place = std::lower_bound(in_flight.begin(), in_flight.end(), each);
    if (events[i].begins) {
      in_flight.insert(place, each);
    } else {
      in_flight.erase(place);
    }
    const double seconds = events[i + 1].time - events[i].time;
    if (in_flight.empty() || seconds <= kSameTime * events[i].time) continue;
    set.clear();
    for (const auto& [communication, task] : in_flight) set.push_back(communication);
    const std::vector<double>& saved = comparison.saved(set);
    for (size_t j = 0; j < set.size(); ++j) {
      if (saved[j] <= 0.0) continue;
      double most = 0.0;
      const std::int32_t task = in_flight[j].second;
      const std::int32_t leader = graph.tasks[static_cast<size_t>(task)].rank;
      most = ahead[static_cast<size_t>(leader)] += saved[j] * seconds;
      for (const std::int32_t rank : graph.participants_of(task)) {
        if (rank == leader) continue;
        double& sum = ahead[static_cast<size_t>(rank)];
        most = std::max(most, sum += saved[j] * seconds);
      }
      if (most > kMostAhead * folded.makespan_s) return set[j];
    }
  }
  return -1;
}

}  // namespace orrery
