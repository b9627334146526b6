#include "sim/network/cuts.hpp"

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes boost::optional inside Boost.Graph's edge iterator for uninitialised once it is inlined here.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/boykov_kolmogorov_max_flow.hpp>
#include <cstdint>
#include <map>
#include <numeric>
#include <stdexcept>
#include <utility>

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

std::size_t index_of(std::int32_t id) { return static_cast<std::size_t>(id); }

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

}  // namespace

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
  return cut_bandwidth(topology, all.first(gpus.size() / 2), all.subspan(gpus.size() / 2), without);
}

}  // namespace orrery
