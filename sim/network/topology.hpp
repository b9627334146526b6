#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/quantity.hpp"

namespace orrery {

enum class VertexKind { gpu, nvswitch, pcie_switch, nic, leaf, spine, core, storage };
std::string_view name_of(VertexKind kind);
/// True for the switches of the network between nodes: leaves, spines and cores.
constexpr bool is_network_switch(VertexKind kind) {
  return kind == VertexKind::leaf || kind == VertexKind::spine || kind == VertexKind::core;
}

using VertexId = std::int32_t;
using LinkId = std::int32_t;

struct Vertex {
  VertexKind kind;
  int node;        ///< the node (server or tray) it stands in; -1 for switches outside nodes
  std::string id;  ///< unique: "node3/gpu5", "leaf0", "spine2"; what `failed_links` and reports name
};

/// One direction of a cable or bus.
struct Link {
  VertexId from;
  VertexId to;
  BytesPerSecond bandwidth;
  Seconds latency;
};

enum class Routing { ecmp, adaptive, fixed };

/// A link of a route and the share of the flow's bytes that crosses it: 1 on a single path, less where
/// adaptive routing sprays the flow over several.
struct RouteLink {
  LinkId link;
  double share;
};

/// The cluster as a graph: GPUs, switches, NICs and the directed links between them, in flat arrays
/// (Boost.Graph serves the max-flow of cuts.cpp alone). GPUs are numbered node by node, in the order in which
/// they were added.
class Topology {
 public:
  Topology();
  ~Topology();
  Topology(Topology&&) noexcept;
  Topology& operator=(Topology&&) noexcept;

  VertexId add_vertex(VertexKind kind, int node, std::string id);
  /// A directed link. @throws std::invalid_argument for an unknown vertex, a self loop, or a bandwidth not
  /// above zero
  LinkId add_link(VertexId from, VertexId to, BytesPerSecond bandwidth, Seconds latency);
  /// Both directions; returns the first, the reverse is the next id.
  LinkId add_duplex_link(VertexId a, VertexId b, BytesPerSecond bandwidth, Seconds latency);
  void set_routing(Routing routing);
  Routing routing() const;
  /// Mixed into the ECMP hash: another seed is another draw of the same fabric. 0 unless set.
  void set_hash_seed(std::uint64_t seed);
  std::uint64_t hash_seed() const;
  /// PXN (NCCL 2.12): a message to a GPU whose NIC is nearer to another NIC of the sender's node than to the
  /// sender's own crosses NVLink to the GPU that owns that NIC and leaves there, so that it stays on its
  /// rail. Off unless set.
  void set_pxn(bool pxn);
  bool pxn() const;
  /// Share of the bandwidth of cables between NICs and switches that carries payload (headers and framing
  /// take the rest); 1 unless set. Links keep their line rate. @throws std::invalid_argument unless in (0, 1]
  void set_payload_efficiency(double efficiency);
  double payload_efficiency() const;
  /// Share of a cable that one sprayed flow reaches while packets of others share its switches; 1 unless set.
  /// Used by the fluid engine. @throws std::invalid_argument unless in (0, 1]
  void set_spray_efficiency(double efficiency);
  double spray_efficiency() const;
  /// Time that a flow loses while its transport opens its window; 0 unless set. Used by the fluid engine.
  /// @throws std::invalid_argument if negative
  void set_ramp(Seconds ramp);
  Seconds ramp() const;

