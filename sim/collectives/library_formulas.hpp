#pragma once

#include "sim/collectives/collective_constants.hpp"

namespace orrery {

enum class CollectiveAlgorithm { ring, tree, nvls, point_to_point };
std::string_view name_of(CollectiveAlgorithm algorithm);
std::string_view name_of(WireProtocol protocol);

/// A time with the way the library takes, in plain doubles (s).
struct LibraryTime {
  double total = 0;
  double transfer = 0;
  CollectiveAlgorithm algorithm = CollectiveAlgorithm::ring;
  WireProtocol protocol = WireProtocol::simple;
};

/// The links inside a domain as the formulas see them.
struct DomainLinks {
  double bandwidth = 0;  ///< B/s per GPU and direction, as the vendor counts
  bool pci = false;
  bool in_network_reduction = false;
};

/// NCCL's own estimate inside one node: the smallest time among its algorithms and protocols,
///     t = base + hops x hop latency + payload x wire factor / bandwidth(algorithm, protocol)
/// with the constants of src/graph/tuning.cc. Its correction of tree bandwidths by size is interpolated here
/// between the doublings, so that a longer payload is never faster. Not a measurement: on Hopper within 5 %
/// for long messages, 5 to 45 % too fast for short ones (calibration/collectives/README.md).
/// @param payload bytes > 0   @param ranks >= 2
LibraryTime library_time(const LibraryConstants& library, CollectiveOp op, double payload, int ranks,
                         const DomainLinks& links);

/// Share of a tree's bandwidth at this size: table by doublings from 64 bytes on, 1 beyond it. The library
/// takes the entry of the last doubling; linear between them here, so that a longer payload is never faster.
double tree_size_share(const std::array<double, 23>& table, double payload);

/// Bus bandwidth (B/s) of the library's Simple ring inside a domain.
double library_ring_bandwidth(const LibraryConstants& library, const DomainLinks& links);

}  // namespace orrery
