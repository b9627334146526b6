#include "sim/network/hop_counts.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <stdexcept>
#include <utility>

#include "sim/base/index.hpp"
#include "sim/network/gpu_classes.hpp"

namespace orrery {
namespace {

using Over = HopCount::Over;

/// A GPU that another reaches without the network.
struct Peer {
  int gpu;
  Over over;
  int hops;
  bool nvlink;  ///< as RoutingTables::nvlink_path() finds it
};

/// Peers of a GPU as scale_up_path() finds them: direct link, NVSwitch, PCIe switch, in this order.
class Peers {
 public:
  explicit Peers(const Topology& topology) : topology_(topology), seen_(topology.vertices().size(), -1) {
    const auto in_node = [&](VertexId v) {
      const VertexKind kind = topology.vertices()[index_of(v)].kind;
      return kind == VertexKind::nvswitch || kind == VertexKind::pcie_switch;
    };
    const std::span<const Link> links = topology.links();
    chained_ = std::any_of(links.begin(), links.end(),
                           [&](const Link& link) { return in_node(link.from) && in_node(link.to); });
  }

  const std::vector<Peer>& of(int gpu) {
    peers_.clear();
    const VertexId own = topology_.gpu(gpu);
    seen_[index_of(own)] = gpu;
    for (const LinkId l : topology_.links_from(own)) add(gpu, end_of(l), Over::node, 0, true);
    add_behind(gpu, VertexKind::nvswitch, Over::domain, 1, true);
    const std::span<const VertexId> ports = topology_.ports_of(own);
    if (!ports.empty() && ports.front() != own) add_behind(gpu, VertexKind::leaf, Over::network, 1, true);
    add_behind(gpu, VertexKind::pcie_switch, Over::node, 0, false);
    if (chained_) add_over_chains(gpu);
    return peers_;
  }

 private:
  VertexId end_of(LinkId l) const { return topology_.links()[index_of(l)].to; }

  void add(int gpu, VertexId to, Over over, int hops, bool nvlink) {
    const int other = topology_.gpu_index(to);
    if (other < 0 || seen_[index_of(to)] == gpu) return;
    seen_[index_of(to)] = gpu;
    peers_.push_back({other, over, hops, nvlink});
  }

  void add_behind(int gpu, VertexKind kind, Over over, int hops, bool nvlink) {
    for (const LinkId l : topology_.links_from(topology_.gpu(gpu))) {
      if (topology_.vertices()[index_of(end_of(l))].kind != kind) continue;
      for (const LinkId second : topology_.links_from(end_of(l)))
        add(gpu, end_of(second), over, hops, nvlink);
    }
  }

  /// Where switches of a node are joined to each other: whatever route() takes over these alone.
  void add_over_chains(int gpu) {
    const VertexId own = topology_.gpu(gpu);
    const int node = topology_.node_of_gpu(gpu);
    for (int other = gpu; other-- > 0 && topology_.node_of_gpu(other) == node;) try_chain(gpu, own, other);
    for (int other = gpu + 1; other < topology_.gpu_count() && topology_.node_of_gpu(other) == node;
         ++other) {
      try_chain(gpu, own, other);
    }
  }

  void try_chain(int gpu, VertexId own, int other) {
    const VertexId to = topology_.gpu(other);
    if (seen_[index_of(to)] == gpu) return;
    std::vector<LinkId> route;
    try {
      route = topology_.route_between(own, to);
    } catch (const std::runtime_error&) {
      return;
    }
    int nvswitches = 0;
    for (const LinkId l : route) {
      const VertexKind kind = topology_.vertices()[index_of(end_of(l))].kind;
      if (kind == VertexKind::nic || is_network_switch(kind)) return;
      if (kind == VertexKind::nvswitch) ++nvswitches;
    }
    add(gpu, to, nvswitches > 0 ? Over::domain : Over::node, nvswitches, false);
  }

