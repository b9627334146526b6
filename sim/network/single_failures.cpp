#include "sim/network/single_failures.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "sim/base/index.hpp"
#include "sim/network/cuts.hpp"

namespace orrery {
namespace {

/// Sets of vertices that links have joined.
class JoinedSets {
 public:
  explicit JoinedSets(std::size_t vertices) : parent_(vertices) {
    std::iota(parent_.begin(), parent_.end(), 0);
  }
  VertexId root(VertexId v) {
    while (parent_[index_of(v)] != v) {
      parent_[index_of(v)] = parent_[index_of(parent_[index_of(v)])];
      v = parent_[index_of(v)];
    }
    return v;
  }
  void join(VertexId a, VertexId b) { parent_[index_of(root(a))] = root(b); }

 private:
  std::vector<VertexId> parent_;
};

/// The sets of joined switches that each GPU has a NIC on, by a vertex of each, in order.
using SetsOfGpus = std::vector<std::vector<VertexId>>;

/// For each GPU the number of GPUs that are reached over a set that it sends to.
std::vector<int> count_reached(const SetsOfGpus& sends, const SetsOfGpus& receives) {
  std::map<std::vector<VertexId>, int> receivers;  // GPUs alike
  for (const std::vector<VertexId>& sets : receives) ++receivers[sets];
  std::map<VertexId, std::vector<std::size_t>> on_set;
  std::vector<int> alike;
  for (const auto& [sets, gpus] : receivers) {
    for (const VertexId set : sets) on_set[set].push_back(alike.size());
    alike.push_back(gpus);
  }
  std::map<std::vector<VertexId>, int> known;
  std::vector<int> reached;
  for (const std::vector<VertexId>& sets : sends) {
    const auto [place, is_new] = known.try_emplace(sets, 0);
    if (is_new) {
      std::vector<std::size_t> found;
      for (const VertexId set : sets) found.insert(found.end(), on_set[set].begin(), on_set[set].end());
      std::sort(found.begin(), found.end());
      found.erase(std::unique(found.begin(), found.end()), found.end());
      for (const std::size_t each : found) place->second += alike[each];
    }
    reached.push_back(place->second);
  }
  return reached;
}

void add_sets(std::vector<VertexId>& to, const std::vector<VertexId>& more) {
  to.insert(to.end(), more.begin(), more.end());
  std::sort(to.begin(), to.end());
  to.erase(std::unique(to.begin(), to.end()), to.end());
}

/// GPUs that each GPU reaches over the network, itself counted: those with a NIC in a set of joined switches
/// that it has one in, be it their own or one that they reach over the switches of their node; with PXN it
/// sends over all NICs of its node.
class Reach {
 public:
  struct Result {
    std::vector<int> by_own;     ///< over own NICs, or PXN to the receiver's own
    std::vector<int> in_all;     ///< over any NICs of the two nodes
    std::vector<bool> own_nics;  ///< whether it has one in use
  };

  explicit Reach(const Topology& topology) : topology_(topology) {
    const auto kind = [&](VertexId v) { return topology.vertices()[index_of(v)].kind; };
    const auto node = [&](VertexId v) { return topology.vertices()[index_of(v)].node; };
    const auto carries = [](VertexKind k) { return is_network_switch(k) || k == VertexKind::nic; };
    const auto inside = [](VertexKind k) {
      return k == VertexKind::nvswitch || k == VertexKind::pcie_switch;
    };
    for (std::size_t l = 0; l < topology.links().size(); ++l) {
      const Link& link = topology.links()[l];
      const VertexKind from = kind(link.from);
      const VertexKind to = kind(link.to);
      const bool joins = is_network_switch(from) || is_network_switch(to);
      const bool of_gpu = from == VertexKind::gpu || to == VertexKind::gpu;
      if ((joins && of_gpu) || (carries(from) && carries(to))) {
        network_links_.push_back(static_cast<LinkId>(l));
      } else if ((inside(from) || inside(to)) && node(link.from) == node(link.to) && node(link.to) >= 0) {
        node_links_.push_back(static_cast<LinkId>(l));
      }
    }
  }

