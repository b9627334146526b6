#pragma once

#include "calibration/kernels/kernel_profile.hpp"

namespace orrery {

/// Sets `residual_noise` of every row of a fit: the least, from the one that predicts left-out families best,
/// at which form and residual field together never make more work faster.
///
/// Measured times contradict one another (another kernel is chosen, a clock drops), and a field that follows
/// them would pass the contradiction on to every shape nearby. On a lattice of m, n, k (multiples of 128) and
/// batch, wherever a larger product would take less than 0.98 of a smaller one's time, the rows that pull the
/// two apart are believed less, in proportion to their pull, until no such pair is left. What the other rows
/// say is kept. Deterministic; about 5 ms a round with 85 rows.
void believe_lawfully(GemmFit& fit, const DeviceSpec& device);

}  // namespace orrery
