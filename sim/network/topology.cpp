#include "sim/network/topology.hpp"

#include <algorithm>
#include <array>
#include <boost/graph/adjacency_list.hpp>
#include <limits>
#include <map>
#include <mutex>
#include <queue>
#include <stdexcept>
#include <unordered_map>

namespace orrery {
namespace {

constexpr std::array<std::string_view, 8> kKindNames = {"gpu",  "nvswitch", "pcie_switch", "nic",
                                                        "leaf", "spine",    "core",        "storage"};

/// Both directions of each link are found from either end; the edge property is the LinkId.
using Adjacency =
    boost::adjacency_list<boost::vecS, boost::vecS, boost::bidirectionalS, boost::no_property, LinkId>;

bool is_network_switch(VertexKind kind) {
  return kind == VertexKind::leaf || kind == VertexKind::spine || kind == VertexKind::core;
}

/// Finaliser of SplitMix64 (Steele, Lea, Flood 2014): every input bit moves every output bit, on any machine
/// alike.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

std::size_t index_of(std::int32_t id) { return static_cast<std::size_t>(id); }

}  // namespace

std::string_view name_of(VertexKind kind) { return kKindNames[static_cast<std::size_t>(kind)]; }

struct Topology::Graph {
  Adjacency adjacency;
  std::vector<Vertex> vertices;
  std::vector<Link> links;
  std::vector<VertexId> gpus;
  std::vector<std::int32_t>
      switch_number;  ///< of each vertex among leaves, spines and cores; -1 for other kinds
  std::int32_t switches = 0;
  std::array<int, kKindNames.size()> counts{};
  std::unordered_map<std::string, VertexId> by_id;  // looked up only, never walked
  Routing routing = Routing::ecmp;
  double payload_efficiency = 1.0;

  /// Hops from every switch, by its number, to one leaf over switches alone; -1 where there is no path.
  using Distances = std::vector<std::int32_t>;
  mutable std::mutex distance_mutex;
  mutable std::map<VertexId, Distances> distance_to;

  /// Hops of a vertex; -1 if it is no switch or has no path.
  std::int32_t hops_from(const Distances& distance, VertexId v) const {
    const std::int32_t number = switch_number[index_of(v)];
    return number < 0 ? -1 : distance[index_of(number)];
  }

  VertexKind kind(VertexId v) const { return vertices[index_of(v)].kind; }

  template <typename Visit>
  void for_each_out(VertexId v, Visit visit) const {
    const auto [begin, end] = boost::out_edges(index_of(v), adjacency);
    for (auto edge = begin; edge != end; ++edge) {
      const LinkId link = adjacency[*edge];
      visit(link, links[index_of(link)].to);
    }
  }

  /// The first link from one vertex to another, or -1.
  LinkId link_between(VertexId from, VertexId to) const {
    const auto [begin, end] = boost::out_edges(index_of(from), adjacency);
    for (auto edge = begin; edge != end; ++edge) {
      if (links[index_of(adjacency[*edge])].to == to) return adjacency[*edge];
    }
    return -1;
  }

  const Distances& distances_to(VertexId leaf) const {
    const std::scoped_lock lock(distance_mutex);
    const auto known = distance_to.find(leaf);
    if (known != distance_to.end()) return known->second;
    Distances distance(index_of(switches), -1);
    distance[index_of(switch_number[index_of(leaf)])] = 0;
    std::queue<VertexId> frontier;
    frontier.push(leaf);
    while (!frontier.empty()) {
      const VertexId v = frontier.front();
      frontier.pop();
      const auto [begin, end] = boost::in_edges(index_of(v), adjacency);
      for (auto edge = begin; edge != end; ++edge) {
        const VertexId u = links[index_of(adjacency[*edge])].from;
        const std::int32_t number = switch_number[index_of(u)];
        if (number < 0 || distance[index_of(number)] >= 0) continue;
        distance[index_of(number)] = hops_from(distance, v) + 1;
        frontier.push(u);
      }
    }
    return distance_to.emplace(leaf, std::move(distance)).first->second;
  }

  std::vector<LinkId> scale_up_path(VertexId from, VertexId to) const {
    if (const LinkId direct = link_between(from, to); direct >= 0) return {direct};
    for (const VertexKind wanted : {VertexKind::nvswitch, VertexKind::pcie_switch}) {
      std::vector<LinkId> path;
      for_each_out(from, [&](LinkId up, VertexId middle) {
        if (!path.empty() || kind(middle) != wanted) return;
        if (const LinkId down = link_between(middle, to); down >= 0) path = {up, down};
      });
      if (!path.empty()) return path;
    }
    return {};
  }

