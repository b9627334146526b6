#pragma once

#include <cstdint>
#include <vector>

#include "sim/network/topology.hpp"

namespace orrery {

/// A torus or mesh of switches numbered line by line, the first dimension fastest. No dimensions: the network
/// is none.
struct Grid {
  std::vector<int> dimensions;
  bool wraps = false;  ///< a torus: the last of each line of three or more is joined to its first
  bool empty() const { return dimensions.empty(); }
  std::vector<int> coordinates(std::int32_t switch_number) const;
  /// The lowest dimension in which two switches differ; that of a step, for neighbours.
  std::size_t first_difference(std::int32_t a, std::int32_t b) const;
};

/// Recognises the torus or mesh of two or more dimensions, each of two or more switches, that the network
/// switches form in the order in which they were added. All links count, failed ones too: a torus with a hole
/// is still one.
Grid find_grid(const std::vector<Vertex>& vertices, const std::vector<Link>& links);

}  // namespace orrery
