#include "sim/collectives/expert_exchange.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

namespace orrery {

namespace {

/// Probability that k distinct of n equally likely ones all lie among m of them: C(m, k) / C(n, k).
double all_among(double m, double n, int k) {
  double probability = 1.0;
  for (int i = 0; i < k; ++i) probability *= std::max(0.0, m - i) / (n - i);
  return probability;
}

/// C(m, k) p^k (1 - p)^(n - k): ways to take k of m experts, weighted so that sums over groups stay near one.
double weight_of(double m, double n, int k, double p) {
  double weight = std::pow(p, k) * std::pow(1.0 - p, n - k);
  for (int i = 0; i < k; ++i) weight *= std::max(0.0, m - i) / (i + 1);
  return weight;
}

/// Probability that a part of one allowed group holds none of the token's experts, each allowed group at
/// least one. Group by group: all terms are positive, so that nothing cancels.
double part_of_group_empty(double group, double part, int top_k, int allowed) {
  const double p = std::min(1.0, top_k / (group * allowed));  // any does: both sums have top_k experts
  const auto with_another = [&](const std::vector<double>& before, double experts) {
    std::vector<double> after(before.size(), 0.0);
    for (int k = 1; k <= top_k && k <= experts; ++k) {
      const double weight = weight_of(experts, group, k, p);
      for (size_t i = static_cast<size_t>(k); i < after.size(); ++i) {
        after[i] += weight * before[i - static_cast<size_t>(k)];
      }
    }
    return after;
  };
  std::vector<double> of_others(static_cast<size_t>(top_k) + 1, 0.0);  // by the experts that they hold
  of_others[0] = 1.0;
  for (int i = 1; i < allowed; ++i) of_others = with_another(of_others, group);
  const double possible = with_another(of_others, group).back();
  return possible > 0.0 ? with_another(of_others, group - part).back() / possible : 0.0;
}

bool divides(double a, double b) { return std::abs(b / a - std::round(b / a)) < 1e-9; }

}  // namespace

double mean_parts_reached(int experts, int top_k, double parts, const RouterGroups& groups) {
  const double size = experts / parts;
  if (groups.allowed < groups.count && divides(parts, groups.count)) {
    // Whole groups in a part: it is reached with any of them.
    const int inside = static_cast<int>(std::round(groups.count / parts));
    return parts * (1.0 - all_among(groups.count - inside, groups.count, groups.allowed));
  }
  if (groups.allowed < groups.count && divides(groups.count, parts)) {
    const double allowed_parts = parts * groups.allowed / groups.count;
    const double group = static_cast<double>(experts) / groups.count;
    return allowed_parts * (1.0 - part_of_group_empty(group, size, top_k, groups.allowed));
  }
  return parts * (1.0 - all_among(experts - size, experts, top_k));
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
  const RouterGroups& groups = tokens.groups;
  if (groups.allowed < 1 || groups.allowed > groups.count || groups.allowed > tokens.top_k) {
    throw std::invalid_argument("a router allows between 1 and top_k of its " + std::to_string(groups.count) +
                                " groups, found " + std::to_string(groups.allowed));
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
    const auto reached = [&](double parts) {
      return mean_parts_reached(tokens.experts, tokens.top_k, parts, tokens.groups);
    };
    time.network_copies = reached(domains) * (domains - 1.0) / domains;
    time.nvlink_copies = reached(n) * (n - 1.0) / n;
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
