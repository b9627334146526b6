#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "sim/workload/workload_graph.hpp"

namespace orrery {

// How collectives pass from one scale-up domain to the next (what FootprintBuilder::footprint assumes),
// whatever stands for the network between them.

/// Trees, NVLS and other algorithms that work inside domains first.
inline bool is_two_level(const Communication& communication) {
  const bool reduces = communication.op == CollectiveOp::all_reduce ||
                       communication.op == CollectiveOp::reduce_scatter ||
                       communication.op == CollectiveOp::all_gather;
  return reduces && communication.algorithm != "ring" && communication.algorithm != "p2p";
}

/// A broadcast's ring ends where another would close.
inline bool is_open_ring(const Communication& communication) {
  return communication.op == CollectiveOp::broadcast;
}

/// Members of a group by domain, domains in the order in which the group first meets them.
/// @param domain_of  number of a GPU's domain
template <typename DomainOf>
std::vector<std::vector<int>> members_by_domain(const std::vector<int>& group, const DomainOf& domain_of) {
  std::vector<std::pair<int, size_t>> place;  // of the domains met so far, sorted by domain
  std::vector<std::vector<int>> blocks;
  for (const int gpu : group) {
    const int domain = domain_of(gpu);
    auto found = std::lower_bound(place.begin(), place.end(), std::pair(domain, size_t{0}));
    if (found == place.end() || found->first != domain) {
      found = place.insert(found, {domain, blocks.size()});
      blocks.emplace_back();
    }
    blocks[found->second].push_back(gpu);
  }
  return blocks;
}

/// Members of a domain at which rings enter and leave it: all where each of their NICs has as many of them,
/// else one a NIC (NVIDIA/nccl src/graph/search.cc searches rings from NICs).
/// @param nic_of  number of a GPU's NIC
template <typename NicOf>
std::vector<int> ring_ends(const std::vector<int>& members, const NicOf& nic_of) {
  std::vector<std::pair<int, int>> users;  // a NIC and how many members have it
  std::vector<int> firsts;
  for (const int gpu : members) {
    const int nic = nic_of(gpu);
    const auto known =
        std::find_if(users.begin(), users.end(), [nic](const auto& u) { return u.first == nic; });
    if (known != users.end()) {
      ++known->second;
      continue;
    }
    users.emplace_back(nic, 1);
    firsts.push_back(gpu);
  }
  const auto as_many = [&](const auto& u) { return u.second == users.front().second; };
  return std::all_of(users.begin(), users.end(), as_many) ? members : firsts;
}

/// Calls add(from, to, weight) for each path of a ring, or of what stands for one, between domains: weight
/// is the share of the wire bytes that passes over it.
/// @param ranks  of the whole group
/// @param exits, entries  of each domain, members at which rings leave and enter it, once a ring
template <typename Add>
void for_each_ring_crossing(const Communication& communication, size_t ranks,
                            const std::vector<std::vector<int>>& exits,
                            const std::vector<std::vector<int>>& entries, const Add& add) {
  if (entries.size() < 2) return;
  const auto n = static_cast<double>(ranks);
  const auto m = static_cast<double>(entries.size());
  const double across = is_two_level(communication) ? (m - 1.0) / m * n / (n - 1.0) : 1.0;
  for (size_t i = 0; i + (is_open_ring(communication) ? 1 : 0) < entries.size(); ++i) {
    const std::vector<int>& from = exits[i];
    const std::vector<int>& to = entries[(i + 1) % entries.size()];
    const size_t rings = std::max(from.size(), to.size());
    for (size_t ring = 0; ring < rings; ++ring) {
      add(from[ring % from.size()], to[ring % to.size()], across / static_cast<double>(rings));
    }
  }
}

}  // namespace orrery