  const Topology& topology_;
  std::vector<int> seen_;  ///< by vertex: the GPU that saw it last
  std::vector<Peer> peers_;
  bool chained_ = false;
};

/// Histogram under construction.
class Counting {
 public:
  void add(Over over, int hops, std::int64_t pairs, int from, int to) {
    const auto [place, is_new] = counts_.try_emplace({over, hops}, HopCount{over, hops, 0, from, to});
    place->second.pairs += pairs;
    // Not every addition knows an example.
    if (place->second.from < 0) {
      place->second.from = from;
      place->second.to = to;
    }
  }
  bool has_example(Over over, int hops) const {
    const auto known = counts_.find({over, hops});
    return known != counts_.end() && known->second.from >= 0;
  }
  void finish(HopHistogram& histogram) const {
    for (const auto& [key, count] : counts_) {
      if (count.pairs <= 0) continue;
      histogram.counts.push_back(count);
      histogram.diameter = std::max(histogram.diameter, count.hops);
    }
  }

 private:
  std::map<std::pair<Over, int>, HopCount> counts_;
};

/// What decides a GPU's distances to others: its own switches and, with PXN, those of the GPUs beside it.
struct Profile {
  std::int32_t own;
  std::vector<std::int32_t> beside;
  auto operator<=>(const Profile&) const = default;
};

class HopCounter {
 public:
  explicit HopCounter(const Topology& topology) : topology_(topology), classes_(topology) {
    find_peers();
    find_profiles();
  }

  HopHistogram count() {
    HopHistogram histogram;
    const std::size_t targets = classes_.targets.size();
    const std::size_t looked_at = std::min<std::size_t>(targets, kMostDestinations);
    histogram.sampled = looked_at < targets;
    histogram.destinations = static_cast<std::int64_t>(targets);
    histogram.destinations_sampled = static_cast<std::int64_t>(looked_at);
    std::vector<std::int32_t> hops;
    for (std::size_t i = 0; i < looked_at; ++i) {
      const std::size_t target = i * targets / looked_at;
      // Each stands for those up to the next one.
      const auto stands_for = static_cast<std::int64_t>((i + 1) * targets / looked_at - target);
      classes_.hops_to(static_cast<std::int32_t>(target), hops);
      count_to(target, hops, stands_for);
    }
    for (std::size_t i = 0; i < peers_.size(); ++i)
      counting_.add(peers_[i].over, peers_[i].hops, 1, owner_[i], peers_[i].gpu);
    for (int gpu = 0; gpu < topology_.gpu_count(); ++gpu) {
      all_.push_back(gpu);
      if (classes_.target_of[index_of(gpu)] < 0) without_port_.push_back(gpu);
    }
    if (!without_port_.empty()) unsure_.push_back({&all_, &without_port_, 1});
    count_by_routes(histogram);
    counting_.finish(histogram);
    return histogram;
  }

 private:
  static std::size_t index_of(std::ptrdiff_t i) { return static_cast<std::size_t>(i); }

  void find_peers() {
    Peers peers(topology_);
    for (int gpu = 0; gpu < topology_.gpu_count(); ++gpu) {
      for (const Peer& peer : peers.of(gpu)) {
        peers_.push_back(peer);
        owner_.push_back(gpu);
      }
    }
  }

  void find_profiles() {
    std::map<Profile, std::size_t> known;
    profile_of_.resize(index_of(topology_.gpu_count()));
    std::size_t next_peer = 0;
    for (int gpu = 0; gpu < topology_.gpu_count(); ++gpu) {
      Profile profile{classes_.source_of[index_of(gpu)], {}};
      for (; next_peer < peers_.size() && owner_[next_peer] == gpu; ++next_peer) {
        const Peer& peer = peers_[next_peer];
        const bool beside = topology_.node_of_gpu(peer.gpu) == topology_.node_of_gpu(gpu);
        const std::int32_t source = classes_.source_of[index_of(peer.gpu)];
        if (topology_.pxn() && peer.nvlink && beside && source >= 0) profile.beside.push_back(source);
      }
      std::sort(profile.beside.begin(), profile.beside.end());
      profile.beside.erase(std::unique(profile.beside.begin(), profile.beside.end()), profile.beside.end());
      const auto [place, is_new] = known.emplace(profile, profiles_.size());
      if (is_new) profiles_.push_back(profile);
      if (is_new) gpus_of_profile_.emplace_back();
      profile_of_[index_of(gpu)] = place->second;
      gpus_of_profile_[place->second].push_back(gpu);
    }
    gpus_of_target_.resize(classes_.targets.size());
    for (int gpu = 0; gpu < topology_.gpu_count(); ++gpu) {
      const std::int32_t target = classes_.target_of[index_of(gpu)];
      if (target >= 0) gpus_of_target_[index_of(target)].push_back(gpu);
    }
    peers_to_.resize(classes_.targets.size());
    for (std::size_t i = 0; i < peers_.size(); ++i) {
      const std::int32_t target = classes_.target_of[index_of(peers_[i].gpu)];
      if (target >= 0) peers_to_[index_of(target)].push_back(static_cast<std::uint32_t>(i));
    }
  }

