#include <algorithm>
#include <map>
#include <optional>
#include <stdexcept>

#include "sim/base/hash.hpp"
#include "sim/base/index.hpp"
#include "sim/network/topology_graph.hpp"

namespace orrery {
namespace {

/// Where a flow leaves its node and where it enters the other.
struct Ends {
  std::vector<LinkId> first;  ///< from the endpoint to the port that it leaves through
  VertexId from_port = -1;
  VertexId to_port = -1;
  std::vector<LinkId> last;
};

/// How a route chooses among next hops of equal distance.
struct Choice {
  bool hashed;
  std::uint64_t seed;   ///< of the hash, or the destination's number on its first leaf
  std::uint64_t above;  ///< fixed routing: added above the first switch
};

void append(std::vector<LinkId>& path, const std::vector<LinkId>& more) {
  path.insert(path.end(), more.begin(), more.end());
}

/// The GPU beside the sender whose port is nearest to the class, where it is nearer than `hops` and NVLink
/// leads there (PXN). A sender without a way of its own (`hops` -1) takes, of the nearest, the flow's
/// stand-in.
std::optional<Ends> over_a_neighbour(const RoutingTables& tables, const Journey& flow, std::int32_t to_class,
                                     std::int32_t hops) {
  const bool lost = hops < 0;
  std::vector<Ends> nearest;
  for (const VertexId other : tables.gpus_beside(flow.from)) {
    const std::span<const VertexId> ports = tables.ports_of(other);
    if (other == flow.from || ports.empty()) continue;
    const std::vector<LinkId> to_other = tables.nvlink_path(flow.from, other);
    if (to_other.empty()) continue;
    for (std::size_t i = 0; i < ports.size(); ++i) {
      const VertexId port = ports[(flow.number + i) % ports.size()];
      if (i > 0 && !lost) break;
      const std::int32_t there = tables.hops_between(port, to_class);
      if (there < 0 || (hops >= 0 && there > hops)) continue;
      if (there == hops && (nearest.empty() || !lost)) continue;
      std::vector<LinkId> path = to_other;
      append(path, tables.host_path(other, port, true));
      if (there != hops) nearest.clear();
      nearest.push_back(Ends{std::move(path), port, -1, {}});
      hops = there;
    }
  }
  if (nearest.empty()) return std::nullopt;
  std::vector<VertexId> nics;
  nics.reserve(nearest.size());
  for (const Ends& ends : nearest) nics.push_back(ends.from_port);
  return std::move(nearest[tables.turn(nics, flow.from, flow.number)]);
}

/// Ports of one end, tried in turn from `start`.
struct Candidates {
  std::span<const VertexId> ports;
  std::uint64_t start;
  bool own;
  VertexId at(std::size_t i) const { return ports[(start % ports.size() + i) % ports.size()]; }
};

/// The first of the receiver's candidates, with the first of the sender's, that the network joins; the sender
/// may leave over a neighbour that is nearer than its own ports.
/// @param lost  those that none of the sender's own ports is joined to, over a neighbour alone
std::optional<Ends> join(const RoutingTables& tables, const Journey& flow, const Candidates& from,
                         const Candidates& to, bool lost = false) {
  for (std::size_t t = 0; t < to.ports.size(); ++t) {
    const VertexId to_port = to.at(t);
    const std::int32_t to_class = tables.destination_class(to_port);
    if (to_class < 0) continue;
    std::vector<LinkId> last =
        to.own ? tables.host_path(flow.to, to_port, false) : tables.path_in_node(to_port, flow.to);
    if (last.empty() && to_port != flow.to) continue;
    std::optional<Ends> ends;
    std::int32_t hops = -1;
    for (std::size_t f = 0; f < from.ports.size() && !ends; ++f) {
      const VertexId from_port = from.at(f);
      const std::int32_t there = tables.hops_between(from_port, to_class);
      if (there < 0) continue;
      std::vector<LinkId> first =
          from.own ? tables.host_path(flow.from, from_port, true) : tables.path_in_node(flow.from, from_port);
      if (first.empty() && from_port != flow.from) continue;
      ends = Ends{std::move(first), from_port, -1, {}};
      hops = there;
    }
    if (flow.pxn && from.own && (lost ? hops < 0 : hops > 0) && tables.kind(flow.from) == VertexKind::gpu) {
      if (auto nearer = over_a_neighbour(tables, flow, to_class, hops)) ends = std::move(nearer);
    }
    if (!ends) continue;
    ends->to_port = to_port;
    ends->last = std::move(last);
    return ends;
  }
  return std::nullopt;
}

/// Ports of a flow that leaves its node: own ones where these are joined, else one of another NIC at the end
/// that needs it, at both ends last. Nothing where the network has no path between any.
std::optional<Ends> find_ends(const RoutingTables& tables, const Journey& flow) {
  const Candidates from{tables.ports_of(flow.from), flow.number, true};
  const Candidates to{tables.ports_of(flow.to), flow.number, true};
  if (auto ends = join(tables, flow, from, to)) return ends;
  if (auto ends = join(tables, flow, from, to, true)) return ends;
  const std::vector<VertexId> others_to = tables.other_nics(flow.to, false, flow.number);
  const Candidates to_other{others_to, 0, false};
  if (auto ends = join(tables, flow, from, to_other)) return ends;
  const std::vector<VertexId> others_from = tables.other_nics(flow.from, true, flow.number);
  const Candidates from_other{others_from, 0, false};
  if (auto ends = join(tables, flow, from_other, to)) return ends;
  return join(tables, flow, from_other, to_other);
}

/// Distances along the network's switches.
struct NetworkSteps {
  const RoutingTables::Hops& hops;
  std::int32_t from(VertexId v) const { return hops.from(v); }
  void pass(VertexId /*v*/) {}
};

/// Distances over everything that forwards, which depend on what has been passed.
struct TransitSteps {
  const RoutingTables& tables;
  const RoutingTables::TransitHops& hops;
  bool crossed = false;
  std::int32_t from(VertexId v) const { return hops.from(v, crossed || is_network_switch(tables.kind(v))); }
  void pass(VertexId v) { crossed = crossed || is_network_switch(tables.kind(v)); }
};

/// One of several next hops of equal distance from `at`, the `walked`-th vertex of the walk.
LinkId choose(const RoutingTables& tables, const Choice& choice, VertexId at, std::size_t walked,
              const std::vector<LinkId>& choices) {
  // Each switch hashes with its own seed; the same seed everywhere would leave most paths unused
  // (polarisation).
  if (choice.hashed) {
    return choices[mixed_bits(choice.seed ^ mixed_bits(static_cast<std::uint64_t>(at))) % choices.size()];
  }
  const Grid& grid = tables.grid();
  if (const std::int32_t here = tables.switch_number(at); !grid.empty() && here >= 0) {
    const auto dimension = [&](LinkId link) {
      return grid.first_difference(here, tables.switch_number(tables.link(link).to));
    };
    const auto lower = [&](LinkId a, LinkId b) { return dimension(a) < dimension(b); };
    return *std::min_element(choices.begin(), choices.end(), lower);
  }
  // Destination modulo k, tier by tier: a leaf spreads by the destination's number on its leaf; above it
  // all that one spine carries has nearly the same number, so the leaf is added.
  return choices[(choice.seed + (walked > 1 ? choice.above : 0)) % choices.size()];
}

/// Next hops from a vertex that are nearest to where the steps lead.
template <typename Steps>
void nearest(const RoutingTables& tables, const Steps& steps, VertexId at, std::vector<LinkId>& choices) {
  choices.clear();
  std::int32_t fewest = 0;
  for (const LinkId link : tables.out(at)) {
    const std::int32_t there = steps.from(tables.link(link).to);
    if (there < 0 || (!choices.empty() && there > fewest)) continue;
    if (!choices.empty() && there < fewest) choices.clear();
    fewest = there;
    choices.push_back(link);
  }
}

/// Links from one vertex to another.
void between(const RoutingTables& tables, VertexId from, VertexId to, std::vector<LinkId>& choices) {
  choices.clear();
  for (const LinkId link : tables.out(from)) {
    if (tables.link(link).to == to) choices.push_back(link);
  }
}

/// Appends a shortest path, chosen hop by hop, from `at` to `to`, whose neighbours are no steps away.
/// @returns whether there is one
template <typename Steps>
bool walk(const RoutingTables& tables, Steps steps, const Choice& choice, VertexId at, VertexId to,
          std::vector<LinkId>& path) {
  std::vector<LinkId> choices;
  for (std::size_t walked = 0; at != to; ++walked) {
    if (walked > 0 && steps.from(at) == 0) {
      between(tables, at, to, choices);
    } else {
      nearest(tables, steps, at, choices);
    }
    if (choices.empty()) return false;
    path.push_back(choices.size() == 1 ? choices.front() : choose(tables, choice, at, walked, choices));
    at = tables.link(path.back()).to;
    steps.pass(at);
  }
  return true;
}

/// What switches send over each of several next hops, in relation to one another: the link's bandwidth, less
/// where the switch behind has less left towards the destination (`left`) than the best of the others has,
/// for what all cables to it carry. Back-pressure brings this about: a queue before a narrow place grows
/// until its output is the less loaded one no more.
void weigh(const RoutingTables& tables, std::span<const double> left, const std::vector<LinkId>& choices,
           std::vector<double>& weights) {
  weights.clear();
  for (const LinkId link : choices) weights.push_back(tables.link(link).bandwidth.base());
  if (left.empty()) return;
  const auto left_behind = [&](LinkId link) {
    return left[index_of(tables.switch_number(tables.link(link).to))];
  };
  double best = 0.0;
  for (const LinkId link : choices) best = std::max(best, left_behind(link));
  std::map<VertexId, double> cables;
  for (const LinkId link : choices) cables[tables.link(link).to] += tables.link(link).bandwidth.base();
  double most = 0.0;
  for (const auto& [to, together] : cables) most = std::max(most, together);
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const double behind = left_behind(choices[i]) / best * most;
    weights[i] *= std::min(1.0, behind / cables[tables.link(choices[i]).to]);
  }
}

/// Shares of a flow of 1 that starts with `arrived` on vertices equally far from where the hops lead, split
/// at each over its nearest next hops as they weigh, down to zero hops. Links in order of distance from the
/// start.
RoutingTables::Shares split(const RoutingTables& tables, std::int32_t to_class,
                            std::vector<std::pair<VertexId, double>> arrived, bool on_ports) {
  const RoutingTables::Hops& hops = tables.hops_to(to_class);
  const std::span<const double> left = tables.capacity_left_to(to_class);
  std::vector<double> weights;
  RoutingTables::Shares shares;
  std::vector<LinkId> choices;
  std::vector<std::pair<VertexId, double>> next;
  while (on_ports || (!arrived.empty() && hops.from(arrived.front().first) != 0)) {
    next.clear();
    for (const auto& [at, share] : arrived) {
      nearest(tables, hops, at, choices);
      weigh(tables, left, choices, weights);
      double total = 0.0;
      for (const double weight : weights) total += weight;
      for (std::size_t i = 0; i < choices.size(); ++i) {
        const double part = share * (weights[i] / total);
        shares.links.push_back({choices[i], part});
        next.emplace_back(tables.link(choices[i]).to, part);
      }
    }
    // Sorted by vertex, what arrives over several links added up.
    std::stable_sort(next.begin(), next.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::size_t kept = 0;
    for (std::size_t i = 1; i < next.size(); ++i) {
      if (next[i].first == next[kept].first) {
        next[kept].second += next[i].second;
      } else {
        next[++kept] = next[i];
      }
    }
    next.resize(next.empty() ? 0 : kept + 1);
    std::swap(arrived, next);
    on_ports = false;
  }
  shares.exits = std::move(arrived);
  return shares;
}

void append(std::vector<RouteLink>& links, const std::vector<LinkId>& path) {
  for (const LinkId link : path) links.push_back({link, 1.0});
}

/// Appends the links from the vertices that a split ends on to the endpoint or port behind them.
void append_exits(std::vector<RouteLink>& links, const RoutingTables& tables,
                  const std::vector<std::pair<VertexId, double>>& exits, VertexId to) {
  std::vector<LinkId> choices;
  for (const auto& [at, share] : exits) {
    between(tables, at, to, choices);
    double total = 0.0;
    for (const LinkId link : choices) total += tables.link(link).bandwidth.base();
    for (const LinkId link : choices) {
      links.push_back({link, share * (tables.link(link).bandwidth.base() / total)});
    }
  }
}

/// Shares between two ports; what is known of their first switch and class is reused.
void append_split(std::vector<RouteLink>& links, const RoutingTables& tables, VertexId from_port,
                  VertexId to_port) {
  const std::int32_t to_class = tables.destination_class(to_port);
  const RoutingTables::Hops& hops = tables.hops_to(to_class);
  std::vector<LinkId> first;
  nearest(tables, hops, from_port, first);
  if (first.size() != 1) {
    const RoutingTables::Shares shares = split(tables, to_class, {{from_port, 1.0}}, true);
    links.insert(links.end(), shares.links.begin(), shares.links.end());
    return append_exits(links, tables, shares.exits, to_port);
  }
  links.push_back({first.front(), 1.0});
  const VertexId first_switch = tables.link(first.front()).to;
  RoutingTables::Shares made;
  const RoutingTables::Shares* shares = tables.known_shares(first_switch, to_class);
  if (shares == nullptr) {
    made = split(tables, to_class, {{first_switch, 1.0}}, false);
    shares = tables.keep_shares(first_switch, to_class, made);
    if (shares == nullptr) shares = &made;
  }
  links.insert(links.end(), shares->links.begin(), shares->links.end());
  append_exits(links, tables, shares->exits, to_port);
}

}  // namespace

std::vector<LinkId> Topology::route(int from_gpu, int to_gpu, std::uint64_t flow) const {
  return route_between(gpu(from_gpu), gpu(to_gpu), flow);
}

std::vector<LinkId> Topology::route_between(VertexId from, VertexId to, std::uint64_t flow) const {
  graph_->require_endpoints(from, to);
  if (from == to) return {};
  const RoutingTables& tables = graph_->tables();
  if (std::vector<LinkId> path = tables.scale_up_path(from, to); !path.empty()) return path;

  Choice choice{graph_->routing != Routing::fixed, graph_->hash_of(from, to, flow), 0};
  if (const std::optional<Ends> ends = find_ends(tables, graph_->journey(from, to, flow))) {
    const std::int32_t to_class = tables.destination_class(ends->to_port);
    if (!choice.hashed) {
      // Shared storage is one destination to the graph and many servers in fact: numbered by its clients.
      const bool to_servers = tables.kind(to) == VertexKind::storage && tables.node(to) < 0;
      const bool by_client = to_servers && tables.destination_class(ends->from_port) >= 0;
      const VertexId port = by_client ? ends->from_port : ends->to_port;
      const VertexId leaf = tables.switches_of(tables.destination_class(port)).front();
      choice.seed = tables.number_on_switch(leaf, port);
      choice.above = static_cast<std::uint64_t>(leaf);
    }
    std::vector<LinkId> path = ends->first;
    walk(tables, NetworkSteps{tables.hops_to(to_class)}, choice, ends->from_port, ends->to_port, path);
    append(path, ends->last);
    return path;
  }
  if (!choice.hashed) choice.seed = choice.above = static_cast<std::uint64_t>(to);
  std::vector<LinkId> path;
  if (!walk(tables, TransitSteps{tables, tables.transit_hops_to(to)}, choice, from, to, path)) {
    throw graph_->no_path(from, to);
  }
  return path;
}

std::vector<RouteLink> Topology::spread(VertexId from, VertexId to, std::uint64_t flow) const {
  std::vector<RouteLink> links;
  if (graph_->routing == Routing::adaptive && from != to) {
    graph_->require_endpoints(from, to);
    const RoutingTables& tables = graph_->tables();
    if (tables.scale_up_path(from, to).empty()) {
      if (const std::optional<Ends> ends = find_ends(tables, graph_->journey(from, to, flow))) {
        append(links, ends->first);
        append_split(links, tables, ends->from_port, ends->to_port);
        append(links, ends->last);
        return links;
      }
    }
  }
  append(links, route_between(from, to, flow));
  return links;
}

Journey Topology::Graph::journey(VertexId from, VertexId to, std::uint64_t flow) const {
  return {from, to, flow, pxn};
}

void Topology::Graph::require_endpoints(VertexId from, VertexId to) const {
  for (const VertexId end : {from, to}) {
    const Vertex& vertex = vertices[checked(end)];
    if (vertex.kind != VertexKind::gpu && vertex.kind != VertexKind::storage) {
      throw std::invalid_argument("flows run between GPUs and storage, not from or to " + vertex.id);
    }
  }
}

std::runtime_error Topology::Graph::no_path(VertexId from, VertexId to) const {
  return std::runtime_error("no path from " + vertices[index_of(from)].id + " to " +
                            vertices[index_of(to)].id);
}

std::uint64_t Topology::Graph::hash_of(VertexId from, VertexId to, std::uint64_t flow) const {
  // GPUs go by their numbers, so that paths do not depend on what else the graph holds.
  const auto number = [this](VertexId end) {
    const std::int32_t gpu = gpu_number[index_of(end)];
    return static_cast<std::uint64_t>(gpu >= 0 ? gpu : static_cast<std::int32_t>(gpus.size()) + end);
  };
  const std::uint64_t hash = mixed_bits(mixed_bits(mixed_bits(number(from)) ^ number(to)) ^ flow);
  return hash_seed == 0 ? hash : mixed_bits(hash ^ mixed_bits(hash_seed));
}

}  // namespace orrery
