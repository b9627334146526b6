#include "sim/collectives/one_thread.hpp"

#include <algorithm>
#include <cmath>

namespace orrery {
namespace {

constexpr double kFewChannels = 65536.0;
constexpr double kAllChannels = 524288.0;

}  // namespace

double launch_time(const OneThreadConstants& constants, CollectiveOp op, double payload) {
  const bool exchange = op == CollectiveOp::all_to_all || op == CollectiveOp::send_receive;
  const LaunchTimes& launches = exchange ? constants.exchange : constants.collective;
  const double octaves = std::log2(std::clamp(payload, kFewChannels, kAllChannels) / kFewChannels);
  return launches.few + (launches.all - launches.few) * octaves / std::log2(kAllChannels / kFewChannels);
}

double time_of_one_thread(double alone, int gpus, double launch) {
  if (gpus < 2) return alone;
  const double host = gpus * launch;
  return std::max(alone, host) + std::min(alone, host) / kCallsInARow;
}

}  // namespace orrery
