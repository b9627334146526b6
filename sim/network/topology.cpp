#include "sim/network/topology.hpp"

#include <limits>
#include <stdexcept>

#include "sim/base/index.hpp"
#include "sim/network/topology_graph.hpp"

namespace orrery {
namespace {

constexpr std::array<std::string_view, kVertexKinds> kKindNames = {
    "gpu", "nvswitch", "pcie_switch", "nic", "leaf", "spine", "core", "storage"};

}  // namespace

std::string_view name_of(VertexKind kind) { return kKindNames[static_cast<std::size_t>(kind)]; }

const RoutingTables& Topology::Graph::tables() const {
  if (const RoutingTables* ready = current.load(std::memory_order_acquire)) return *ready;
  const std::scoped_lock lock(mutex);
  if (!made) made = std::make_unique<const RoutingTables>(vertices, links, failed_links);
  current.store(made.get(), std::memory_order_release);
  return *made;
}

std::size_t Topology::Graph::checked(VertexId vertex) const {
  if (vertex < 0 || index_of(vertex) >= vertices.size()) {
    throw std::invalid_argument("topology has no vertex " + std::to_string(vertex));
  }
  return index_of(vertex);
}

std::size_t Topology::Graph::checked_link(LinkId link) const {
  if (link < 0 || index_of(link) >= links.size()) {
    throw std::invalid_argument("topology has no link " + std::to_string(link));
  }
  return index_of(link);
}

Topology::Topology() : graph_(std::make_unique<Graph>()) {}
Topology::~Topology() = default;
Topology::Topology(Topology&&) noexcept = default;
Topology& Topology::operator=(Topology&&) noexcept = default;

VertexId Topology::add_vertex(VertexKind kind, int node, std::string id) {
  const auto vertex = static_cast<VertexId>(graph_->vertices.size());
  if (!graph_->by_id.emplace(id, vertex).second) {
    throw std::invalid_argument("topology has two vertices named " + id);
  }
  graph_->gpu_number.push_back(kind == VertexKind::gpu ? static_cast<std::int32_t>(graph_->gpus.size()) : -1);
  if (kind == VertexKind::gpu) graph_->gpus.push_back(vertex);
  ++graph_->counts[static_cast<std::size_t>(kind)];
  graph_->vertices.push_back(Vertex{kind, node, std::move(id)});
  graph_->failed_vertices.push_back(false);
  graph_->forget_tables();
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
  graph_->links.push_back(Link{from, to, bandwidth, latency});
  graph_->failed_links.push_back(graph_->failed_vertices[index_of(from)] ||
                                 graph_->failed_vertices[index_of(to)]);
  graph_->forget_tables();
  return link;
}

LinkId Topology::add_duplex_link(VertexId a, VertexId b, BytesPerSecond bandwidth, Seconds latency) {
  const LinkId first = add_link(a, b, bandwidth, latency);
  add_link(b, a, bandwidth, latency);
  return first;
}

void Topology::set_routing(Routing routing) { graph_->routing = routing; }
Routing Topology::routing() const { return graph_->routing; }
void Topology::set_hash_seed(std::uint64_t seed) { graph_->hash_seed = seed; }
std::uint64_t Topology::hash_seed() const { return graph_->hash_seed; }
void Topology::set_pxn(bool pxn) { graph_->pxn = pxn; }
bool Topology::pxn() const { return graph_->pxn; }

void Topology::set_payload_efficiency(double efficiency) {
  if (!(efficiency > 0.0) || efficiency > 1.0) {
    throw std::invalid_argument("a payload efficiency lies above 0 and up to 1");
  }
  graph_->payload_efficiency = efficiency;
}
double Topology::payload_efficiency() const { return graph_->payload_efficiency; }

void Topology::set_spray_efficiency(double efficiency) {
  if (!(efficiency > 0.0) || efficiency > 1.0) {
    throw std::invalid_argument("a spray efficiency lies above 0 and up to 1");
  }
  graph_->spray_efficiency = efficiency;
}
double Topology::spray_efficiency() const { return graph_->spray_efficiency; }

void Topology::set_ramp(Seconds ramp) {
  if (!(ramp.base() >= 0.0)) throw std::invalid_argument("a ramp is not negative");
  graph_->ramp = ramp;
}
Seconds Topology::ramp() const { return graph_->ramp; }

void Topology::fail_link(LinkId link) {
  graph_->failed_links[graph_->checked_link(link)] = true;
  graph_->forget_tables();
}

void Topology::fail_vertex(VertexId vertex) {
  graph_->failed_vertices[graph_->checked(vertex)] = true;
  for (std::size_t i = 0; i < graph_->links.size(); ++i) {
    const Link& link = graph_->links[i];
    if (link.from == vertex || link.to == vertex) graph_->failed_links[i] = true;
  }
  graph_->forget_tables();
}

bool Topology::usable(LinkId link) const { return !graph_->failed_links[graph_->checked_link(link)]; }
bool Topology::failed(VertexId vertex) const { return graph_->failed_vertices[graph_->checked(vertex)]; }

void Topology::set_bandwidth(LinkId link, BytesPerSecond bandwidth) {
  if (!(bandwidth.base() > 0.0)) throw std::invalid_argument("a link needs a bandwidth above zero");
  graph_->links[graph_->checked_link(link)].bandwidth = bandwidth;
  graph_->forget_tables();  // shares of adaptive routing follow the bandwidths
}

int Topology::gpu_count() const { return static_cast<int>(graph_->gpus.size()); }
VertexId Topology::gpu(int gpu_index) const { return graph_->gpus.at(static_cast<std::size_t>(gpu_index)); }
int Topology::gpu_index(VertexId vertex) const { return graph_->gpu_number[graph_->checked(vertex)]; }
int Topology::node_of_gpu(int gpu_index) const { return graph_->vertices[index_of(gpu(gpu_index))].node; }
std::span<const Vertex> Topology::vertices() const { return graph_->vertices; }
std::span<const Link> Topology::links() const { return graph_->links; }
int Topology::count(VertexKind kind) const { return graph_->counts[static_cast<std::size_t>(kind)]; }

VertexId Topology::find(std::string_view id) const {
  const auto found = graph_->by_id.find(std::string(id));
  return found == graph_->by_id.end() ? -1 : found->second;
}

std::span<const LinkId> Topology::links_from(VertexId vertex) const {
  graph_->checked(vertex);
  return graph_->tables().out(vertex);
}
std::span<const LinkId> Topology::links_to(VertexId vertex) const {
  graph_->checked(vertex);
  return graph_->tables().in(vertex);
}

std::span<const VertexId> Topology::ports_of(VertexId endpoint) const {
  graph_->checked(endpoint);
  return graph_->tables().ports_of(endpoint);
}

std::vector<VertexId> Topology::nics_of_gpu(int gpu_index) const {
  return graph_->tables().nics_of(gpu(gpu_index));
}

std::span<const VertexId> Topology::own_nics_of_gpu(int gpu_index) const {
  return graph_->tables().own_nics_of(gpu(gpu_index));
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
