#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "sim/engine/trunks.hpp"
#include "sim/engine/weight_sums.hpp"
#include "sim/network/topology.hpp"
#include "sim/workload/workload_graph.hpp"

namespace orrery {

/// Bytes that each rank of a group sends: 2(n-1)/n payload for all_reduce; (n-1)/n for reduce_scatter,
/// all_gather and all_to_all; the payload for broadcast and send_receive. Zero for fewer than two ranks.
Bytes wire_bytes(CollectiveOp op, Bytes payload, int ranks);

/// How often one wire byte of a communication crosses a link.
struct LinkLoad {
  LinkId link;
  double weight;
};

/// Which links communications load, and how much.
class FootprintBuilder {
 public:
  explicit FootprintBuilder(const Topology& topology);
  /// Shares what another builder of the same topology has found.
  FootprintBuilder(const Topology& topology, std::shared_ptr<Trunks> trunks);

  /// Loads of a communication, all its groups (the simulated one and its twins) added up, by rising link.
  ///
  /// All groups run in step at one rate, so a link's share is bounded by the sum of what they send over it;
  /// the most loaded link of any twin is the one that holds all of them back.
  ///
  /// - Rings: members of one scale-up domain are neighbours (domains in the order in which the ring first
  /// meets them).
  ///   NCCL builds a ring for each NIC, each entering and leaving a domain at another member; so between
  ///   members of a domain every link carries all wire bytes (over PCIe, where the link to a neighbour is the
  ///   one to the NIC, both together carry them once), and from domain to domain they are dealt evenly
  ///   over the members: the r-th of k sends 1/k of them to the r-th of the next domain (to and from several
  ///   in turn where the numbers differ). A broadcast does not close the ring.
  ///   Members whose NICs are lost are passed inside their domain: rings start at the NICs that are left, and
  ///   as many as the domain with the fewest has (NVIDIA/nccl src/graph/search.cc searches rings from NICs,
  ///   src/init.cc takes the fewest channels of any node). Only where all members of a domain have lost
  ///   theirs do they use others of their node. Where every two members have a link of their own (NVLink
  ///   mesh), NCCL's rings visit them in different orders, so that all these links carry alike.
  /// - Trees, NVLS and other two-level algorithms across domains send (m-1)/m of the data out of each of m
  /// domains
  ///   where a ring sends (n-1)/n (n ranks): less. Inside a domain NVLS all-reduce moves (1 + 1/k) payloads
  ///   over each of k ranks' links: every buffer is read once by the switch and every reduced share sent
  ///   once.
  /// - all_to_all: each member sends 1/(n-1) of its wire bytes to each other.
  /// - With storage: each member and its node's storage_endpoint exchange all bytes, one way.
  /// - A GPU with several NICs of its own uses them alike.
  /// - Which links a path has is the topology's matter (Topology::spread): adaptive routing deals a path over
  ///   all shortest ones, failed links are gone round, PXN passes over a neighbour's NIC.
  /// @throws std::runtime_error if two members have no path, std::out_of_range for a GPU that is not there
  std::vector<LinkLoad> footprint(const Communication& communication);

  /// Loads of one of the communication's groups alone.
  std::vector<LinkLoad> footprint_of_group(const Communication& communication, size_t group);

  /// A footprint whose trunks have not been taken apart.
  struct Parts {
    std::vector<LinkLoad> links;                          ///< by rising link
    std::vector<std::pair<std::int32_t, double>> trunks;  ///< by rising number, with weights
  };
  Parts parts(const Communication& communication);
  /// @returns loads by rising link
  std::vector<LinkLoad> put_together(const Parts& parts);

 private:
  using Members = std::vector<int>;
  Parts take_parts();
  void add_group(const Communication& communication, const Members& group);
  void add_ring(const Communication& communication, const Members& group);
  bool leaves_where_it_passes_on(const Members& members) const;
  Members lasts_of_rings(const Members& members, const Members& entries) const;
  Members add_rings_through_domain(const Members& members, const Members& entries, double weight);
  std::vector<size_t> rings_at(const Members& members) const;
  bool has_lost_nics(const Members& members, const std::vector<size_t>& rings) const;
  std::vector<Members> ring_ends(const std::vector<Members>& domains) const;
  void add_ring_in_domain(const Members& members, double weight, bool open);
  bool has_own_links(const Members& members) const;
  void add_path(int from_gpu, int to_gpu, double weight);
  void add_storage_path(int gpu, bool read);
  void add_flow(VertexId from, VertexId to, std::uint64_t flow, double weight);

  const Topology& topology_;
  std::vector<int> domain_of_gpu_;
  std::vector<std::uint64_t> nics_of_gpu_;
  std::shared_ptr<Trunks> trunks_;
  WeightSums on_links_;  // empty outside footprint(), as is the next
  WeightSums on_trunks_;
};

}  // namespace orrery