  /// Links from a GPU to one of its NICs (`to_nic`) or back: one link, or two over their PCIe switch.
  std::vector<LinkId> host_path(VertexId gpu, VertexId nic, bool to_nic) const {
    const VertexId from = to_nic ? gpu : nic;
    const VertexId to = to_nic ? nic : gpu;
    if (const LinkId direct = link_between(from, to); direct >= 0) return {direct};
    std::vector<LinkId> path;
    for_each_out(from, [&](LinkId first, VertexId middle) {
      if (!path.empty() || kind(middle) != VertexKind::pcie_switch) return;
      if (const LinkId second = link_between(middle, to); second >= 0) path = {first, second};
    });
    return path;
  }

  /// The leaf of `to_nic` that is nearest to `from_nic`'s leaves, the first of several; -1 if none is
  /// reached.
  VertexId destination_leaf(VertexId from_nic, VertexId to_nic) const {
    VertexId best = -1;
    std::int32_t fewest = 0;
    for_each_out(to_nic, [&](LinkId, VertexId leaf) {
      if (!is_network_switch(kind(leaf)) || link_between(leaf, to_nic) < 0) return;
      const Distances& distance = distances_to(leaf);
      for_each_out(from_nic, [&](LinkId, VertexId first) {
        const std::int32_t hops = hops_from(distance, first);
        if (hops >= 0 && (best < 0 || hops < fewest)) {
          best = leaf;
          fewest = hops;
        }
      });
    });
    return best;
  }

