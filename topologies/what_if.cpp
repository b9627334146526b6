#include "topologies/what_if.hpp"

#include <algorithm>
#include <optional>

#include "sim/base/errors.hpp"
#include "sim/base/unit_text.hpp"
#include "sim/network/reachability.hpp"

namespace orrery {
namespace {

std::string in_quotes(const std::string& text) { return '"' + text + '"'; }

/// Finds vertices and cables by id and says what would have been right.
class Finder {
 public:
  Finder(Topology& topology, std::vector<WhatIfProblem>& problems)
      : topology_(topology), problems_(problems), degraded_(topology.links().size(), false) {}

  VertexId vertex(const std::string& id, const std::string& place) {
    const VertexId found = topology_.find(id);
    if (found >= 0) return found;
    std::vector<std::string> ids;
    for (const Vertex& each : topology_.vertices()) ids.push_back(each.id);
    const std::string nearest = nearest_name(id, ids);
    problems_.push_back({place, in_quotes(id),
                         nearest.empty()
                             ? "the id of a vertex of this fabric, such as " + in_quotes(ids.back())
                             : in_quotes(nearest) + " or another id of this fabric"});
    return -1;
  }

  /// Both directions of a cable between the two that works and is not degraded: the first one of several.
  std::vector<LinkId> cable(const CableName& name, const std::string& place) {
    const VertexId from = vertex(name.from, place + "/0");
    const VertexId to = vertex(name.to, place + "/1");
    if (from < 0 || to < 0) return {};
    std::vector<std::string> neighbours;
    bool joined = false;
    std::vector<LinkId> found;
    for (const auto& [a, b] : {std::pair(from, to), std::pair(to, from)}) {
      std::optional<LinkId> direction;
      for (size_t l = 0; l < topology_.links().size(); ++l) {
        const Link& link = topology_.links()[l];
        if (link.from == from) neighbours.push_back(id(link.to));
        if (link.from != a || link.to != b) continue;
        joined = true;
        const auto number = static_cast<LinkId>(l);
        if (!direction && topology_.usable(number) && !degraded_[l]) direction = number;
      }
      if (direction) found.push_back(*direction);
    }
    const std::string pair = in_quotes(name.from) + " and " + in_quotes(name.to);
    if (!joined) {
      std::sort(neighbours.begin(), neighbours.end());
      neighbours.erase(std::unique(neighbours.begin(), neighbours.end()), neighbours.end());
      problems_.push_back({place, pair + ", which no cable joins",
                           "a neighbour of " + name.from + ": " + one_of(neighbours, name.to, 8)});
    } else if (found.empty()) {
      const VertexId dead = topology_.failed(from) ? from : topology_.failed(to) ? to : -1;
      if (dead >= 0) {
        problems_.push_back({place, pair + ", whose cables are lost with " + id(dead),
                             "no entry for them beside \"failed_switches\""});
      } else {
        problems_.push_back({place, pair + ", whose cables are all taken by other entries", "fewer entries"});
      }
    }
    return found;
  }

  void mark_degraded(LinkId link) { degraded_[static_cast<size_t>(link)] = true; }
  const std::string& id(VertexId v) const { return topology_.vertices()[static_cast<size_t>(v)].id; }

 private:
  Topology& topology_;
  std::vector<WhatIfProblem>& problems_;
  std::vector<bool> degraded_;
};

bool forwards(VertexKind kind) { return kind != VertexKind::gpu && kind != VertexKind::storage; }

}  // namespace

std::vector<WhatIfProblem> apply_what_if(const WhatIf& what_if, Topology& topology) {
  std::vector<WhatIfProblem> problems;
  if (!what_if.any()) return problems;
  Finder finder(topology, problems);
  for (size_t i = 0; i < what_if.failed_switches.size(); ++i) {
    const std::string place = "/failed_switches/" + std::to_string(i);
    const std::string& id = what_if.failed_switches[i];
    const VertexId vertex = finder.vertex(id, place);
    if (vertex < 0) continue;
    if (!forwards(topology.vertices()[static_cast<size_t>(vertex)].kind)) {
      problems.push_back({place, in_quotes(id), "a switch or a NIC"});
    } else {
      topology.fail_vertex(vertex);
    }
  }
  for (size_t i = 0; i < what_if.failed_links.size(); ++i) {
    for (const LinkId link : finder.cable(what_if.failed_links[i], "/failed_links/" + std::to_string(i))) {
      topology.fail_link(link);
    }
  }
  for (size_t i = 0; i < what_if.degraded.size(); ++i) {
    const DegradedCable& entry = what_if.degraded[i];
    const std::string place = "/degraded/" + std::to_string(i);
    for (const LinkId link : finder.cable(entry.cable, place + "/link")) {
      const BytesPerSecond whole = topology.links()[static_cast<size_t>(link)].bandwidth;
      if (entry.bandwidth > whole) {
        problems.push_back({place + "/bandwidth", exact_text(entry.bandwidth),
                            "at most " + exact_text(whole) + ", the whole cable"});
        break;
      }
      topology.set_bandwidth(link, entry.bandwidth);
      finder.mark_degraded(link);
    }
  }
  return problems;
}

std::string unreachable_pairs(const Topology& topology) {
  const UnreachablePairs found = find_unreachable(topology);
  if (found.pairs == 0) return {};
  const auto id = [&](int gpu) -> const std::string& {
    return topology.vertices()[static_cast<size_t>(topology.gpu(gpu))].id;
  };
  return "no path between " + id(found.first) + " and " + id(found.second) + "; " +
         std::to_string(found.pairs) + (found.pairs == 1 ? " pair" : " pairs") + " of GPUs in all";
}

}  // namespace orrery