  void count_to(std::size_t target, const std::vector<std::int32_t>& hops, std::int64_t stands_for) {
    const std::vector<int>& to = gpus_of_target_[target];
    // Pairs that do not need the network, by profile; a GPU itself is one.
    std::map<std::size_t, std::int64_t> near;
    for (const std::uint32_t i : peers_to_[target]) ++near[profile_of_[index_of(owner_[i])]];
    for (const int gpu : to) ++near[profile_of_[index_of(gpu)]];
    std::vector<std::int64_t> pairs_at;  // by hops
    auto next_near = near.begin();
    for (std::size_t p = 0; p < profiles_.size(); ++p) {
      const std::vector<int>& from = gpus_of_profile_[p];
      std::int64_t pairs = static_cast<std::int64_t>(from.size()) * static_cast<std::int64_t>(to.size());
      if (next_near != near.end() && next_near->first == p) pairs -= (next_near++)->second;
      if (pairs == 0) continue;
      std::int32_t fewest = -1;
      if (profiles_[p].own >= 0)
        fewest = GpuClasses::nearest(classes_.sources[index_of(profiles_[p].own)], hops);
      for (const std::int32_t source : profiles_[p].beside) {
        const std::int32_t there = GpuClasses::nearest(classes_.sources[index_of(source)], hops);
        if (there >= 0 && (fewest < 0 || there < fewest)) fewest = there;
      }
      if (fewest < 0) {
        unsure_.push_back({&from, &to, stands_for});
        continue;
      }
      const std::size_t place = index_of(fewest);
      if (pairs_at.size() <= place) pairs_at.resize(place + 1, 0);
      if (!counting_.has_example(Over::network, fewest + 1)) {
        const auto [a, b] = example(from, to);
        counting_.add(Over::network, fewest + 1, 0, a, b);
      }
      pairs_at[place] += pairs;
    }
    for (std::size_t place = 0; place < pairs_at.size(); ++place) {
      if (pairs_at[place] == 0) continue;
      counting_.add(Over::network, static_cast<int>(place) + 1, pairs_at[place] * stands_for, -1, -1);
    }
  }

  /// A pair that is neither one GPU nor a pair of peers, where the first few show one.
  std::pair<int, int> example(const std::vector<int>& from, const std::vector<int>& to) const {
    for (const int b : {to.front(), to.back()}) {
      for (const int a : {from.front(), from.back()}) {
        if (a != b && topology_.node_of_gpu(a) != topology_.node_of_gpu(b) && !are_peers(a, b)) return {a, b};
      }
    }
    return {-1, -1};
  }

  bool are_peers(int a, int b) const {
    const auto first = std::lower_bound(owner_.begin(), owner_.end(), a);
    for (auto i = index_of(first - owner_.begin()); i < owner_.size() && owner_[i] == a; ++i) {
      if (peers_[i].gpu == b) return true;
    }
    return false;
  }

  /// Pairs of GPUs that first NICs do not join: another NIC, or another way, may.
  struct Unsure {
    const std::vector<int>* from;
    const std::vector<int>* to;
    std::int64_t stands_for;
    std::int64_t pairs() const {
      return static_cast<std::int64_t>(from->size()) * static_cast<std::int64_t>(to->size());
    }
  };

  void count_by_routes(HopHistogram& histogram) {
    std::int64_t all = 0;
    for (const Unsure& unsure : unsure_) all += unsure.pairs();
    const std::int64_t step = (all + kMostRoutedPairs - 1) / kMostRoutedPairs;
    if (step > 1) histogram.sampled = true;
    std::int64_t next = 0;  // place of the next pair to look at, from the beginning of this set
    for (const Unsure& unsure : unsure_) {
      const auto senders = static_cast<std::int64_t>(unsure.from->size());
      for (; next < unsure.pairs(); next += step) {
        const int from = (*unsure.from)[index_of(next % senders)];
        const int to = (*unsure.to)[index_of(next / senders)];
        if (from != to && !are_peers(from, to)) count_route(from, to, step * unsure.stands_for, histogram);
      }
      next -= unsure.pairs();
    }
  }

