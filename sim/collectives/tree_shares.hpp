#pragma once

namespace orrery {

/// NCCL's src/graph/tuning.cc: trees reach at most this share of the rings' bandwidth ...
inline constexpr double kTreeShare = 0.92;
/// ... an LL tree this share of that, ...
inline constexpr double kTreeLlShare = 1.0 / 3.8;
/// ... an LL128 tree this on one node and ...
inline constexpr double kTreeLl128ShareOneNode = 7.0 / 9.0;
/// ... this beyond (120 of 128 bytes are data).
inline constexpr double kTreeLl128Share = 0.9375;

}  // namespace orrery
