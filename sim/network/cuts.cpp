#include "sim/network/cuts.hpp"

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes boost::optional inside Boost.Graph's edge iterator for uninitialised once it is inlined here.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <algorithm>
#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/boykov_kolmogorov_max_flow.hpp>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "sim/base/index.hpp"
#include "sim/network/routing_tables.hpp"

namespace orrery {
namespace {

using Traits = boost::adjacency_list_traits<boost::vecS, boost::vecS, boost::directedS>;
using Edge = Traits::edge_descriptor;
using Node = Traits::vertex_descriptor;

// Whole bytes a second, so that the flow is exact: 64 bits hold 9e9 GB/s.
struct EdgeFlow {
  std::int64_t capacity = 0;
  std::int64_t residual = 0;
  Edge reverse;
};
struct NodeFlow {
  boost::default_color_type color = boost::white_color;
  std::int64_t distance = 0;
  Edge predecessor;
};
using FlowGraph = boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS, NodeFlow, EdgeFlow>;

void add_capacity(FlowGraph& graph, Node from, Node to, std::int64_t capacity) {
  const Edge forward = boost::add_edge(from, to, EdgeFlow{capacity, 0, {}}, graph).first;
  const Edge backward = boost::add_edge(to, from, EdgeFlow{0, 0, {}}, graph).first;
  graph[forward].reverse = backward;
  graph[backward].reverse = forward;
}

enum class Side : std::uint8_t { open, source, sink };

/// Merges vertices into the source or the sink where some smallest cut has them there: a vertex that the
/// source can fill at least as fast as it can empty never has to be cut off from the source, and the same
/// backwards from the sink. In a tree of switches without odd ratios that leaves nothing to search.
class Sides {
 public:
  Sides(const Topology& topology, std::vector<bool> unusable)
      : links_(topology.links()),
        unusable_(std::move(unusable)),
        out_(topology.vertices().size(), links_, true, unusable_),
        in_(topology.vertices().size(), links_, false, unusable_),
        sides_(topology.vertices().size()) {}

  void put(VertexId v, Side side) {
    if (sides_[index_of(v)] != Side::open) throw std::invalid_argument("a GPU is on both sides of the cut");
    sides_[index_of(v)] = side;
  }

  void merge() {
    std::vector<VertexId> pending;
    std::vector<bool> is_pending(sides_.size(), false);
    const auto look_again = [&](VertexId v) {
      if (is_pending[index_of(v)] || sides_[index_of(v)] != Side::open) return;
      is_pending[index_of(v)] = true;
      pending.push_back(v);
    };
    for (std::size_t v = 0; v < sides_.size(); ++v) look_again(static_cast<VertexId>(v));
    for (std::size_t i = 0; i < pending.size(); ++i) {
      const VertexId v = pending[i];
      is_pending[index_of(v)] = false;
      const Side side = side_for(v);
      if (side == Side::open) continue;
      sides_[index_of(v)] = side;
      for (const LinkId l : out_.of(v)) look_again(links_[index_of(l)].to);
      for (const LinkId l : in_.of(v)) look_again(links_[index_of(l)].from);
    }
  }

  std::int64_t smallest_cut() const {
    constexpr std::size_t kSource = 0;
    constexpr std::size_t kSink = 1;
    std::vector<std::size_t> number(sides_.size());
    std::size_t nodes = 2;
    for (std::size_t v = 0; v < sides_.size(); ++v) {
      number[v] = sides_[v] == Side::source ? kSource : sides_[v] == Side::sink ? kSink : nodes++;
    }
    std::map<std::pair<std::size_t, std::size_t>, std::int64_t> capacities;
    for (std::size_t l = 0; l < links_.size(); ++l) {
      const std::size_t from = number[index_of(links_[l].from)];
      const std::size_t to = number[index_of(links_[l].to)];
      if (!unusable_[l] && from != to && to != kSource && from != kSink) {
        capacities[{from, to}] += capacity(static_cast<LinkId>(l));
      }
    }
    FlowGraph graph(nodes);
    for (const auto& [ends, capacity] : capacities) add_capacity(graph, ends.first, ends.second, capacity);
    return boost::boykov_kolmogorov_max_flow(
        graph, boost::get(&EdgeFlow::capacity, graph), boost::get(&EdgeFlow::residual, graph),
        boost::get(&EdgeFlow::reverse, graph), boost::get(&NodeFlow::predecessor, graph),
        boost::get(&NodeFlow::color, graph), boost::get(&NodeFlow::distance, graph),
        boost::get(boost::vertex_index, graph), Node{kSource}, Node{kSink});
  }

 private:
  std::int64_t capacity(LinkId l) const {
    return static_cast<std::int64_t>(links_[index_of(l)].bandwidth.base());
  }

  /// The side that an open vertex can be merged into.
  Side side_for(VertexId v) const {
    std::int64_t from_source = 0;
    std::int64_t in = 0;  // from anywhere but the sink
    for (const LinkId l : in_.of(v)) {
      const Side side = sides_[index_of(links_[index_of(l)].from)];
      if (side == Side::source) from_source += capacity(l);
      if (side != Side::sink) in += capacity(l);
    }
    std::int64_t to_sink = 0;
    std::int64_t out = 0;  // to anywhere but the source
    for (const LinkId l : out_.of(v)) {
      const Side side = sides_[index_of(links_[index_of(l)].to)];
      if (side == Side::sink) to_sink += capacity(l);
      if (side != Side::source) out += capacity(l);
    }
    if (from_source >= out) return Side::source;
    return to_sink >= in ? Side::sink : Side::open;
  }

