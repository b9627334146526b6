#include "calibration/collectives/one_thread_fit.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "calibration/least_squares/least_squares.hpp"

namespace orrery {
namespace {

constexpr double kFewMost = 65536.0;
constexpr double kAllLeast = 524288.0, kAllMost = 1048576.0;
// What takes less than this times the kernels' own time is not held up by launches.
constexpr double kHeldUp = 1.1;
constexpr double kLoneMost = 16777216.0;

double launch_of_row(const OneThreadRow& row) { return (row.seconds - row.alone / kCallsInARow) / row.gpus; }

double middle(std::vector<double>& values) {
  if (values.empty()) return 0.0;
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), at, values.end());
  return rounded(*at, 3);
}

LaunchTimes launches_of(std::span<const OneThreadRow> rows, bool exchanges) {
  std::vector<double> few, all;
  for (const OneThreadRow& row : rows) {
    if ((row.op == CollectiveOp::all_to_all) != exchanges || row.seconds < kHeldUp * row.alone) continue;
    if (row.bytes <= kFewMost) few.push_back(launch_of_row(row));
    if (row.bytes >= kAllLeast && row.bytes <= kAllMost) all.push_back(launch_of_row(row));
  }
  LaunchTimes launches{middle(few), middle(all)};
  if (few.empty()) launches.few = launches.all;
  if (all.empty()) launches.all = launches.few;
  return launches;
}

double start_of(std::span<const LoneRow> rows, bool exchanges) {
  std::vector<double> starts;
  for (const LoneRow& row : rows) {
    if ((row.op == CollectiveOp::all_to_all) != exchanges || row.bytes > kLoneMost) continue;
    starts.push_back((row.seconds - row.alone) / (1.0 / row.calls - 1.0 / kCallsInARow));
  }
  return std::max(0.0, middle(starts));
}

}  // namespace

OneThreadConstants fit_one_thread(std::span<const OneThreadRow> rows, std::span<const LoneRow> lone) {
  return {launches_of(rows, false), launches_of(rows, true), {start_of(lone, false), start_of(lone, true)}};
}

}  // namespace orrery
