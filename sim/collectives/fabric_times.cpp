#include "sim/collectives/fabric_times.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "sim/collectives/closed_forms.hpp"
#include "sim/collectives/collective_model.hpp"

namespace orrery {
namespace {

/// Of the payload, what each domain sends into the fabric in two complementary trees.
double tree_wire_factor(int domains) {
  if (domains == 2) return 1.0;
  return domains == 3 ? 1.5 : 2.0;
}

/// How chunks fill a pipeline whose steps take `latency` and whose bytes take `transfer`: at their best size
/// they cost a share of the geometric mean; once they have grown to the buffer's size, a number of latencies.
/// Never falling in either.
struct Fill {
  double share;
  double chunks;
  double time(double latency, double transfer) const {
    const double most = chunks * latency;
    const double grown = most > 0.0 ? most * transfer / (transfer + most) : 0.0;
    return share * std::sqrt(latency * transfer) + grown;
  }
};

void take_faster(LibraryTime& best, double start, double latency, double transfer, Fill fill,
                 CollectiveAlgorithm algorithm, WireProtocol protocol) {
  const double total = start + latency + transfer + fill.time(latency, transfer);
  if (total < best.total) best = {total, transfer, algorithm, protocol};
}

/// Old hosts work more slowly (LibraryConstants::host_age): at the start of a collective and for each peer.
double host_slowness(const FabricConstants& fabric, const LibraryConstants& library) {
  return library.host_age == 0.0 ? 1.0 : std::pow(fabric.old_host_factor, library.host_age);
}
double start_of(const FabricConstants& fabric, const LibraryConstants& library) {
  return fabric.start * host_slowness(fabric, library);
}

LibraryTime send_receive_across(const FabricConstants& fabric, const LibraryConstants& library,
                                double payload, const GroupShape& shape) {
  const double efficiency = shape.domains == 2 ? fabric.pair_efficiency : fabric.shift_efficiency;
  const double transfer = payload / (shape.scale_out_per_rank.base() * efficiency);
  const double start = start_of(fabric, library);
  LibraryTime best;
  best.total = std::numeric_limits<double>::infinity();
  for (const WireProtocol protocol :
       {WireProtocol::ll, WireProtocol::simple}) {  // NCCL sends in these two only
    const auto i = static_cast<size_t>(protocol);
    const double latency = library.ring_base[i] + fabric.ring_hop_factor * library.network_ring_hop[i];
    take_faster(best, start, latency, transfer / library.ring_share[i], {0.0, 0.0},
                CollectiveAlgorithm::point_to_point, protocol);
  }
  return best;
}

LibraryTime all_to_all_across(const FabricConstants& fabric, const LibraryConstants& library, double payload,
                              const GroupShape& shape, const InnerRates& inner) {
  const double rate = shape.exchange_rate().base();
  LibraryTime time;
  time.algorithm = CollectiveAlgorithm::point_to_point;
  const double n = shape.ranks;
  const double r = shape.ranks_per_domain;
  const double peers = n - shape.narrowest_domain();  // outside the domain of those who have most
  const double racks = shape.nodes > shape.domains ? fabric.rack_all_to_all_efficiency : 1.0;
  const double spread = shape.domains > 2 ? std::pow(0.5 * shape.domains, fabric.all_to_all_node_power) : 1.0;
  const double outside = payload * peers / n / (rate * fabric.all_to_all_efficiency * racks) * spread;
  const double inside = r > 1.0 ? payload * (r - 1.0) / n / inner.all_to_all_bus : 0.0;
  time.transfer = std::max(outside, inside);
  if (shape.scale_up == ScaleUpKind::pcie && r > 1.0) {
    // One link carries what stays in the node and what leaves it.
    time.transfer = std::max(time.transfer, payload * (n - 1.0) / n / inner.all_to_all_bus);
  }
  const double host = (fabric.start + peers * fabric.peer_latency) * host_slowness(fabric, library);
  time.total = host + time.transfer + fabric.all_to_all_fill * std::sqrt(host * time.transfer);
  return time;
}

}  // namespace

LibraryTime fabric_time(const FabricConstants& fabric, const LibraryConstants& library, CollectiveOp op,
                        double payload, const GroupShape& shape, const InnerRates& inner) {
  if (op == CollectiveOp::all_to_all) return all_to_all_across(fabric, library, payload, shape, inner);
  if (op == CollectiveOp::send_receive) return send_receive_across(fabric, library, payload, shape);
  LibraryTime best;
  best.total = std::numeric_limits<double>::infinity();
  const double domain_rate = shape.scale_out_per_rank.base() * shape.narrowest_domain();
  const bool all_reduce = op == CollectiveOp::all_reduce;
  const double rounds = all_reduce ? 2.0 : 1.0;
  const double domain_hops = rounds * (shape.domains - 1);
  const double inner_hops = rounds * (shape.ranks - 1) - domain_hops;

  double ring_rate = fabric.ring_efficiency * domain_rate;
  if (shape.ranks_per_domain > 1) ring_rate = std::min(ring_rate, inner.ring_bus);
  const double ring_wire = payload * bus_factor(op, shape.ranks);
  const double ring_transfer = ring_wire / ring_rate;

  const double levels = tree_depth(shape.domains);
  const double tree_wire = payload * tree_wire_factor(shape.domains);
  double tree_transfer = tree_wire / (fabric.tree_efficiency * domain_rate);
  if (shape.ranks_per_domain > 1) {
    tree_transfer = std::max(tree_transfer, payload / (inner.all_reduce * fabric.domain_share));
  }
  if (shape.scale_up == ScaleUpKind::pcie && shape.ranks_per_domain > 1) {
    // One link carries what passes along the chain in the node, up and down, and what leaves it.
    const double r = shape.ranks_per_domain;
    tree_transfer = std::max(tree_transfer, (2.0 * (r - 1.0) * payload + tree_wire) / r / inner.ring_bus);
  }

  const double start = start_of(fabric, library);
  const double ll_limit = fabric.ll_limit_share * library.ll_limit;
  // What a protocol makes of the transfer at full rate.
  const auto through = [&](WireProtocol protocol, double transfer, double wire) {
    const double share = library.ring_share[static_cast<size_t>(protocol)];
    if (protocol == WireProtocol::ll) return std::max(transfer / share, wire / ll_limit);
    return transfer / (protocol == WireProtocol::ll128 ? share * fabric.ll128_share : share);
  };
  for (int p = 0; p < kWireProtocols; ++p) {
    const auto i = static_cast<size_t>(p);
    const auto protocol = static_cast<WireProtocol>(p);
    const double hop = protocol == WireProtocol::simple ? fabric.simple_hop_factor : 1.0;
    const double ring_latency = inner_hops * fabric.inner_hop_factor * library.nvlink_ring_hop[i] +
                                domain_hops * fabric.ring_hop_factor * hop * library.network_ring_hop[i];
    take_faster(best, start + library.ring_base[i], ring_latency, through(protocol, ring_transfer, ring_wire),
                {fabric.ring_fill, fabric.ring_chunks}, CollectiveAlgorithm::ring, protocol);
    if (!all_reduce) continue;
    const double tree_latency =
        2.0 * ((shape.ranks_per_domain - 1) * fabric.inner_hop_factor * library.nvlink_tree_hop[i] +
               levels * fabric.tree_hop_factor * hop * library.network_tree_hop[i]);
    take_faster(best, start + library.tree_base[i], tree_latency, through(protocol, tree_transfer, tree_wire),
                {fabric.tree_fill, fabric.tree_chunks}, CollectiveAlgorithm::tree, protocol);
  }
  return best;
}

}  // namespace orrery