  /// What no longer carries traffic: a link (one direction), or all links of a vertex. Routes go round it
  /// where there is a way. @throws std::invalid_argument for an unknown id
  void fail_link(LinkId link);
  void fail_vertex(VertexId vertex);
  bool usable(LinkId link) const;
  bool failed(VertexId vertex) const;
  /// A degraded link. @throws std::invalid_argument for an unknown id or a bandwidth not above zero
  void set_bandwidth(LinkId link, BytesPerSecond bandwidth);
  int gpu_count() const;
  VertexId gpu(int gpu_index) const;
  int node_of_gpu(int gpu_index) const;
  std::span<const Vertex> vertices() const;
  std::span<const Link> links() const;
  /// Number of vertices of a kind.
  int count(VertexKind kind) const;
  /// @returns -1 if there is none
  VertexId find(std::string_view id) const;
  /// -1 unless the vertex is a GPU.
  int gpu_index(VertexId vertex) const;
  /// Links out of a vertex or into it that have not failed, in the order in which they were added.
  std::span<const LinkId> links_from(VertexId vertex) const;
  std::span<const LinkId> links_to(VertexId vertex) const;
  /// Where a GPU or storage vertex meets the network, in order: the NICs in use, or itself where it is cabled
  /// to a switch; none without either. Flow f uses the one numbered f mod size.
  std::span<const VertexId> ports_of(VertexId endpoint) const;
  /// NICs that a GPU sends through, in order: its share of those on its PCIe switch; where all of these have
  /// failed, the others there. Several only where the node has more NICs than GPUs: route() takes the one
  /// numbered flow mod size, so flows 0, 1, ... use them all.
  std::vector<VertexId> nics_of_gpu(int gpu_index) const;
  /// Its share alone, as built: those that have failed too, never the others.
  std::span<const VertexId> own_nics_of_gpu(int gpu_index) const;

  /// Links of the path from one GPU to another, in order; none to itself. GPUs never forward traffic of
  /// others, save for PXN. Two GPUs with a direct link use it; two on one NVSwitch (else one PCIe switch) go
  /// through that, two of one node over its switches alone where these join them; otherwise the path leaves
  /// through the GPU's own NIC (or the GPU itself where it is cabled to a switch) and takes one of the
  /// shortest paths of switches to the other's own NIC. An end whose own NICs have no path takes another NIC
  /// of its node that it reaches over the node's own switches, whoever is at the other end: GPUs without NICs
  /// are dealt evenly over those that are left, the nearest first (flow 0; the next flow takes the next NIC).
  /// Where no NICs do, the shortest path over any switches and NICs; but what has entered the switches of the
  /// network leaves them once, so no third node forwards between them. Among paths of equal length, ECMP
  /// picks at each switch by a hash of (source, destination, flow); fixed routing by the destination's number
  /// on its leaf (as the D-mod-K tables of InfiniBand fat trees do), on a torus dimension by dimension,
  /// whatever the source and the flow. Adaptive routing: the path that ECMP takes; what it sprays is
  /// spread(). Deterministic and thread-safe. Cost: one search over the switches for each leaf that is ever a
  /// destination, then the ports of the switches passed. @throws std::runtime_error if there is no path,
  /// naming both GPUs
  std::vector<LinkId> route(int from_gpu, int to_gpu, std::uint64_t flow = 0) const;
  /// The same between any two of GPUs and storage vertices. @throws std::invalid_argument for other vertices
  std::vector<LinkId> route_between(VertexId from, VertexId to, std::uint64_t flow = 0) const;
  /// Links that a flow between two endpoints (GPUs or storage vertices) loads, each with its share of the
  /// bytes, in order of distance from the source. ECMP and fixed routing: the links of route(), share 1 each.
  /// Adaptive: the flow is split at every switch between its two NICs over the ports of the shortest paths by
  /// their bandwidth and what is left behind them (back-pressure), what per-packet spraying does to a long
  /// flow; inside nodes, and where no NICs do, it is a single path. @throws std::runtime_error if there is no
  /// path
  std::vector<RouteLink> spread(VertexId from, VertexId to, std::uint64_t flow = 0) const;

 private:
  struct Graph;
  std::unique_ptr<Graph> graph_;
};

/// Sum of link latencies along a route.
Seconds route_latency(const Topology& topology, std::span<const LinkId> route);
/// Smallest link bandwidth along a route.
BytesPerSecond route_bandwidth(const Topology& topology, std::span<const LinkId> route);

}  // namespace orrery
