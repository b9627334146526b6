#pragma once

#include <array>

#include "sim/timeline/step_timeline.hpp"
#include "sim/workload/collective.hpp"

namespace orrery {

/// Groups whose communication a breakdown holds one by one: the kinds of collectives that err on their own.
inline constexpr std::array<GroupKind, 5> kCommunicationKinds = {
    GroupKind::tensor, GroupKind::context, GroupKind::expert, GroupKind::data, GroupKind::pipeline};

/// One standard deviation of ln(time) of what nothing here measures. Host: counted launches and operators at
/// times of other machines; assumed, as the prior of the stacks' host factor (calibration/stacks,
/// FactorPriors). Storage: rates of datasheets, off as far as a datasheet's kernels are
/// (make_roofline_model).
inline constexpr double kHostSpread = 0.20;
inline constexpr double kStorageSpread = 0.25;

/// Seconds of a step that one standard deviation of an error moves: that of kernels, of the host (`other`),
/// of storage, and of each kind of communication. A bubble is waiting for other stages' kernels and hosts, in
/// the proportion of its rank's own.
struct ErrorShares {
  double kernels_s = 0, host_s = 0, storage_s = 0;
  std::array<double, kCommunicationKinds.size()> communication_s{};
};

/// @param kernel_spread         one standard deviation of ln(time) of the step's kernels
/// @param communication_spread  the same of communication, by the term that shows it
ErrorShares error_shares(const Breakdown& breakdown, double kernel_spread,
                         const Breakdown& communication_spread);

}  // namespace orrery
