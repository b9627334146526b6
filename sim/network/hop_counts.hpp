#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sim/network/topology.hpp"

namespace orrery {

/// Pairs of GPUs at one distance.
struct HopCount {
  enum class Over { node, domain, network };  ///< direct link or PCIe; NVSwitch; switches between nodes
  Over over = Over::network;
  int hops = 0;            ///< switches passed; PCIe switches are not counted
  std::int64_t pairs = 0;  ///< ordered pairs
  int from = 0;            ///< GPUs of one such pair
  int to = 0;
};

/// Distances between all ordered pairs of GPUs: of route() with flow 0, counted in switches passed.
struct HopHistogram {
  std::vector<HopCount> counts;           ///< nearest first
  std::int64_t unreachable = 0;           ///< ordered pairs without a path
  int diameter = 0;                       ///< most switches passed between any two
  bool sampled = false;                   ///< not every pair was looked at; those that were stand for all
  std::int64_t destinations = 0;          ///< sets of switches that GPUs are reached over
  std::int64_t destinations_sampled = 0;  ///< of these looked at, evenly spaced: kMostDestinations at most
};

/// GPUs behind the same switches share their distances: one search for each set of switches that a GPU's NIC
/// hangs off. Pairs that these do not join are routed one by one, up to kMostRoutedPairs of them.
/// Deterministic.
HopHistogram count_hops(const Topology& topology);
inline constexpr int kMostDestinations = 512;
inline constexpr int kMostRoutedPairs = 50000;

/// How many ways there are between GPUs that do not share a first switch: link-disjoint shortest paths from
/// the switches of the one's first NIC to those of the other's (by max-flow with every cable of capacity
/// one), over pairs of GPUs. One everywhere if all share their first switch; zero if no GPU has a NIC.
struct PathDiversity {
  int least = 0;
  int median = 0;
  int most = 0;
  std::int64_t pairs_of_switches = 0;  ///< looked at
  bool sampled = false;  ///< more than kMostSwitchPairs: kSampledSwitchPairs at most, evenly spaced
};
PathDiversity count_paths(const Topology& topology);
inline constexpr int kMostSwitchPairs = 4096;
inline constexpr int kSampledSwitchPairs = 1024;

}  // namespace orrery
