#include "sim/collectives/one_thread.hpp"

#include <algorithm>
#include <cmath>

namespace orrery {
namespace {

constexpr double kFewChannels = 65536.0;
constexpr double kAllChannels = 524288.0;

bool is_exchange(CollectiveOp op) {
  return op == CollectiveOp::all_to_all || op == CollectiveOp::send_receive;
}

}  // namespace

double launch_time(const OneThreadConstants& constants, CollectiveOp op, double payload) {
  const LaunchTimes& launches = is_exchange(op) ? constants.exchange : constants.collective;
  const double octaves = std::log2(std::clamp(payload, kFewChannels, kAllChannels) / kFewChannels);
  return launches.few + (launches.all - launches.few) * octaves / std::log2(kAllChannels / kFewChannels);
}

double lone_start(const OneThreadConstants& constants, CollectiveOp op) {
  return is_exchange(op) ? constants.lone.exchange : constants.lone.collective;
}

double time_in_a_row(double alone, double start, double calls) {
  return alone + start * std::max(0.0, 1.0 / calls - 1.0 / kCallsInARow);
}

double time_of_one_thread(double alone, int gpus, double launch) {
  if (gpus < 2) return alone;
  const double host = gpus * launch;
  return std::max(alone, host) + std::min(alone, host) / kCallsInARow;
}

}  // namespace orrery