  Result without(const std::vector<bool>& failed) const {
    JoinedSets network(topology_.vertices().size());
    std::vector<bool> cabled(topology_.vertices().size(), false);
    for_each_left(network_links_, failed, [&](const Link& link) {
      cabled[index_of(link.from)] = cabled[index_of(link.to)] = true;
      network.join(link.from, link.to);
    });
    const std::vector<std::vector<VertexId>> in_node = nics_in_reach(failed, cabled);
    SetsOfGpus own(index_of(topology_.gpu_count()));
    Result result;
    for (int gpu = 0; gpu < topology_.gpu_count(); ++gpu) {
      std::vector<VertexId> sets;
      for (const VertexId port : topology_.ports_of(topology_.gpu(gpu))) {
        if (cabled[index_of(port)]) sets.push_back(network.root(port));
      }
      result.own_nics.push_back(!sets.empty());
      add_sets(own[index_of(gpu)], sets);
    }
    const bool over_nvlink = topology_.pxn() && topology_.count(VertexKind::nvswitch) > 0;
    std::map<int, std::vector<VertexId>> of_node;
    for (std::size_t gpu = 0; gpu < own.size() && over_nvlink; ++gpu)
      add_sets(of_node[topology_.node_of_gpu(static_cast<int>(gpu))], own[gpu]);
    SetsOfGpus sends = own;
    SetsOfGpus all_receive = own;
    SetsOfGpus all_send = own;
    for (std::size_t gpu = 0; gpu < own.size(); ++gpu) {
      std::vector<VertexId> others;
      for (const VertexId nic : in_node[gpu]) others.push_back(network.root(nic));
      add_sets(all_receive[gpu], others);
      add_sets(all_send[gpu], others);
      if (!over_nvlink) continue;
      const std::vector<VertexId>& beside = of_node.at(topology_.node_of_gpu(static_cast<int>(gpu)));
      add_sets(sends[gpu], beside);
      add_sets(all_send[gpu], beside);
    }
    result.by_own = count_reached(sends, own);
    result.in_all = count_reached(all_send, all_receive);
    return result;
  }

 private:
  template <typename Action>
  void for_each_left(const std::vector<LinkId>& links, const std::vector<bool>& failed,
                     const Action& action) const {
    for (const LinkId l : links) {
      if (!failed[index_of(l)] && topology_.usable(l)) action(topology_.links()[index_of(l)]);
    }
  }

  /// NICs with a cable that each GPU reaches over the switches of its node.
  std::vector<std::vector<VertexId>> nics_in_reach(const std::vector<bool>& failed,
                                                   const std::vector<bool>& cabled) const {
    JoinedSets hosts(topology_.vertices().size());
    std::vector<std::vector<VertexId>> touched(topology_.vertices().size());  // switches of GPUs and NICs
    const auto ends = [&](VertexId v) {
      const VertexKind kind = topology_.vertices()[index_of(v)].kind;
      return kind == VertexKind::gpu || kind == VertexKind::nic || kind == VertexKind::storage;
    };
    for_each_left(node_links_, failed, [&](const Link& link) {
      if (ends(link.from)) {
        touched[index_of(link.from)].push_back(link.to);
      } else if (!ends(link.to)) {
        hosts.join(link.from, link.to);
      }
    });
    std::map<VertexId, std::vector<VertexId>> nics_of;  // of a set of switches
    for (std::size_t v = 0; v < touched.size(); ++v) {
      if (topology_.vertices()[v].kind != VertexKind::nic || !cabled[v]) continue;
      for (const VertexId inside : touched[v])
        nics_of[hosts.root(inside)].push_back(static_cast<VertexId>(v));
    }
    std::vector<std::vector<VertexId>> reached(index_of(topology_.gpu_count()));
    for (int gpu = 0; gpu < topology_.gpu_count(); ++gpu) {
      for (const VertexId inside : touched[index_of(topology_.gpu(gpu))]) {
        const auto nics = nics_of.find(hosts.root(inside));
        if (nics == nics_of.end()) continue;
        std::vector<VertexId>& own = reached[index_of(gpu)];
        own.insert(own.end(), nics->second.begin(), nics->second.end());
      }
    }
    return reached;
  }

  const Topology& topology_;
  std::vector<LinkId> network_links_, node_links_;
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
    const Reach::Result after = reach_.without(failed);
    int cut_off = 0;
    int detoured = 0;
    const auto halved = [](int was, int is) { return was > 1 && 2 * is <= was; };
    for (std::size_t gpu = 0; gpu < after.in_all.size(); ++gpu) {
      if (halved(before_.in_all[gpu], after.in_all[gpu])) {
        ++cut_off;
      } else if ((before_.own_nics[gpu] && !after.own_nics[gpu]) ||
                 halved(before_.by_own[gpu], after.by_own[gpu])) {
        ++detoured;
      }
    }
    const BytesPerSecond left = bisection_bandwidth(topology_, failed);
    if (worst.tried++ == 0 || cut_off > worst.gpus_cut_off ||
        (cut_off == worst.gpus_cut_off && left < worst.bisection_left)) {
      worst.id = candidate.id;
      worst.gpus_cut_off = cut_off;
      worst.gpus_detoured = detoured;
      worst.bisection_left = left;
    }
  }

 private:
  const Topology& topology_;
  Reach reach_;
  Reach::Result before_;
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