  void count_route(int from, int to, std::int64_t stands_for, HopHistogram& histogram) {
    try {
      int switches = 0;
      int nvswitches = 0;
      for (const LinkId l : topology_.route(from, to)) {
        const VertexKind kind = topology_.vertices()[index_of(topology_.links()[index_of(l)].to)].kind;
        if (is_network_switch(kind)) ++switches;
        if (kind == VertexKind::nvswitch) ++nvswitches;
      }
      // On the way to a NIC of its node a path may pass an NVSwitch.
      counting_.add(Over::network, switches > 0 ? switches : nvswitches, stands_for, from, to);
    } catch (const std::runtime_error&) {
      histogram.unreachable += stands_for;
    }
  }

  const Topology& topology_;
  GpuClasses classes_;
  std::vector<Peer> peers_;  ///< of all GPUs, one after the other
  std::vector<int> owner_;   ///< of each peer: whose it is
  std::vector<Profile> profiles_;
  std::vector<std::size_t> profile_of_;
  std::vector<std::vector<int>> gpus_of_profile_, gpus_of_target_;
  std::vector<std::vector<std::uint32_t>> peers_to_;
  std::vector<int> all_, without_port_;  ///< GPUs
  std::vector<Unsure> unsure_;
  Counting counting_;
};

/// Link-disjoint shortest paths from the switches of `sources` to where the hops lead: max-flow with cables
/// of capacity one over the links that come nearer (Dinic). All paths are equally long, so the first phase
/// finds nearly all.
class DisjointPaths {
 public:
  DisjointPaths(const Topology& topology, const GpuClasses& classes)
      : topology_(topology), classes_(classes) {}

  int count(const std::vector<std::int32_t>& sources, const std::vector<std::int32_t>& hops) {
    const std::int32_t fewest = GpuClasses::nearest(sources, hops);
    if (fewest < 0) return 0;
    build(sources, hops, fewest);
    int paths = 0;
    while (levels()) {
      next_.assign(arcs_.size(), 0);
      while (augment(0)) ++paths;
    }
    return paths;
  }

 private:
  struct Arc {
    std::int32_t to;
    std::int32_t capacity;
    std::int32_t reverse;  ///< its place among the arcs of `to`
  };

  std::int32_t node_of(std::int32_t number) {
    std::int32_t& node = node_[index_of(number)];
    if (node < 0) {
      node = static_cast<std::int32_t>(arcs_.size());
      arcs_.emplace_back();
      used_.push_back(number);
    }
    return node;
  }

  void add_arc(std::int32_t from, std::int32_t to, std::int32_t capacity) {
    arcs_[index_of(from)].push_back({to, capacity, static_cast<std::int32_t>(arcs_[index_of(to)].size())});
    arcs_[index_of(to)].push_back({from, 0, static_cast<std::int32_t>(arcs_[index_of(from)].size()) - 1});
  }

  /// Node 0 is the source, 1 the sink.
  void build(const std::vector<std::int32_t>& sources, const std::vector<std::int32_t>& hops,
             std::int32_t fewest) {
    constexpr std::int32_t kUnlimited = 1 << 20;
    if (node_.empty()) node_.assign(classes_.switches.size(), -1);
    for (const std::int32_t number : used_) node_[index_of(number)] = -1;
    used_.clear();
    arcs_.assign(2, {});
    for (const std::int32_t s : sources) {
      if (hops[index_of(s)] == fewest) add_arc(0, node_of(s), kUnlimited);
    }
    for (std::size_t i = 0; i < used_.size(); ++i) {
      const std::int32_t number = used_[i];
      const std::int32_t node = node_[index_of(number)];
      if (hops[index_of(number)] == 0) {
        add_arc(node, 1, kUnlimited);
        continue;
      }
      for (const LinkId l : topology_.links_from(classes_.switches[index_of(number)])) {
        const std::int32_t next = classes_.switch_number[index_of(topology_.links()[index_of(l)].to)];
        if (next >= 0 && hops[index_of(next)] == hops[index_of(number)] - 1) add_arc(node, node_of(next), 1);
      }
    }
  }

