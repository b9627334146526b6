#pragma once

#include "calibration/kernels/kernel_profile.hpp"

namespace orrery {

/// Sets `residual_noise` of every row of a fit: the least, from the one that predicts left-out families best,
/// at which form and residual field together never make more work faster.
///
/// Measured times contradict one another (another kernel is chosen, a clock drops), and a field that follows
/// them would pass the contradiction on to every shape nearby. On a lattice of m, n (16 to 64 and multiples
/// of 128), k (multiples of 128) and batch, in 8 and 4 bits with the quantise and without, wherever a larger
/// product would take less than 0.98 of a smaller one's time, the rows that pull the two apart are believed
/// less, in proportion to their pull, until no such pair is left. What the other rows say is kept.
/// Deterministic.
void believe_lawfully(GemmFit& fit, const DeviceSpec& device);

}  // namespace orrery
