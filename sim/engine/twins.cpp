// Whether the groups of folded communications meet the same crowd on the fabric.
#include <algorithm>
#include <cmath>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>

#include "sim/engine/tolerances.hpp"
#include "sim/engine/traffic.hpp"

namespace orrery {

namespace {

/// Requests that differ by less are the same.
constexpr double kSameRequest = 1e-3;

/// What a communication at its bound, its twins included, asks of a link: a share of the capacity.
struct Request {
  std::int32_t communication;
  double share;
};

/// Links that would be asked for more than they carry if all communications ran at once: no other can hold
/// anybody up. Those with the same requests are of one kind.
class CrowdedLinks {
 public:
  explicit CrowdedLinks(const Traffic& traffic) : kind_(traffic.capacity.size(), -1) {
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
    each_request([&sum](size_t link, const Request& request) { sum[link] += request.share; });
    std::vector<std::int32_t> place(sum.size(), -1);
    std::vector<size_t> crowded;
    for (size_t link = 0; link < sum.size(); ++link) {
      if (sum[link] <= 1.0 + kRounding) continue;
      place[link] = static_cast<std::int32_t>(crowded.size());
      crowded.push_back(link);
    }
    std::vector<std::vector<Request>> requests(crowded.size());  // each by rising communication
    each_request([&](size_t link, const Request& request) {
      if (place[link] >= 0 && request.share > 0.0)
        requests[static_cast<size_t>(place[link])].push_back(request);
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

  /// -1 for a link that is not crowded.
  std::int32_t kind(LinkId link) const { return kind_[static_cast<size_t>(link)]; }

  /// Whether everybody on links of `narrow` asks for as much of those of `wide`: then the former never bind
  /// a flow that crosses both.
  bool covers(std::int32_t wide, std::int32_t narrow) {
    if (wide == narrow) return true;
    const auto key = static_cast<std::uint64_t>(wide) << 32 | static_cast<std::uint32_t>(narrow);
    const auto [known, added] = covers_.try_emplace(key, false);
    if (added) known->second = compute_covers(wide, narrow);
    return known->second;
  }

 private:
  static bool less(const std::vector<Request>& a, const std::vector<Request>& b) {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(),
                                        [](const Request& x, const Request& y) {
                                          if (x.communication != y.communication)
                                            return x.communication < y.communication;
                                          return rounded(x.share) < rounded(y.share);
                                        });
  }
  /// 32 bits of the mantissa: sums in another order compare equal. Where they fall on two sides all the same
  /// there are two kinds that cover one another.
  static double rounded(double value) {
    int exponent = 0;
    const double mantissa = std::frexp(value, &exponent);
    return std::ldexp(std::nearbyint(std::ldexp(mantissa, 32)), exponent - 32);
  }

  bool compute_covers(std::int32_t wide, std::int32_t narrow) const {
    const std::vector<Request>& more = requests_[static_cast<size_t>(wide)];
    auto at = more.begin();
    for (const Request& request : requests_[static_cast<size_t>(narrow)]) {
      while (at != more.end() && at->communication < request.communication) ++at;
      if (at == more.end() || at->communication != request.communication ||
          at->share < request.share * (1.0 - kSameRequest)) {
        return false;
      }
    }
    return true;
  }

  std::vector<std::int32_t> kind_;              // by link
  std::vector<std::vector<Request>> requests_;  // by kind
  std::int32_t kinds_ = 0;
  std::unordered_map<std::uint64_t, bool> covers_;  // looked up only
};

using Kinds = std::vector<std::int32_t>;  // rising

class TwinComparison {
 public:
  TwinComparison(const WorkloadGraph& graph, const Topology& topology, const Traffic& traffic)
      : graph_(graph), traffic_(traffic), builder_(topology, traffic.trunks), crowd_(traffic) {}

  bool alike(size_t index) {
    const Communication& communication = graph_.communications[index];
    if (communication.groups.size() < 2 || kinds_of(traffic_.footprints[index]).empty()) return true;
    const Kinds first = kinds_of(builder_.footprint_of_group(communication, 0));
    std::set<Kinds> alike_first = {first};
    for (size_t group = 1; group < communication.groups.size(); ++group) {
      Kinds kinds = kinds_of(builder_.footprint_of_group(communication, group));
      if (alike_first.contains(kinds)) continue;
      if (!all_covered(first, kinds) || !all_covered(kinds, first)) return false;
      alike_first.insert(std::move(kinds));
    }
    return true;
  }

 private:
  Kinds kinds_of(std::span<const LinkLoad> loads) const {
    Kinds kinds;
    for (const LinkLoad& load : loads) {
      const std::int32_t kind = crowd_.kind(load.link);
      if (kind >= 0) kinds.push_back(kind);
    }
    std::sort(kinds.begin(), kinds.end());
    kinds.erase(std::unique(kinds.begin(), kinds.end()), kinds.end());
    return kinds;
  }

  bool all_covered(const Kinds& narrow, const Kinds& wide) {
    return std::all_of(narrow.begin(), narrow.end(), [&](std::int32_t each) {
      return std::any_of(wide.begin(), wide.end(),
                         [&](std::int32_t other) { return crowd_.covers(other, each); });
    });
  }

  const WorkloadGraph& graph_;
  const Traffic& traffic_;
  FootprintBuilder builder_;
  CrowdedLinks crowd_;
};

}  // namespace

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