  bool levels() {
    level_.assign(arcs_.size(), -1);
    level_[0] = 0;
    queue_.assign(1, 0);
    for (std::size_t i = 0; i < queue_.size(); ++i) {
      for (const Arc& arc : arcs_[index_of(queue_[i])]) {
        if (arc.capacity == 0 || level_[index_of(arc.to)] >= 0) continue;
        level_[index_of(arc.to)] = level_[index_of(queue_[i])] + 1;
        queue_.push_back(arc.to);
      }
    }
    return level_[1] >= 0;
  }

  bool augment(std::int32_t node) {
    if (node == 1) return true;
    std::vector<Arc>& arcs = arcs_[index_of(node)];
    for (std::size_t& i = next_[index_of(node)]; i < arcs.size(); ++i) {
      Arc& arc = arcs[i];
      if (arc.capacity == 0 || level_[index_of(arc.to)] != level_[index_of(node)] + 1) continue;
      if (!augment(arc.to)) continue;
      --arc.capacity;
      ++arcs_[index_of(arc.to)][index_of(arc.reverse)].capacity;
      return true;
    }
    return false;
  }

  const Topology& topology_;
  const GpuClasses& classes_;
  std::vector<std::int32_t> node_, used_;
  std::vector<std::vector<Arc>> arcs_;
  std::vector<std::int32_t> level_, queue_;
  std::vector<std::size_t> next_;
};

}  // namespace

HopHistogram count_hops(const Topology& topology) { return HopCounter(topology).count(); }

PathDiversity count_paths(const Topology& topology) {
  const GpuClasses classes(topology);
  PathDiversity diversity;
  if (classes.targets.empty() || classes.sources.empty()) return diversity;
  std::vector<std::int64_t> senders(classes.sources.size(), 0);
  std::vector<std::int64_t> receivers(classes.targets.size(), 0);
  for (const std::int32_t source : classes.source_of) {
    if (source >= 0) ++senders[index_of(source)];
  }
  for (const std::int32_t target : classes.target_of) {
    if (target >= 0) ++receivers[index_of(target)];
  }
  const auto sample = [&diversity](std::size_t all) {
    constexpr std::size_t kSide = 32;  // squared: kSampledSwitchPairs
    static_assert(kSide * kSide == kSampledSwitchPairs);
    diversity.sampled = diversity.sampled || all > kSide;
    std::vector<std::size_t> picks;
    for (std::size_t i = 0; i < std::min(all, kSide); ++i) picks.push_back(i * all / std::min(all, kSide));
    return picks;
  };
  const bool whole = senders.size() * receivers.size() <= static_cast<std::size_t>(kMostSwitchPairs);
  const auto everything = [](std::size_t all) {
    std::vector<std::size_t> picks(all);
    for (std::size_t i = 0; i < all; ++i) picks[i] = i;
    return picks;
  };
  const std::vector<std::size_t> from = whole ? everything(senders.size()) : sample(senders.size());
  const std::vector<std::size_t> to = whole ? everything(receivers.size()) : sample(receivers.size());

  DisjointPaths paths(topology, classes);
  std::map<int, std::int64_t> pairs_with;
  std::vector<std::int32_t> hops;
  for (const std::size_t target : to) {
    classes.hops_to(static_cast<std::int32_t>(target), hops);
    for (const std::size_t source : from) {
      if (GpuClasses::nearest(classes.sources[source], hops) == 0) continue;  // they share a switch
      pairs_with[paths.count(classes.sources[source], hops)] += senders[source] * receivers[target];
      ++diversity.pairs_of_switches;
    }
  }
  if (pairs_with.empty()) {
    diversity.least = diversity.median = diversity.most = 1;
    return diversity;
  }
  diversity.least = pairs_with.begin()->first;
  diversity.most = pairs_with.rbegin()->first;
  std::int64_t total = 0;
  for (const auto& [count, pairs] : pairs_with) total += pairs;
  std::int64_t so_far = 0;
  for (const auto& [count, pairs] : pairs_with) {
    so_far += pairs;
    diversity.median = count;
    if (2 * so_far >= total) break;
  }
  return diversity;
}

}  // namespace orrery
