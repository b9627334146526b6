#pragma once

#include <vector>

#include "sim/collectives/block_schedules.hpp"

namespace orrery {

/// Closed forms of the schedules in block_schedules.hpp on idle links (Hockney's model: a message of m bytes
/// takes alpha + m / rate). Payloads as there; one rank or no bytes cost zero.
/// @throws std::invalid_argument if ranks, domains or chunks < 1 or a rate is not positive
/// Sources: PAT: S. Jeaugey, "PAT: a new algorithm for all-gather and reduce-scatter operations at scale"
/// (2025). Recursive doubling, halving: Thakur, Rabenseifner, Gropp, "Optimization of collective
/// communication operations in MPICH", IJHPCA 19, 2005.

/// ceil(log2 n) alpha + (n-1)/n S / rate; all_gather and reduce_scatter.
Seconds pat_time(Bytes payload, int ranks, const LinkCost& link);
/// (2n + 1) (alpha + S / (n rate)): n chunks up, one in the switch's hands, one back, n-1 more down.
Seconds nvls_all_reduce_time(Bytes payload, int ranks, const LinkCost& link);
/// Bytes that every rank's link carries each way: (1 + 1/n) S.
Bytes nvls_link_bytes(Bytes payload, int ranks);
/// r ranks a domain, N domains, tree of depth L = ceil(log2 N), all links alike:
///     max(2r + 1, r + 2L + 3) (alpha + S / (r rate)) for N > 1
/// the tree is hidden while the ranks still push their chunks.
Seconds nvls_tree_all_reduce_time(Bytes payload, int domains, int per_domain, const LinkCost& link);
/// (k + 1) (alpha + S / (k rate)).
Seconds collnet_all_reduce_time(Bytes payload, int ranks, int chunks, const LinkCost& link);
/// 2 (r-1) (a_in + S / (r b_in)) + 2 (N-1) (a_x + S / (r N b_x)).
Seconds hierarchical_all_reduce_time(Bytes payload, int domains, int per_domain, const LinkCost& inside,
                                     const LinkCost& across);
/// (n-1) (alpha + S / (n rate)).
Seconds pairwise_all_to_all_time(Bytes payload, int ranks, const LinkCost& link);
/// Sum over the steps of their longest message.
Seconds pairwise_all_to_all_v_time(const std::vector<std::vector<Bytes>>& bytes, const LinkCost& link);
/// (r-1) (a_in + S / (r b_in)) + (N-1) (a_x + S / (N b_x)).
Seconds hierarchical_all_to_all_time(Bytes payload, int domains, int per_domain, const LinkCost& inside,
                                     const LinkCost& across);
/// floor(log2 n) (alpha + S / rate), and two such messages more where n is no power of two.
Seconds recursive_doubling_all_reduce_time(Bytes payload, int ranks, const LinkCost& link);
/// 2 log2 p alpha + 2 (p-1)/p S / rate with p the largest power of two, and two messages of S where n is
/// none.
Seconds rabenseifner_all_reduce_time(Bytes payload, int ranks, const LinkCost& link);

}  // namespace orrery
