#pragma once

#include <cstdint>
#include <vector>

#include "sim/network/topology.hpp"

namespace orrery {

/// GPUs sorted by the switches that their first NIC (or they themselves) hang off; what the analyses of a
/// fabric walk instead of GPUs. Private to sim/network.
struct GpuClasses {
  explicit GpuClasses(const Topology& topology);

  /// Hops over network switches from each, by its number, to the nearest switch of a destination set; -1
  /// without a path.
  void hops_to(std::int32_t destination, std::vector<std::int32_t>& hops) const;
  /// Fewest hops from the switches of a source set.
  static std::int32_t nearest(const std::vector<std::int32_t>& switches,
                              const std::vector<std::int32_t>& hops);

  std::vector<std::int32_t> switch_number;         ///< of each vertex; -1 for others
  std::vector<VertexId> switches;                  ///< by number
  std::vector<std::vector<std::int32_t>> sources;  ///< sets of switches that GPUs send to
  std::vector<std::vector<std::int32_t>> targets;  ///< sets of switches that GPUs receive from
  std::vector<std::int32_t> source_of, target_of;  ///< of each GPU; -1 without a NIC in use
  std::vector<std::vector<std::int32_t>> below;    ///< switches with a link to each switch, each once
};

}  // namespace orrery
