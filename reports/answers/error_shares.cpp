#include "reports/answers/error_shares.hpp"

namespace orrery {

ErrorShares error_shares(const Breakdown& breakdown, double kernel_spread,
                         const Breakdown& communication_spread) {
  const auto seconds_of = [&breakdown](BreakdownTerm term) { return breakdown[static_cast<size_t>(term)]; };
  const double host = seconds_of(BreakdownTerm::other);
  const double bubble = seconds_of(BreakdownTerm::pipeline_bubble);
  const double storage =
      seconds_of(BreakdownTerm::input_exposed) + seconds_of(BreakdownTerm::checkpoint_exposed);
  double kernels = -host - bubble - storage;
  for (const double term : breakdown) kernels += term;
  ErrorShares shares;
  for (size_t kind = 0; kind < kCommunicationKinds.size(); ++kind) {
    const auto term = static_cast<size_t>(exposed_term(kCommunicationKinds[kind]));
    kernels -= breakdown[term];
    shares.communication_s[kind] = breakdown[term] * communication_spread[term];
  }
  const double host_share = host > 0.0 ? host / (kernels + host) : 0.0;
  shares.kernels_s = (kernels + bubble * (1.0 - host_share)) * kernel_spread;
  shares.host_s = (host + bubble * host_share) * kHostSpread;
  shares.storage_s = storage * kStorageSpread;
  return shares;
}

}  // namespace orrery
