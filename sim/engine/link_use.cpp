#include "sim/engine/link_use.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <utility>

#include "sim/engine/keep_fetches.hpp"

namespace orrery {

namespace {

/// Bytes that one rank of each communication put on the wire in each part of the step.
class SentOverTime {
 public:
  SentOverTime(const WorkloadGraph& graph, const StepTimeline& timeline, const Traffic& traffic, int parts)
      : parts_(static_cast<size_t>(parts)), sent_(traffic.flows.size() * parts_, 0.0) {
    const double part_s = timeline.makespan_s / parts;
    struct Sent {
      double bytes;  // 0: on no link
      double latency;
    };
    std::vector<Sent> of_communication;
    of_communication.reserve(traffic.flows.size());
    for (size_t i = 0; i < traffic.flows.size(); ++i) {
      of_communication.push_back({traffic.footprints[i].empty() ? 0.0 : traffic.flows[i].wire_bytes,
                                  graph.communications[i].latency.base()});
    }
    // Neighbouring tasks are of other communications: the lines of rows to come are fetched.
    constexpr size_t kAhead = 16;
    const auto fetch = [&](size_t task) {
      keep_fetches();
      if (task >= graph.tasks.size() || graph.tasks[task].kind != TaskKind::communication) return;
      const double part = std::min(timeline.end_s[task] / part_s, static_cast<double>(parts - 1));
      __builtin_prefetch(
          &sent_[static_cast<size_t>(graph.tasks[task].index) * parts_ + static_cast<size_t>(part)], 1);
    };
    for (size_t i = 0; i < graph.tasks.size() && part_s > 0.0; ++i) {
      fetch(i + kAhead);
      if (graph.tasks[i].kind != TaskKind::communication) continue;
      const auto index = static_cast<size_t>(graph.tasks[i].index);
      const auto [bytes, latency] = of_communication[index];
      if (bytes <= 0.0) continue;
      const double end = timeline.end_s[i];
      const double begin = std::min(end, timeline.start_s[i] + latency);
      if (begin >= timeline.makespan_s) continue;
      const size_t first = std::min(parts_ - 1, static_cast<size_t>(begin / part_s));
      const size_t last = std::min(parts_ - 1, static_cast<size_t>(end / part_s));
      double* row = &sent_[index * parts_];
      if (first == last && end <= timeline.makespan_s) {
        row[first] += bytes;
        continue;
      }
      for (size_t part = first; part <= last; ++part) {
        const double from = std::max(begin, static_cast<double>(part) * part_s);
        const double to = std::min(end, static_cast<double>(part + 1) * part_s);
        row[part] += bytes * std::max(0.0, to - from) / (end - begin);
      }
    }
  }

  std::span<const double> of(std::int32_t communication) const {
    return std::span(sent_).subspan(static_cast<size_t>(communication) * parts_, parts_);
  }

 private:
  size_t parts_;
  LargeArray<double> sent_;
};

struct Crossing {
  std::int32_t communication;
  double weight;
};

/// Who crosses each link, in flat arrays.
struct Crossings {
  std::vector<size_t> begin;
  std::vector<Crossing> all;

  explicit Crossings(const Traffic& traffic) : begin(traffic.capacity.size() + 1, 0) {
    for (const auto& footprint : traffic.footprints) {
      for (const LinkLoad& load : footprint) ++begin[static_cast<size_t>(load.link) + 1];
    }
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    all.resize(begin.back());
    std::vector<size_t> place(begin.begin(), begin.end() - 1);
    for (size_t i = 0; i < traffic.footprints.size(); ++i) {
      for (const LinkLoad& load : traffic.footprints[i]) {
        all[place[static_cast<size_t>(load.link)]++] = {static_cast<std::int32_t>(i), load.weight};
      }
    }
  }
  std::span<const Crossing> of(size_t link) const {
    return std::span(all).subspan(begin[link], begin[link + 1] - begin[link]);
  }
};

}  // namespace

std::vector<LinkClassUse> link_use(const WorkloadGraph& graph, const StepTimeline& timeline,
                                   const Traffic& traffic, const Topology& topology, int parts) {
  const SentOverTime sent(graph, timeline, traffic, parts);
  const Crossings crossings(traffic);
  const auto vertices = topology.vertices();
  const auto links = topology.links();
  const auto count = static_cast<size_t>(parts);
  const double step_s = timeline.makespan_s;
  const double part_s = step_s / parts;
  const auto class_of = [&](size_t link) {
    return std::pair(vertices[static_cast<size_t>(links[link].from)].kind,
                     vertices[static_cast<size_t>(links[link].to)].kind);
  };
  struct Sums {
    LinkClassUse use;
    double capacity = 0.0;
  };
  std::map<std::pair<VertexKind, VertexKind>, Sums> classes;
  // Links that carry the same one after the other, what they carry being summed up once.
  std::vector<size_t> order(links.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return traffic.stands_for[a] < traffic.stands_for[b]; });
  std::vector<double> carried(count);
  LinkId summed = -1;
  for (const size_t link : order) {
    if (!topology.usable(static_cast<LinkId>(link))) continue;
    Sums& sums = classes[class_of(link)];
    LinkClassUse& use = sums.use;
    if (use.links == 0) {
      use.mean_over_time.assign(count, 0.0);
      use.max_over_time.assign(count, 0.0);
    }
    ++use.links;
    const double capacity = traffic.capacity[link];
    sums.capacity += capacity;
    const LinkId stands_for = traffic.stands_for[link];
    const auto users = crossings.of(static_cast<size_t>(stands_for));
    if (users.empty()) continue;
    if (stands_for != summed) std::fill(carried.begin(), carried.end(), 0.0);
    for (size_t i = 0; i < users.size() && stands_for != summed; ++i) {
      const auto row = sent.of(users[i].communication);
      for (size_t part = 0; part < count; ++part) carried[part] += users[i].weight * row[part];
    }
    summed = stands_for;
    double bytes = 0.0;
    for (size_t part = 0; part < count; ++part) {
      bytes += carried[part];
      use.mean_over_time[part] += carried[part];
      use.max_over_time[part] = std::max(use.max_over_time[part], carried[part] / (capacity * part_s));
    }
    use.bytes += bytes;
    if (bytes / (capacity * step_s) > use.max_use) {
      use.max_use = bytes / (capacity * step_s);
      use.busiest = static_cast<LinkId>(link);
      use.busiest_bytes = bytes;
    }
  }
  for (const LinkContention& contention : timeline.contention) {
    LinkClassUse& use = classes[class_of(static_cast<size_t>(contention.link))].use;
    use.busy_s = std::max(use.busy_s, contention.busy_s);
    use.held_s += contention.held_s;
  }
  std::vector<LinkClassUse> result;
  for (auto& [kinds, sums] : classes) {
    if (sums.use.bytes <= 0.0) continue;
    sums.use.name = std::string(name_of(kinds.first)) + " -> " + std::string(name_of(kinds.second));
    const Link& busiest = links[static_cast<size_t>(sums.use.busiest)];
    sums.use.busiest_from = vertices[static_cast<size_t>(busiest.from)].id;
    sums.use.busiest_to = vertices[static_cast<size_t>(busiest.to)].id;
    sums.use.mean_use = sums.use.bytes / (sums.capacity * step_s);
    for (double& value : sums.use.mean_over_time) value /= sums.capacity * part_s;
    result.push_back(std::move(sums.use));
  }
  std::stable_sort(result.begin(), result.end(),
                   [](const LinkClassUse& a, const LinkClassUse& b) { return a.max_use > b.max_use; });
  return result;
}

}  // namespace orrery
