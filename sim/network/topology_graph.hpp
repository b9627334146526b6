#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "sim/network/routing_tables.hpp"
#include "sim/network/topology.hpp"

namespace orrery {

inline constexpr std::size_t kVertexKinds = 8;

/// A flow that leaves its node.
struct Journey {
  VertexId from;
  VertexId to;
  std::uint64_t number;
  bool pxn;
};

/// What a Topology holds. Private to sim/network: the files of Topology's members include it.
struct Topology::Graph {
  std::vector<Vertex> vertices;
  std::vector<Link> links;
  std::vector<bool> failed_links, failed_vertices;
  std::vector<VertexId> gpus;
  std::vector<std::int32_t> gpu_number;  ///< of each vertex; -1 for other kinds
  std::array<int, kVertexKinds> counts{};
  std::unordered_map<std::string, VertexId> by_id;  // looked up only, never walked
  Routing routing = Routing::ecmp;
  std::uint64_t hash_seed = 0;
  bool pxn = false;
  double payload_efficiency = 1.0;
  double spray_efficiency = 1.0;
  Seconds ramp;

  /// Tables of the graph as it is now, made at the first question after a change.
  const RoutingTables& tables() const;
  /// Call after every change of vertices, links or failures.
  void forget_tables() {
    current.store(nullptr);
    made.reset();
  }

  std::size_t checked(VertexId vertex) const;
  std::size_t checked_link(LinkId link) const;
  /// @throws std::invalid_argument unless both are GPUs or storage
  void require_endpoints(VertexId from, VertexId to) const;
  std::runtime_error no_path(VertexId from, VertexId to) const;
  std::uint64_t hash_of(VertexId from, VertexId to, std::uint64_t flow) const;
  Journey journey(VertexId from, VertexId to, std::uint64_t flow) const;

 private:
  mutable std::mutex mutex;
  mutable std::unique_ptr<const RoutingTables> made;
  mutable std::atomic<const RoutingTables*> current{nullptr};
};

}  // namespace orrery
