#pragma once

#include "sim/collectives/collective_constants.hpp"
#include "sim/collectives/library_formulas.hpp"

namespace orrery {

/// What a domain's own links leave to a collective that crosses domains (B/s of payload or bus bandwidth).
struct InnerRates {
  double ring_bus = 0;        ///< bus bandwidth of a ring inside one domain
  double all_reduce = 0;      ///< payload over time of an all-reduce inside one domain
  double all_to_all_bus = 0;  ///< bus bandwidth of an all-to-all inside one domain
};

/// Time of a collective on a group of several scale-up domains: the fastest of NCCL's rings and trees in its
/// three protocols, or its point-to-point sends.
///
/// n ranks, r a domain, N domains, C the rate at which one rank sends into the fabric; R = r C leaves a
/// domain.
///   ring   L = inner hops x inner hop + domain hops x network hop;  T = bus_factor S / min(e R, inner ring)
///   tree   L = 2 ((r-1) inner hop + ceil(log2 N) network hop);      T = max(w S / (e R), S / inner
///   all-reduce), over PCIe at least (2 (r-1) + w) S / r / inner ring: a GPU's one link carries all of it
///          w = 1 on two domains (each sends half of the payload in either tree, up or down), 1.5 on three,
///          else 2
///   both   t = start + base + L + T_p + fill sqrt(L T_p) + c L T_p / (T_p + c L): T_p is T over the
///   protocol's
///          wire share (LL at most its limit); chunks fill the pipeline at their best size, until they have
///          grown to the buffer's
///   all_to_all    L = start + peers in other domains x peer latency (both grow with the hosts' age);
///                 T = max(S (n-r)/n / (e C (2/N)^k), S (r-1)/n / inner);  t = L + T + fill sqrt(L T)
///   send_receive  t = start + base + network hop + S / (e C p), e of a pair between two domains, of a shift
///                 round a ring of more
/// start grows with the age of the hosts (old_host_factor ^ host_age).
/// w S / R and bus_factor S / R are never below the 2(N-1)/N S / R (all_reduce) that must leave every domain,
/// and e <= 1. Structure: nccl src/graph/tuning.cc; hop latencies its constants times fitted factors,
/// everything else fitted.
/// @param payload bytes > 0   @param shape crosses domains
LibraryTime fabric_time(const FabricConstants& fabric, const LibraryConstants& library, CollectiveOp op,
                        double payload, const GroupShape& shape, const InnerRates& inner);

}  // namespace orrery
