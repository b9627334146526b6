#include "sim/collectives/library_formulas.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "sim/collectives/collective_model.hpp"
#include "sim/collectives/tree_shares.hpp"

namespace orrery {
namespace {

void take_faster(LibraryTime& best, double latency, double transfer, CollectiveAlgorithm algorithm,
                 WireProtocol protocol) {
  if (latency + transfer < best.total) best = {latency + transfer, transfer, algorithm, protocol};
}

void try_rings(LibraryTime& best, const LibraryConstants& library, CollectiveOp op, double payload, int ranks,
               const DomainLinks& links) {
  const double bus = library_ring_bandwidth(library, links);
  const PerProtocol& hop = links.pci ? library.pci_ring_hop : library.nvlink_ring_hop;
  const double steps = op == CollectiveOp::all_reduce ? 2.0 * (ranks - 1) : ranks - 1.0;
  const double wire = payload * bus_factor(op, ranks);
  const double limits[] = {library.ll_limit, library.ring_channels * library.ring_ll128_per_channel,
                           std::numeric_limits<double>::infinity()};
  for (int p = 0; p < kWireProtocols; ++p) {
    const auto i = static_cast<size_t>(p);
    const double bandwidth = std::min(library.ring_share[i] * bus, limits[i]);
    take_faster(best, library.ring_base[i] + steps * hop[i], wire / bandwidth, CollectiveAlgorithm::ring,
                static_cast<WireProtocol>(p));
  }
}

void try_trees(LibraryTime& best, const LibraryConstants& library, double payload, int ranks,
               const DomainLinks& links) {
  const double bus = library_ring_bandwidth(library, links);
  const PerProtocol& hop = links.pci ? library.pci_tree_hop : library.nvlink_tree_hop;
  const double any = std::min(kTreeShare * bus, library.ring_channels * library.tree_per_channel);
  const double bandwidths[] = {
      std::min({any, kTreeLlShare * bus, library.ll_limit}) * tree_size_share(library.tree_ll_share, payload),
      std::min({any, kTreeLl128ShareOneNode * bus, library.ring_channels * library.tree_ll128_per_channel}) *
          tree_size_share(library.tree_ll128_share, payload),
      any * tree_size_share(library.tree_simple_share, payload)};
  for (int p = 0; p < kWireProtocols; ++p) {
    const auto i = static_cast<size_t>(p);
    const double latency = library.tree_base[i] + 2.0 * (ranks - 1) * hop[i];
    // A tree moves every byte up and down: algorithm bandwidth is half of its bus bandwidth.
    take_faster(best, latency, 2.0 * payload / (library.tree_pattern_share * bandwidths[i]),
                CollectiveAlgorithm::tree, static_cast<WireProtocol>(p));
  }
}

void try_point_to_point(LibraryTime& best, const LibraryConstants& library, CollectiveOp op, double payload,
                        int ranks, const DomainLinks& links) {
  const double wire = payload * bus_factor(op, ranks);
  const double rate = links.bandwidth * library.pair_share;
  take_faster(best, library.ring_base[0], wire / std::min(library.ring_share[0] * rate, library.ll_limit),
              CollectiveAlgorithm::point_to_point, WireProtocol::ll);
  take_faster(best, library.ring_base[2], wire / rate, CollectiveAlgorithm::point_to_point,
              WireProtocol::simple);
}

}  // namespace

std::string_view name_of(CollectiveAlgorithm algorithm) {
  switch (algorithm) {
    case CollectiveAlgorithm::ring:
      return "ring";
    case CollectiveAlgorithm::tree:
      return "tree";
    case CollectiveAlgorithm::nvls:
      return "nvls";
    case CollectiveAlgorithm::point_to_point:
      return "p2p";
  }
  return "ring";
}

std::string_view name_of(WireProtocol protocol) {
  switch (protocol) {
    case WireProtocol::ll:
      return "ll";
    case WireProtocol::ll128:
      return "ll128";
    case WireProtocol::simple:
      return "simple";
  }
  return "simple";
}

double tree_size_share(const std::array<double, 23>& table, double payload) {
  const double doublings = std::log2(payload / 64.0);
  if (doublings <= 0.0) return table.front();
  const auto at = static_cast<size_t>(doublings);
  if (at >= table.size()) return 1.0;
  const double next = at + 1 < table.size() ? table[at + 1] : 1.0;
  return table[at] + (doublings - static_cast<double>(at)) * (next - table[at]);
}

double library_ring_bandwidth(const LibraryConstants& library, const DomainLinks& links) {
  return links.bandwidth * library.usable_link_share;
}

LibraryTime library_time(const LibraryConstants& library, CollectiveOp op, double payload, int ranks,
                         const DomainLinks& links) {
  LibraryTime best;
  best.total = std::numeric_limits<double>::infinity();
  if (op == CollectiveOp::all_to_all || op == CollectiveOp::send_receive) {
    try_point_to_point(best, library, op, payload, ranks, links);
    return best;
  }
  try_rings(best, library, op, payload, ranks, links);
  if (op != CollectiveOp::all_reduce) return best;
  try_trees(best, library, payload, ranks, links);
  if (links.in_network_reduction && library.nvls_channels > 0 && ranks >= library.nvls_from_ranks) {
    const double wire = payload * bus_factor(op, ranks);
    take_faster(best, library.nvls_hop, wire / (library.nvls_share * links.bandwidth),
                CollectiveAlgorithm::nvls, WireProtocol::simple);
  }
  return best;
}

}  // namespace orrery
