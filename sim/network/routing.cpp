#include <algorithm>
#include <optional>
#include <stdexcept>

#include "sim/network/topology_graph.hpp"

namespace orrery {
namespace {

std::size_t index_of(std::int32_t id) { return static_cast<std::size_t>(id); }

/// Finaliser of SplitMix64 (Steele, Lea, Flood 2014): every input bit moves every output bit, on any machine
/// alike.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

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

/// Whether an endpoint has a way to where the hops lead.
bool reaches(const RoutingTables& tables, const RoutingTables::Hops& hops, VertexId from) {
  const std::span<const LinkId> links = tables.out(from);
  return std::any_of(links.begin(), links.end(),
                     [&](LinkId link) { return hops.from(tables.link(link).to) >= 0; });
}

void append(std::vector<LinkId>& path, const std::vector<LinkId>& more) {
  path.insert(path.end(), more.begin(), more.end());
}

/// The GPU beside `gpu` whose port is nearest to the class, where it is nearer than `hops` (-1: anywhere) and
/// NVLink leads there (PXN).
std::optional<Ends> over_a_neighbour(const RoutingTables& tables, VertexId gpu, std::int32_t to_class,
                                     std::int32_t hops, std::uint64_t flow) {
  std::optional<Ends> best;
  for (const VertexId other : tables.gpus_beside(gpu)) {
    const std::span<const VertexId> ports = tables.ports_of(other);
    if (other == gpu || ports.empty()) continue;
    const VertexId port = ports[flow % ports.size()];
    const std::int32_t there = tables.hops_between(port, to_class);
    if (there < 0 || (hops >= 0 && there >= hops)) continue;
    std::vector<LinkId> path = tables.nvlink_path(gpu, other);
    if (path.empty()) continue;
    append(path, tables.host_path(other, port, true));
    best = Ends{std::move(path), port, -1, {}};
    hops = there;
  }
  return best;
}

/// Ports of a flow that leaves its node; nothing where the network has no path between any.
std::optional<Ends> find_ends(const RoutingTables& tables, VertexId from, VertexId to, std::uint64_t flow,
                              bool pxn) {
  const std::span<const VertexId> to_ports = tables.ports_of(to);
  if (to_ports.empty()) return std::nullopt;
  const VertexId to_port = to_ports[flow % to_ports.size()];
  const std::int32_t to_class = tables.destination_class(to_port);
  if (to_class < 0) return std::nullopt;

  Ends ends;
  std::int32_t hops = -1;
  if (const std::span<const VertexId> from_ports = tables.ports_of(from); !from_ports.empty()) {
    ends.from_port = from_ports[flow % from_ports.size()];
    hops = tables.hops_between(ends.from_port, to_class);
    ends.first = tables.host_path(from, ends.from_port, true);
  }
  if (pxn && hops != 0 && tables.kind(from) == VertexKind::gpu) {
    if (auto nearer = over_a_neighbour(tables, from, to_class, hops, flow)) {
      ends = std::move(*nearer);
      hops = 0;
    }
  }
  ends.to_port = to_port;
  ends.last = tables.host_path(to, to_port, false);
  const bool joined =
      (ends.from_port == from || !ends.first.empty()) && (to_port == to || !ends.last.empty());
  if (hops < 0 || !joined) return std::nullopt;
  return ends;
}

/// One of several next hops of equal distance from `at`, the `walked`-th vertex of the walk.
LinkId choose(const RoutingTables& tables, const Choice& choice, VertexId at, std::size_t walked,
              const std::vector<LinkId>& choices) {
  // Each switch hashes with its own seed; the same seed everywhere would leave most paths unused
  // (polarisation).
  if (choice.hashed) {
    return choices[mix(choice.seed ^ mix(static_cast<std::uint64_t>(at))) % choices.size()];
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

/// Next hops from a vertex that are nearest to where the hops lead.
void nearest(const RoutingTables& tables, const RoutingTables::Hops& hops, VertexId at,
             std::vector<LinkId>& choices) {
  choices.clear();
  std::int32_t fewest = 0;
  for (const LinkId link : tables.out(at)) {
    const std::int32_t there = hops.from(tables.link(link).to);
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

/// Appends a shortest path, chosen hop by hop, from `at` to `to`, whose neighbours have zero hops.
void walk(const RoutingTables& tables, const RoutingTables::Hops& hops, const Choice& choice, VertexId at,
          VertexId to, std::vector<LinkId>& path) {
  std::vector<LinkId> choices;
  for (std::size_t walked = 0; at != to; ++walked) {
    if (hops.from(at) == 0 && walked > 0) {
      between(tables, at, to, choices);
      path.push_back(choices.size() == 1 ? choices.front() : choose(tables, choice, at, walked, choices));
    } else {
      nearest(tables, hops, at, choices);
      path.push_back(choose(tables, choice, at, walked, choices));
    }
    at = tables.link(path.back()).to;
  }
}

/// Shares of a flow of 1 that starts with `arrived` on vertices equally far from where the hops lead, split
/// at each over its nearest next hops in proportion to their bandwidth, down to zero hops. Links in order of
/// distance from the start.
RoutingTables::Shares split(const RoutingTables& tables, const RoutingTables::Hops& hops,
                            std::vector<std::pair<VertexId, double>> arrived, bool on_ports) {
  RoutingTables::Shares shares;
  std::vector<LinkId> choices;
  std::vector<std::pair<VertexId, double>> next;
  while (on_ports || (!arrived.empty() && hops.from(arrived.front().first) != 0)) {
    next.clear();
    for (const auto& [at, share] : arrived) {
      nearest(tables, hops, at, choices);
      double total = 0.0;
      for (const LinkId link : choices) total += tables.link(link).bandwidth.base();
      for (const LinkId link : choices) {
        const double part = share * (tables.link(link).bandwidth.base() / total);
        shares.links.push_back({link, part});
        next.emplace_back(tables.link(link).to, part);
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
    const RoutingTables::Shares shares = split(tables, hops, {{from_port, 1.0}}, true);
    links.insert(links.end(), shares.links.begin(), shares.links.end());
    return append_exits(links, tables, shares.exits, to_port);
  }
  links.push_back({first.front(), 1.0});
  const VertexId first_switch = tables.link(first.front()).to;
  RoutingTables::Shares made;
  const RoutingTables::Shares* shares = tables.known_shares(first_switch, to_class);
  if (shares == nullptr) {
    made = split(tables, hops, {{first_switch, 1.0}}, false);
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
  if (const std::optional<Ends> ends = find_ends(tables, from, to, flow, graph_->pxn)) {
    const std::int32_t to_class = tables.destination_class(ends->to_port);
    if (!choice.hashed) {
      const VertexId leaf = tables.switches_of(to_class).front();
      choice.seed = tables.number_on_switch(leaf, ends->to_port);
      choice.above = static_cast<std::uint64_t>(leaf);
    }
    std::vector<LinkId> path = ends->first;
    walk(tables, tables.hops_to(to_class), choice, ends->from_port, ends->to_port, path);
    append(path, ends->last);
    return path;
  }
  const RoutingTables::Hops& hops = tables.transit_hops_to(to);
  if (!reaches(tables, hops, from)) throw graph_->no_path(from, to);
  if (!choice.hashed) choice.seed = choice.above = static_cast<std::uint64_t>(to);
  std::vector<LinkId> path;
  walk(tables, hops, choice, from, to, path);
  return path;
}

std::vector<RouteLink> Topology::spread(VertexId from, VertexId to, std::uint64_t flow) const {
  std::vector<RouteLink> links;
  if (graph_->routing != Routing::adaptive) {
    append(links, route_between(from, to, flow));
    return links;
  }
  graph_->require_endpoints(from, to);
  if (from == to) return links;
  const RoutingTables& tables = graph_->tables();
  if (const std::vector<LinkId> path = tables.scale_up_path(from, to); !path.empty()) {
    append(links, path);
  } else if (const std::optional<Ends> ends = find_ends(tables, from, to, flow, graph_->pxn)) {
    append(links, ends->first);
    append_split(links, tables, ends->from_port, ends->to_port);
    append(links, ends->last);
  } else {
    const RoutingTables::Hops& hops = tables.transit_hops_to(to);
    if (!reaches(tables, hops, from)) throw graph_->no_path(from, to);
    RoutingTables::Shares shares = split(tables, hops, {{from, 1.0}}, true);
    links = std::move(shares.links);
    append_exits(links, tables, shares.exits, to);
  }
  return links;
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
  const std::uint64_t hash = mix(mix(mix(number(from)) ^ number(to)) ^ flow);
  return hash_seed == 0 ? hash : mix(hash ^ mix(hash_seed));
}

}  // namespace orrery
