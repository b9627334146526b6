#include "sim/collectives/expert_exchange.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace orrery {

double mean_parts_reached(int experts, int top_k, double parts) {
  const double outside = experts - experts / parts;
  double none = 1.0;  // probability that a part holds none of the token's experts
  for (int i = 0; i < top_k; ++i) none *= std::max(0.0, outside - i) / (experts - i);
  return parts * (1.0 - none);
}

namespace {

/// Of one copy of all the rank's tokens.
Bytes copy_bytes(const ExpertTokens& tokens, const GroupShape& shape) {
  return tokens.bytes + tokens.weights / static_cast<double>(shape.domains);
}

}  // namespace

ExpertExchangeTime expert_exchange_time(const ExpertExchangeConstants& constants, bool combines,
                                        const ExpertTokens& tokens, const GroupShape& shape) {
  if (tokens.experts < 1 || tokens.top_k < 1 || tokens.top_k > tokens.experts) {
    throw std::invalid_argument("an expert exchange needs 1 <= top_k <= experts, found top_k " +
                                std::to_string(tokens.top_k) + " of " + std::to_string(tokens.experts));
  }
  if (tokens.experts % shape.ranks != 0) {
    throw std::invalid_argument(std::to_string(shape.ranks) + " ranks do not divide " +
                                std::to_string(tokens.experts) + " experts");
  }
  ExpertExchangeTime time;
  if (shape.ranks <= 1 || !(tokens.bytes.base() > 0.0)) return time;
  const ExpertExchangeRates& rates = combines ? constants.combine : constants.dispatch;
  const double n = shape.ranks;
  const double domains = shape.domains;
  const double per_domain = n / domains;
  if (constants.deduplicates) {
    // Of the domains that the router allows, all experts are equally likely again.
    const double allowed = tokens.groups > 0 ? std::min<double>(tokens.groups, domains) : domains;
    const auto reachable = static_cast<int>(tokens.experts * allowed / domains);
    const int top_k = std::min(tokens.top_k, reachable);
    const double reached = mean_parts_reached(reachable, top_k, allowed);
    time.network_copies = reached * (domains - 1.0) / domains;
    time.nvlink_copies = mean_parts_reached(reachable, top_k, allowed * per_domain) * (n - 1.0) / n;
  } else {
    time.network_copies = tokens.top_k * (n - per_domain) / n;
    time.nvlink_copies = tokens.top_k * (per_domain - 1.0) / n;
  }
  time.start = seconds(rates.start);
  if (domains > 1.0) {
    time.network =
        time.network_copies * copy_bytes(tokens, shape) / (rates.network_share * shape.exchange_rate());
  }
  if (per_domain > 1.0 && shape.scale_up_bandwidth.base() > 0.0) {
    time.nvlink =
        time.nvlink_copies * copy_bytes(tokens, shape) / (rates.nvlink_share * shape.scale_up_bandwidth);
  }
  return time;
}

CollectiveTime expert_exchange_as_collective(const ExpertExchangeConstants& constants, bool combines,
                                             const ExpertTokens& tokens, const GroupShape& shape,
                                             std::string_view gpu, Bytes& payload) {
  const ExpertExchangeTime time = expert_exchange_time(constants, combines, tokens, shape);
  CollectiveTime result;
  payload = Bytes(0);
  if (shape.ranks <= 1) return result;
  // An all-to-all sends 1/n of its payload to each other rank, and so (n - r)/n of it out of a domain of r.
  const double n = shape.ranks;
  const Bytes copy = copy_bytes(tokens, shape);
  payload = shape.crosses_domains() ? copy * time.network_copies * (n / (n - n / shape.domains))
                                    : copy * time.nvlink_copies * (n / (n - 1.0));
  result.latency = time.start;
  result.transfer = max(time.network, time.nvlink);
  result.algorithm = combines ? "combine" : "dispatch";
  result.protocol = "simple";
  if (result.total() > Seconds(0)) {
    result.bus_bandwidth =
        payload.base() * bus_factor(CollectiveOp::all_to_all, shape.ranks) / result.total().base();
  }
  result.evidence = expert_exchange_evidence(combines ? constants.combine : constants.dispatch, gpu, shape);
  result.relative_spread = expert_exchange_spread(result.evidence);
  return result;
}

Evidence expert_exchange_evidence(const ExpertExchangeRates& rates, std::string_view gpu,
                                  const GroupShape& shape) {
  if (!rates.measured) return Evidence::assumed;
  const ExpertExchangeHull& hull = *rates.measured;
  const bool fabric = !shape.crosses_domains() || shape.protocol == hull.protocol;
  const bool ranks = shape.ranks >= hull.least_ranks && shape.ranks <= hull.most_ranks;
  return gpu == hull.gpu && fabric && ranks ? Evidence::extrapolated : Evidence::assumed;
}

double expert_exchange_spread(Evidence evidence) { return evidence == Evidence::assumed ? 0.4 : 0.15; }

}  // namespace orrery
