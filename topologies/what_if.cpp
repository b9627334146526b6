#include "topologies/what_if.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <tuple>

#include "sim/base/errors.hpp"
#include "sim/base/unit_text.hpp"

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
      problems_.push_back({place, pair + ", whose cables are all taken by other entries", "fewer entries"});
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

/// The parts that the switches and NICs fall into, by usable links taken both ways.
class Parts {
 public:
  explicit Parts(const Topology& topology) : parent_(topology.vertices().size()) {
    std::iota(parent_.begin(), parent_.end(), VertexId{0});
    const std::span<const Link> links = topology.links();
    const auto kind = [&](VertexId v) { return topology.vertices()[static_cast<size_t>(v)].kind; };
    for (size_t l = 0; l < links.size(); ++l) {
      if (!topology.usable(static_cast<LinkId>(l))) continue;
      if (forwards(kind(links[l].from)) && forwards(kind(links[l].to)))
        parent_[static_cast<size_t>(root(links[l].from))] = root(links[l].to);
    }
  }
  VertexId root(VertexId v) {
    while (parent_[static_cast<size_t>(v)] != v) {
      VertexId& above = parent_[static_cast<size_t>(v)];
      above = parent_[static_cast<size_t>(above)];
      v = above;
    }
    return v;
  }

 private:
  std::vector<VertexId> parent_;
};

bool has_path(const Topology& topology, int from, int to) {
  try {
    topology.route(from, to);
    return true;
  } catch (const std::runtime_error&) {
    return false;
  }
}

/// Counts the pairs between two sets of GPUs that share no part: pair by pair where that is cheap, else one
/// for all.
class PairCount {
 public:
  explicit PairCount(const Topology& topology) : topology_(topology) {}

  void add(const std::vector<int>& a, const std::vector<int>& b) {
    constexpr size_t kCheap = 4096;
    if (a.size() * b.size() > kCheap) {
      if (!joined(a.back(), b.back())) note(a.back(), b.back(), a.size() * b.size());
      return;
    }
    for (const int from : a) {
      for (const int to : b) {
        if (!joined(from, to)) note(from, to, 1);
      }
    }
  }
  std::string text() const {
    if (pairs_ == 0) return {};
    const auto id = [&](int gpu) -> const std::string& {
      return topology_.vertices()[static_cast<size_t>(topology_.gpu(gpu))].id;
    };
    return "no path between " + id(from_) + " and " + id(to_) + "; " + std::to_string(pairs_) +
           (pairs_ == 1 ? " pair" : " pairs") + " of GPUs in all";
  }

 private:
  bool joined(int a, int b) const { return has_path(topology_, a, b) && has_path(topology_, b, a); }
  void note(int from, int to, size_t pairs) {
    if (pairs_ == 0) std::tie(from_, to_) = std::minmax({from, to});
    pairs_ += pairs;
  }

  const Topology& topology_;
  int from_ = 0;
  int to_ = 0;
  size_t pairs_ = 0;
};

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
  Parts parts(topology);
  const std::span<const Link> links = topology.links();
  std::vector<std::vector<VertexId>> touched(topology.vertices().size());
  bool one_way = false;
  for (size_t l = 0; l < links.size(); ++l) {
    if (!topology.usable(static_cast<LinkId>(l))) continue;
    const auto kind = [&](VertexId v) { return topology.vertices()[static_cast<size_t>(v)].kind; };
    if (kind(links[l].from) == VertexKind::gpu && forwards(kind(links[l].to)))
      touched[static_cast<size_t>(links[l].from)].push_back(parts.root(links[l].to));
    const size_t twin = l % 2 == 0 ? l + 1 : l - 1;
    one_way =
        one_way || twin >= links.size() || links[twin].from != links[l].to || links[twin].to != links[l].from;
  }
  std::map<std::vector<VertexId>, std::vector<int>> sets;
  std::vector<std::vector<int>> alone;
  for (int gpu = 0; gpu < topology.gpu_count(); ++gpu) {
    std::vector<VertexId>& roots = touched[static_cast<size_t>(topology.gpu(gpu))];
    std::sort(roots.begin(), roots.end());
    roots.erase(std::unique(roots.begin(), roots.end()), roots.end());
    if (roots.empty()) {
      alone.push_back({gpu});
    } else {
      sets[roots].push_back(gpu);
    }
  }
  PairCount count(topology);
  if (sets.empty()) {  // no GPU has a switch
    for (size_t a = 0; a < alone.size(); ++a) {
      for (size_t b = a + 1; b < alone.size(); ++b) count.add(alone[a], alone[b]);
    }
    return count.text();
  }
  constexpr int kFewGpus = 256;
  if (one_way && topology.gpu_count() <= kFewGpus) {
    // Parts say nothing about one-way streets: ask for every pair.
    for (int a = 0; a < topology.gpu_count(); ++a) {
      for (int b = a + 1; b < topology.gpu_count(); ++b) count.add({a}, {b});
    }
    return count.text();
  }
  // All that touch the part with most GPUs reach one another: only the rest is compared with everything.
  std::map<VertexId, size_t> gpus_of_part;
  for (const auto& [roots, gpus] : sets) {
    for (const VertexId part : roots) gpus_of_part[part] += gpus.size();
  }
  const auto larger = [](const auto& x, const auto& y) { return x.second < y.second; };
  const auto main_part = std::max_element(gpus_of_part.begin(), gpus_of_part.end(), larger);
  const std::vector<VertexId> nothing;
  std::vector<std::pair<const std::vector<VertexId>*, const std::vector<int>*>> members;
  for (const std::vector<int>& gpu : alone) members.emplace_back(&nothing, &gpu);
  for (const bool in_main : {false, true}) {
    for (const auto& [roots, gpus] : sets) {
      if (std::binary_search(roots.begin(), roots.end(), main_part->first) == in_main)
        members.emplace_back(&roots, &gpus);
    }
  }
  for (size_t a = 0; a < members.size(); ++a) {
    const std::vector<VertexId>& own = *members[a].first;
    if (std::binary_search(own.begin(), own.end(), main_part->first)) break;
    for (size_t b = a + 1; b < members.size(); ++b) {
      std::vector<VertexId> common;
      std::set_intersection(own.begin(), own.end(), members[b].first->begin(), members[b].first->end(),
                            std::back_inserter(common));
      if (common.empty()) count.add(*members[a].second, *members[b].second);
    }
  }
  return count.text();
}

}  // namespace orrery
