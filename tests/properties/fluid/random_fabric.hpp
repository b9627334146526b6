#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "sim/engine/fluid_traffic.hpp"

namespace orrery::testing {

/// The same numbers on every machine (the standard's distributions are not).
class Draws {
 public:
  explicit Draws(std::uint32_t seed) : random_(seed) {}
  int below(int count) { return static_cast<int>(random_() % static_cast<std::uint32_t>(count)); }
  double uniform(double from, double to) {
    return from + (to - from) * static_cast<double>(random_()) * 0x1p-32;
  }

 private:
  std::mt19937 random_;
};

/// By the seed: a leaf-spine fabric, a fat tree of three tiers, rails with NVSwitches, or a small graph of
/// switches joined at random, with random rates, latencies, routing and efficiencies.
Topology random_fabric(std::uint32_t seed);

/// Up to 60 flows between random GPUs.
std::vector<TrafficFlow> random_flows(const Topology& topology, std::uint32_t seed);

}  // namespace orrery::testing
