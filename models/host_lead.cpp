#include "models/host_lead.hpp"

#include <algorithm>

namespace orrery {
namespace {

/// Launches that wait in a stream before the next one blocks the host. Assumed for every driver: measured,
/// "about 1000" (forums.developer.nvidia.com, thread 68937).
constexpr double kQueuedLaunches = 1000.0;

/// First message between two ranks, when their connection is set up. Assumed for every pair: measured inside
/// a DGX H100 by NVIDIA, the communicator being there (github.com/NVIDIA/nccl, issue 1487: 214.5 ms, the next
/// ones 3 to 14 us; whoever opened the issue saw 700 ms).
constexpr Seconds kFirstMessage = milliseconds(214.5);

}  // namespace

double HostLead::layers_queued(double layers, double in_a_row, double before) const {
  if (forward <= Seconds(0)) return 0.0;
  const double passes = layers * in_a_row;
  const double launched = host_forward > Seconds(0) ? kFirstMessage / host_forward : passes;
  const double held_up = std::min(layers * std::max(0.0, in_a_row - 2.0), launched);
  const double gained = std::max(0.0, 1.0 - host_forward / forward);
  const double earlier = std::max(0.0, (forward + backward - host_forward - host_backward) / forward);
  const double queue = launches > 0 ? kQueuedLaunches / launches : passes;
  return std::min({passes, std::max(passes * gained + before * layers * earlier, held_up), queue});
}

HostLead host_lead(const LayerCosts& costs) {
  HostLead lead;
  const auto layers = static_cast<double>(costs.kind_of_layer.size());
  double launches = 0.0;
  for (const int place : costs.kind_of_layer) {
    const PartCost& layer = costs.kinds[static_cast<size_t>(place)].layer;
    lead.host_forward += layer.forward.host / layers;
    lead.forward += layer.forward.duration / layers;
    lead.host_backward += layer.backward.host / layers;
    lead.backward += layer.backward.duration / layers;
    launches += layer.forward.launches / layers;
  }
  lead.launches = static_cast<int>(launches);
  return lead;
}

}  // namespace orrery