  /// Number of a NIC among those on its leaf, in the order of the leaf's ports.
  std::uint64_t number_on_leaf(VertexId leaf, VertexId nic) const {
    std::uint64_t number = 0;
    bool found = false;
    for_each_out(leaf, [&](LinkId, VertexId to) {
      found = found || to == nic;
      if (!found && kind(to) == VertexKind::nic) ++number;
    });
    return number;
  }
};

Topology::Topology() : graph_(std::make_unique<Graph>()) {}
Topology::~Topology() = default;
Topology::Topology(Topology&&) noexcept = default;
Topology& Topology::operator=(Topology&&) noexcept = default;

VertexId Topology::add_vertex(VertexKind kind, int node, std::string id) {
  const auto vertex = static_cast<VertexId>(graph_->vertices.size());
  if (!graph_->by_id.emplace(id, vertex).second) {
    throw std::invalid_argument("topology has two vertices named " + id);
  }
  boost::add_vertex(graph_->adjacency);
  graph_->switch_number.push_back(is_network_switch(kind) ? graph_->switches++ : -1);
  if (kind == VertexKind::gpu) graph_->gpus.push_back(vertex);
  ++graph_->counts[static_cast<std::size_t>(kind)];
  graph_->vertices.push_back(Vertex{kind, node, std::move(id)});
  const std::scoped_lock lock(graph_->distance_mutex);
  graph_->distance_to.clear();  // they know nothing of this vertex
  return vertex;
}

LinkId Topology::add_link(VertexId from, VertexId to, BytesPerSecond bandwidth, Seconds latency) {
  const auto vertices = static_cast<VertexId>(graph_->vertices.size());
  if (from < 0 || to < 0 || from >= vertices || to >= vertices || from == to) {
    throw std::invalid_argument("a link needs two different vertices of the topology");
  }
  if (!(bandwidth.base() > 0.0) || !(latency.base() >= 0.0)) {
    throw std::invalid_argument("link " + graph_->vertices[index_of(from)].id + " -> " +
                                graph_->vertices[index_of(to)].id +
                                " needs a bandwidth above zero and a latency");
  }
  const auto link = static_cast<LinkId>(graph_->links.size());
  boost::add_edge(index_of(from), index_of(to), link, graph_->adjacency);
  graph_->links.push_back(Link{from, to, bandwidth, latency});
  const std::scoped_lock lock(graph_->distance_mutex);
  graph_->distance_to.clear();  // distances of the graph without this link
  return link;
}

LinkId Topology::add_duplex_link(VertexId a, VertexId b, BytesPerSecond bandwidth, Seconds latency) {
  const LinkId first = add_link(a, b, bandwidth, latency);
  add_link(b, a, bandwidth, latency);
  return first;
}

void Topology::set_routing(Routing routing) {
  if (routing == Routing::adaptive) throw std::invalid_argument("adaptive routing is not modelled");
  graph_->routing = routing;
}
Routing Topology::routing() const { return graph_->routing; }

void Topology::set_payload_efficiency(double efficiency) {
  if (!(efficiency > 0.0) || efficiency > 1.0) {
    throw std::invalid_argument("a payload efficiency lies above 0 and up to 1");
  }
  graph_->payload_efficiency = efficiency;
}
double Topology::payload_efficiency() const { return graph_->payload_efficiency; }

int Topology::gpu_count() const { return static_cast<int>(graph_->gpus.size()); }
VertexId Topology::gpu(int gpu_index) const { return graph_->gpus.at(static_cast<std::size_t>(gpu_index)); }
int Topology::node_of_gpu(int gpu_index) const { return graph_->vertices[index_of(gpu(gpu_index))].node; }
std::span<const Vertex> Topology::vertices() const { return graph_->vertices; }
std::span<const Link> Topology::links() const { return graph_->links; }
int Topology::count(VertexKind kind) const { return graph_->counts[static_cast<std::size_t>(kind)]; }

VertexId Topology::find(std::string_view id) const {
  const auto found = graph_->by_id.find(std::string(id));
  return found == graph_->by_id.end() ? -1 : found->second;
}

std::vector<VertexId> Topology::nics_of_gpu(int gpu_index) const {
  const VertexId own = gpu(gpu_index);
  std::vector<VertexId> nics;
  VertexId pcie = -1;
  graph_->for_each_out(own, [&](LinkId, VertexId to) {
    if (graph_->kind(to) == VertexKind::nic) nics.push_back(to);
    if (graph_->kind(to) == VertexKind::pcie_switch && pcie < 0) pcie = to;
  });
  if (!nics.empty() || pcie < 0) return nics;
  std::size_t gpus = 0;
  std::size_t number = 0;
  graph_->for_each_out(pcie, [&](LinkId, VertexId to) {
    if (to == own) number = gpus;
    if (graph_->kind(to) == VertexKind::gpu) ++gpus;
    if (graph_->kind(to) == VertexKind::nic) nics.push_back(to);
  });
  if (nics.empty() || gpus < 2) return nics;
  const std::size_t begin = number * nics.size() / gpus;
  const std::size_t end = std::max(begin + 1, (number + 1) * nics.size() / gpus);
  return {nics.begin() + static_cast<std::ptrdiff_t>(begin), nics.begin() + static_cast<std::ptrdiff_t>(end)};
}

std::vector<LinkId> Topology::route(int from_gpu, int to_gpu, std::uint64_t flow) const {
  const VertexId from = gpu(from_gpu);
  const VertexId to = gpu(to_gpu);
  if (from == to) return {};
  if (std::vector<LinkId> path = graph_->scale_up_path(from, to); !path.empty()) return path;

  const auto no_path = [&] {
    return std::runtime_error("no path from " + graph_->vertices[index_of(from)].id + " to " +
                              graph_->vertices[index_of(to)].id);
  };
  const std::vector<VertexId> from_nics = nics_of_gpu(from_gpu);
  const std::vector<VertexId> to_nics = nics_of_gpu(to_gpu);
  if (from_nics.empty() || to_nics.empty()) throw no_path();
  const VertexId from_nic = from_nics[flow % from_nics.size()];
  const VertexId to_nic = to_nics[flow % to_nics.size()];

  std::vector<LinkId> path = graph_->host_path(from, from_nic, true);
  const std::vector<LinkId> last = graph_->host_path(to, to_nic, false);
  const VertexId leaf = graph_->destination_leaf(from_nic, to_nic);
  if (path.empty() || last.empty() || leaf < 0) throw no_path();

  const Graph::Distances& distance = graph_->distances_to(leaf);
  const bool hashed = graph_->routing == Routing::ecmp;
  const std::uint64_t seed =
      hashed ? mix(mix(mix(static_cast<std::uint64_t>(from_gpu)) ^ static_cast<std::uint64_t>(to_gpu)) ^ flow)
             : graph_->number_on_leaf(leaf, to_nic);
  const std::size_t first_switch = path.size() + 1;  // links before the choice of the first switch (leaf)
  std::vector<LinkId> choices;
  for (VertexId at = from_nic; at != leaf;) {
    choices.clear();
    std::int32_t fewest = 0;
    graph_->for_each_out(at, [&](LinkId link, VertexId next) {
      const std::int32_t hops = graph_->hops_from(distance, next);
      if (hops < 0 || (!choices.empty() && hops > fewest)) return;
      if (!choices.empty() && hops < fewest) choices.clear();
      fewest = hops;
      choices.push_back(link);
    });
    // Each switch hashes with its own seed; the same seed everywhere would leave most paths unused
    // (polarisation).
    std::uint64_t pick = hashed ? mix(seed ^ mix(static_cast<std::uint64_t>(at))) : seed;
    // Destination modulo k, tier by tier: a leaf spreads by the destination's number on its leaf; above it
    // all that one spine carries has nearly the same number, so the leaf is added.
    if (!hashed && path.size() > first_switch) pick += static_cast<std::uint64_t>(leaf);
    path.push_back(choices[pick % choices.size()]);
    at = graph_->links[index_of(path.back())].to;
  }
  path.push_back(graph_->link_between(leaf, to_nic));
  path.insert(path.end(), last.begin(), last.end());
  return path;
}

Seconds route_latency(const Topology& topology, std::span<const LinkId> route) {
  Seconds sum;
  for (const LinkId link : route) sum += topology.links()[index_of(link)].latency;
  return sum;
}

BytesPerSecond route_bandwidth(const Topology& topology, std::span<const LinkId> route) {
  BytesPerSecond least(std::numeric_limits<double>::infinity());
  for (const LinkId link : route) least = min(least, topology.links()[index_of(link)].bandwidth);
  return least;
}

}  // namespace orrery
