#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sim/base/evidence.hpp"
#include "sim/base/quantity.hpp"
#include "sim/collectives/collective_model.hpp"
#include "sim/network/group_shape.hpp"

namespace orrery {

/// The groups on which a direction's constants were measured.
struct ExpertExchangeHull {
  std::string gpu;
  NicProtocol protocol = NicProtocol::infiniband;
  int least_ranks = 0, most_ranks = 0;
};

/// One direction of an exchange of tokens with experts.
struct ExpertExchangeRates {
  double start = 0;                            ///< s
  double network_share = 1;                    ///< of what a rank sends into the fabric
  double nvlink_share = 1;                     ///< of the scale-up bandwidth
  std::optional<ExpertExchangeHull> measured;  ///< nothing: assumed everywhere
};

/// Kernels that move tokens to their experts and back (DeepEP, HybridEP), as data.
struct ExpertExchangeConstants {
  std::string name, source;
  ExpertExchangeRates dispatch, combine;
  bool deduplicates = true;  ///< a token crosses once per domain, then once per rank; else once per expert
};

/// Experts in groups of equal size, of which the router first allows a token the best. Sources: DeepSeek-AI
/// 2024 (arXiv 2412.19437, section 2.1.2); Megatron-core, transformer/moe/moe_utils.py (group_limited_topk).
struct RouterGroups {
  int count = 1, allowed = 1;
};

/// The tokens of one rank and where they go.
struct ExpertTokens {
  Bytes bytes;      ///< of the rank's own tokens, before they are copied
  int top_k = 1;    ///< experts of a token
  int experts = 1;  ///< in all, evenly over the ranks
  RouterGroups groups = {};
  /// Of the routing weights beside them, one for every expert: each copy takes those of its domain's experts.
  Bytes weights = {};
};

/// Mean number of the parts (domains or ranks) of equal size that hold at least one of a token's experts,
/// when its top_k distinct experts are equally likely:
///     parts (1 - C(E - E/parts, k) / C(E, k)).
/// With groups, the experts are any of the allowed groups', at least one of each: a group is allowed because
/// its best experts are among the best of all (drawn scores reach within 1.5 % of this: DeepSeek-V3's on 8 to
/// 64 ranks 3.96, 5.71, 6.85 and 7.50 parts, here 4, 5.66, 6.80 and 7.46). Where neither of groups and parts
/// divides the other the groups are left out.
double mean_parts_reached(int experts, int top_k, double parts, const RouterGroups& groups = {});

struct ExpertExchangeTime {
  Seconds start, network, nvlink;  ///< the longer of the last two decides
  double network_copies = 0;       ///< copies of a token that leave its domain
  double nvlink_copies = 0;        ///< copies that cross NVLink
  Seconds total() const { return start + max(network, nvlink); }
};

/// Time of a dispatch or a combine that has its links to itself, experts equally loaded.
///
/// With de-duplication a token crosses the network once for each other domain it has experts in, and NVLink
/// once for each other rank; both run at once:
///     t = start + max(b d / (network share x C), b c / (NVLink share x B)).
/// Without (low-latency kernels) every expert gets its own copy straight from the sender.
/// Source of the structure: DeepEP's kernels (data/fabrics.md section 6, data/prototype_findings.md).
/// @throws std::invalid_argument unless 1 <= top_k <= experts, the ranks divide the experts and 1 <= allowed
///         groups <= top_k
ExpertExchangeTime expert_exchange_time(const ExpertExchangeConstants& constants, bool combines,
                                        const ExpertTokens& tokens, const GroupShape& shape);

/// The same as a collective of the group. Its latency is the start, and its payload an all_to_all's that
/// loads the network (inside one domain: NVLink) with the bytes that this exchange puts on it.
/// @param payload  set to that
CollectiveTime expert_exchange_as_collective(const ExpertExchangeConstants& constants, bool combines,
                                             const ExpertTokens& tokens, const GroupShape& shape,
                                             std::string_view gpu, Bytes& payload);

/// `extrapolated` where the direction was measured on this GPU, this kind of fabric (inside one domain: any)
/// and about as many ranks: other tokens and routers than the rows' are asked for. `assumed` elsewhere.
Evidence expert_exchange_evidence(const ExpertExchangeRates& rates, std::string_view gpu,
                                  const GroupShape& shape);

/// One standard deviation of ln(time). Fitted rows lie within 10 %; other token counts and routers were not
/// measured: 15 %. On other GPUs and fabrics nothing was, as far off as a library's own table (TunerModel):
/// 40 %.
double expert_exchange_spread(Evidence evidence);

}  // namespace orrery
