#include "sim/network/single_failures.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "sim/network/cuts.hpp"
#include "sim/network/routing_tables.hpp"

namespace orrery {
namespace {

std::size_t index_of(std::int32_t id) { return static_cast<std::size_t>(id); }

/// GPUs that each GPU reaches over the network, itself counted: those with a NIC in the same joined set of
/// switches; with PXN a GPU may use the NICs of its node.
class Reach {
 public:
  explicit Reach(const Topology& topology) : topology_(topology) {
    const auto carries = [](VertexKind kind) { return is_network_switch(kind) || kind == VertexKind::nic; };
    for (std::size_t l = 0; l < topology.links().size(); ++l) {
      const Link& link = topology.links()[l];
      const VertexKind from = topology.vertices()[index_of(link.from)].kind;
      const VertexKind to = topology.vertices()[index_of(link.to)].kind;
      const bool joins = is_network_switch(from) || is_network_switch(to);
      const bool of_gpu = from == VertexKind::gpu || to == VertexKind::gpu;
      if (joins && (of_gpu || (carries(from) && carries(to))))
        network_links_.push_back(static_cast<LinkId>(l));
    }
  }

  std::vector<int> without(const std::vector<bool>& failed) const {
    std::vector<VertexId> parent(topology_.vertices().size());
    std::iota(parent.begin(), parent.end(), 0);
    const auto root = [&parent](VertexId v) {
      while (parent[index_of(v)] != v) {
        parent[index_of(v)] = parent[index_of(parent[index_of(v)])];
        v = parent[index_of(v)];
      }
      return v;
    };
    std::vector<bool> cabled(topology_.vertices().size(), false);
    for (const LinkId l : network_links_) {
      if (failed[index_of(l)] || !topology_.usable(l)) continue;
      const Link& link = topology_.links()[index_of(l)];
      cabled[index_of(link.from)] = cabled[index_of(link.to)] = true;
      parent[index_of(root(link.from))] = root(link.to);
    }
    // What a GPU is joined to, each set once; GPUs of a set.
    std::vector<std::vector<VertexId>> sets(index_of(topology_.gpu_count()));
    std::vector<int> gpus_in(topology_.vertices().size(), 0);
    for (int gpu = 0; gpu < topology_.gpu_count(); ++gpu) {
      std::vector<VertexId>& own = sets[index_of(gpu)];
      for (const VertexId port : topology_.ports_of(topology_.gpu(gpu))) {
        if (cabled[index_of(port)]) own.push_back(root(port));
      }
      std::sort(own.begin(), own.end());
      own.erase(std::unique(own.begin(), own.end()), own.end());
      for (const VertexId set : own) ++gpus_in[index_of(set)];
    }
    std::vector<int> reach(sets.size(), 0);
    std::map<int, int> of_node;
    for (std::size_t gpu = 0; gpu < sets.size(); ++gpu) {
      for (const VertexId set : sets[gpu]) reach[gpu] = std::max(reach[gpu], gpus_in[index_of(set)]);
      int& node = of_node[topology_.node_of_gpu(static_cast<int>(gpu))];
      node = std::max(node, reach[gpu]);
    }
    if (topology_.pxn() && topology_.count(VertexKind::nvswitch) > 0) {
      for (std::size_t gpu = 0; gpu < sets.size(); ++gpu) {
        reach[gpu] = of_node.at(topology_.node_of_gpu(static_cast<int>(gpu)));
      }
    }
    return reach;
  }

 private:
  const Topology& topology_;
  std::vector<LinkId> network_links_;
};

struct Candidate {
  std::string id;
  std::vector<LinkId> links;  ///< that fail with it
};

/// Links of the cable of a link: itself and, where there is one, a link back.
std::vector<LinkId> cable_of(const Topology& topology, LinkId l) {
  const Link& link = topology.links()[index_of(l)];
  for (const LinkId back : topology.links_from(link.to)) {
    if (topology.links()[index_of(back)].to == link.from) return {l, back};
  }
  return {l};
}

std::vector<LinkId> links_of(const Topology& topology, VertexId v) {
  const std::span<const LinkId> out = topology.links_from(v);
  const std::span<const LinkId> in = topology.links_to(v);
  std::vector<LinkId> links(out.begin(), out.end());
  links.insert(links.end(), in.begin(), in.end());
  return links;
}

/// `count` of the numbers below `all`, evenly spaced.
std::vector<std::size_t> spaced(std::size_t all, std::size_t count) {
  count = std::min(all, count);
  std::vector<std::size_t> picks;
  for (std::size_t i = 0; i < count; ++i) picks.push_back(i * all / count);
  return picks;
}

class Trial {
 public:
  explicit Trial(const Topology& topology)
      : topology_(topology),
        reach_(topology),
        before_(reach_.without(std::vector<bool>(topology.links().size()))) {}