  std::span<const Link> links_;
  std::vector<bool> unusable_;
  LinkLists out_, in_;
  std::vector<Side> sides_;
};

/// Sets of GPUs that a cut of the GPUs' order must not run through, by the first and last of each.
class WholeSets {
 public:
  explicit WholeSets(std::size_t gpus) : covered_(gpus + 1, 0) {}
  void keep(int first, int last) {
    ++covered_[index_of(first) + 1];
    --covered_[index_of(last) + 1];
  }
  /// Whether a cut before each GPU leaves all sets whole.
  std::vector<bool> cuts() const {
    std::vector<bool> whole(covered_.size(), false);
    int open = 0;
    for (std::size_t at = 0; at < covered_.size(); ++at) {
      open += covered_[at];
      whole[at] = open == 0;
    }
    return whole;
  }

 private:
  std::vector<int> covered_;  ///< sets that begin less those that end, by place
};

void keep_nodes(const Topology& topology, WholeSets& sets) {
  std::map<int, std::pair<int, int>> ends;
  for (int gpu = 0; gpu < topology.gpu_count(); ++gpu) {
    const auto [place, is_new] = ends.try_emplace(topology.node_of_gpu(gpu), gpu, gpu);
    place->second.second = gpu;
  }
  for (const auto& [node, range] : ends) sets.keep(range.first, range.second);
}

/// What has failed counts: a dead NVSwitch moves no cut.
void keep_domains(const Topology& topology, WholeSets& sets) {
  const std::size_t vertices = topology.vertices().size();
  const auto kind = [&](VertexId v) { return topology.vertices()[index_of(v)].kind; };
  std::vector<bool> on_host(vertices, false);  // GPUs with a NIC or a PCIe switch beside them
  for (const Link& link : topology.links()) {
    if (kind(link.to) == VertexKind::nic || kind(link.to) == VertexKind::pcie_switch)
      on_host[index_of(link.from)] = true;
  }
  std::vector<int> first(vertices, topology.gpu_count());
  std::vector<int> last(vertices, -1);
  for (const Link& link : topology.links()) {
    const int gpu = topology.gpu_index(link.from);
    if (gpu < 0) continue;
    const VertexKind to = kind(link.to);
    if (to == VertexKind::gpu) {
      const auto [low, high] = std::minmax({gpu, topology.gpu_index(link.to)});
      sets.keep(low, high);
    } else if (to == VertexKind::nvswitch || (to == VertexKind::leaf && on_host[index_of(link.from)])) {
      first[index_of(link.to)] = std::min(first[index_of(link.to)], gpu);
      last[index_of(link.to)] = std::max(last[index_of(link.to)], gpu);
    }
  }
  for (std::size_t v = 0; v < vertices; ++v) {
    if (last[v] >= 0) sets.keep(first[v], last[v]);
  }
}

/// The allowed cut nearest to the middle, of two the lower; 0 if there is none.
int nearest_cut(const std::vector<bool>& allowed) {
  const int gpus = static_cast<int>(allowed.size()) - 1;
  int best = 0;
  for (int at = 1; at < gpus; ++at) {
    if (!allowed[index_of(at)]) continue;
    if (best == 0 || std::abs(2 * at - gpus) < std::abs(2 * best - gpus)) best = at;
  }
  return best;
}

}  // namespace

int bisection_split(const Topology& topology) {
  const auto gpus = static_cast<std::size_t>(topology.gpu_count());
  WholeSets nodes(gpus);
  keep_nodes(topology, nodes);
  WholeSets both = nodes;
  keep_domains(topology, both);
  for (const WholeSets& sets : {both, nodes}) {
    if (const int at = nearest_cut(sets.cuts()); at > 0) return at;
  }
  return topology.gpu_count() / 2;
}

BytesPerSecond cut_bandwidth(const Topology& topology, std::span<const int> from_gpus,
                             std::span<const int> to_gpus, const std::vector<bool>& without) {
  if (from_gpus.empty() || to_gpus.empty()) return {};
  std::vector<bool> unusable = without;
  unusable.resize(topology.links().size(), false);
  for (std::size_t l = 0; l < unusable.size(); ++l) {
    if (!topology.usable(static_cast<LinkId>(l))) unusable[l] = true;
  }
  Sides sides(topology, std::move(unusable));
  for (const int gpu : from_gpus) sides.put(topology.gpu(gpu), Side::source);
  for (const int gpu : to_gpus) sides.put(topology.gpu(gpu), Side::sink);
  sides.merge();
  return BytesPerSecond(static_cast<double>(sides.smallest_cut()));
}

BytesPerSecond bisection_bandwidth(const Topology& topology, const std::vector<bool>& without) {
  std::vector<int> gpus(static_cast<std::size_t>(topology.gpu_count()));
  std::iota(gpus.begin(), gpus.end(), 0);
  const std::span<const int> all(gpus);
  const std::size_t split = index_of(bisection_split(topology));
  return cut_bandwidth(topology, all.first(split), all.subspan(split), without);
}

}  // namespace orrery
