#pragma once

#include <string>
#include <vector>

#include "sim/network/topology.hpp"

namespace orrery {

/// What the failure of one component of a kind costs.
struct SingleFailure {
  std::string component;  ///< the kind: "NIC", "leaf", "leaf-spine cable"
  std::string id;         ///< the one that costs most of those tried: a vertex, or "from - to" of a cable
  int there_are = 0;
  int tried = 0;  ///< of these: kTriedOfEach at most, evenly spaced
  /// GPUs that afterwards reach at most half of the GPUs that they reached over the network before.
  int gpus_cut_off = 0;
  /// GPUs that have lost their own NICs, or reach at most half of what they reached over these, and go over
  /// other NICs of the nodes.
  int gpus_detoured = 0;
  BytesPerSecond bisection_left;
};

/// Fails one component at a time: a NIC, a switch of each tier, a cable of each pair of tiers; up to
/// kTriedOfEach of each, evenly spaced, of which the worst is kept. The kind whose failure costs most comes
/// first: most GPUs cut off, then least bisection left. Failures that are there already stay.
std::vector<SingleFailure> single_failures(const Topology& topology);
inline constexpr int kTriedOfEach = 4;

}  // namespace orrery