  void try_one(const Candidate& candidate, SingleFailure& worst) const {
    std::vector<bool> failed(topology_.links().size(), false);
    for (const LinkId l : candidate.links) failed[index_of(l)] = true;
    const std::vector<int> after = reach_.without(failed);
    int cut_off = 0;
    for (std::size_t gpu = 0; gpu < after.size(); ++gpu) {
      if (before_[gpu] > 1 && 2 * after[gpu] <= before_[gpu]) ++cut_off;
    }
    const BytesPerSecond left = bisection_bandwidth(topology_, failed);
    if (worst.tried++ == 0 || cut_off > worst.gpus_cut_off ||
        (cut_off == worst.gpus_cut_off && left < worst.bisection_left)) {
      worst.id = candidate.id;
      worst.gpus_cut_off = cut_off;
      worst.bisection_left = left;
    }
  }

 private:
  const Topology& topology_;
  Reach reach_;
  std::vector<int> before_;
};

std::string shown(const Topology& topology, VertexKind kind) {
  if (kind == VertexKind::nic) return "NIC";
  if (kind == VertexKind::gpu) return "GPU";
  // Without tiers there are no leaves.
  const bool flat = topology.count(VertexKind::spine) + topology.count(VertexKind::core) == 0;
  return flat && kind == VertexKind::leaf ? "switch" : std::string(name_of(kind));
}

}  // namespace

std::vector<SingleFailure> single_failures(const Topology& topology) {
  const Trial trial(topology);
  std::vector<SingleFailure> results;
  const auto id = [&](VertexId v) { return topology.vertices()[index_of(v)].id; };

  for (const VertexKind kind : {VertexKind::nic, VertexKind::leaf, VertexKind::spine, VertexKind::core}) {
    std::vector<VertexId> all;
    for (std::size_t v = 0; v < topology.vertices().size(); ++v) {
      const auto vertex = static_cast<VertexId>(v);
      if (topology.vertices()[v].kind == kind && !links_of(topology, vertex).empty()) all.push_back(vertex);
    }
    if (all.empty()) continue;
    SingleFailure& worst = results.emplace_back();
    worst.component = shown(topology, kind);
    worst.there_are = static_cast<int>(all.size());
    for (const std::size_t pick : spaced(all.size(), kTriedOfEach)) {
      trial.try_one({id(all[pick]), links_of(topology, all[pick])}, worst);
    }
  }

  // Cables by what they join, upward and, within a tier, from the lower number.
  std::map<std::pair<VertexKind, VertexKind>, std::vector<LinkId>> cables;
  for (std::size_t l = 0; l < topology.links().size(); ++l) {
    if (!topology.usable(static_cast<LinkId>(l))) continue;
    const Link& link = topology.links()[l];
    const VertexKind from = topology.vertices()[index_of(link.from)].kind;
    const VertexKind to = topology.vertices()[index_of(link.to)].kind;
    if (!is_network_switch(to) ||
        (is_network_switch(from) && (from > to || (from == to && link.from > link.to))))
      continue;
    cables[{from, to}].push_back(static_cast<LinkId>(l));
  }
  for (const auto& [kinds, all] : cables) {
    SingleFailure& worst = results.emplace_back();
    worst.component = shown(topology, kinds.first) + "-" + shown(topology, kinds.second) + " cable";
    worst.there_are = static_cast<int>(all.size());
    for (const std::size_t pick : spaced(all.size(), kTriedOfEach)) {
      const Link& link = topology.links()[index_of(all[pick])];
      trial.try_one({id(link.from) + " - " + id(link.to), cable_of(topology, all[pick])}, worst);
    }
  }
  std::stable_sort(results.begin(), results.end(), [](const SingleFailure& a, const SingleFailure& b) {
    return a.gpus_cut_off != b.gpus_cut_off ? a.gpus_cut_off > b.gpus_cut_off
                                            : a.bisection_left < b.bisection_left;
  });
  return results;
}

}  // namespace orrery
