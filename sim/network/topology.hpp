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

/// The cluster as a graph (Boost.Graph inside the .cpp): GPUs, switches, NICs and the directed links between
/// them. GPUs are numbered node by node, in the order in which they were added.
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
  /// @throws std::invalid_argument for adaptive routing, which is not modelled
  void set_routing(Routing routing);
  Routing routing() const;
  /// Share of the bandwidth of cables between NICs and switches that carries payload (headers and framing
  /// take the rest); 1 unless set. Links keep their line rate. @throws std::invalid_argument unless in (0, 1]
  void set_payload_efficiency(double efficiency);
  double payload_efficiency() const;

  int gpu_count() const;
  VertexId gpu(int gpu_index) const;
  int node_of_gpu(int gpu_index) const;
  std::span<const Vertex> vertices() const;
  std::span<const Link> links() const;
  /// Number of vertices of a kind.
  int count(VertexKind kind) const;
  /// @returns -1 if there is none
  VertexId find(std::string_view id) const;
  /// NICs that a GPU sends through, in order: its share of those on its PCIe switch. Several only where the
  /// node has more NICs than GPUs: route() takes the one numbered flow mod size, so flows 0, 1, ... use them
  /// all.
  std::vector<VertexId> nics_of_gpu(int gpu_index) const;

  /// Links of the path from one GPU to another, in order; none to itself. GPUs never forward traffic of
  /// others. Two GPUs with a direct link use it; two on one NVSwitch (else one PCIe switch) go through that;
  /// otherwise the path leaves through the GPU's own NIC and takes one of the shortest paths of switches to
  /// the other's own NIC. Among these, ECMP picks at each switch by a hash of (source, destination, flow);
  /// fixed routing by the destination's number on its leaf (as the D-mod-K tables of InfiniBand fat trees
  /// do), whatever the source and the flow. Deterministic and thread-safe. Cost: one search over the switches
  /// for each leaf that is ever a destination, then the ports of the switches passed. @throws
  /// std::runtime_error if there is no path, naming both GPUs
  std::vector<LinkId> route(int from_gpu, int to_gpu, std::uint64_t flow = 0) const;

 private:
  struct Graph;
  std::unique_ptr<Graph> graph_;
};

/// Sum of link latencies along a route.
Seconds route_latency(const Topology& topology, std::span<const LinkId> route);
/// Smallest link bandwidth along a route.
BytesPerSecond route_bandwidth(const Topology& topology, std::span<const LinkId> route);

}  // namespace orrery
