#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "reports/answers/topology.hpp"
#include "reports/writers/svg_canvas.hpp"

namespace orrery {

/// Cables between two drawn things, taken together.
struct DrawnCables {
  int working = 0;
  int failed = 0;
  BytesPerSecond rate;  ///< of the fastest one that works, else of the failed one
};

/// A line for cables: colour by the rate of one, width by their number; a dashed red one beside it where some
/// have failed.
class CableStyle {
 public:
  explicit CableStyle(const Topology& topology);
  void draw(SvgCanvas& canvas, double x1, double y1, double x2, double y2, const DrawnCables& cables) const;
  /// Which colour is which rate. @returns the height that it takes
  double legend(SvgCanvas& canvas, double x, double y) const;

 private:
  const std::string& colour(BytesPerSecond rate) const;
  std::vector<BytesPerSecond> rates_;  ///< of cables, fastest first
};

/// Cables by the drawn things at their ends.
/// @param drawn  number of what a vertex is drawn as; -1: not at all
std::map<std::pair<int, int>, DrawnCables> cables_between(const Topology& topology,
                                                          const std::vector<int>& drawn);

inline constexpr const char* kFailedColour = "#d62728";

/// Drawings without title and legend. @returns the size that they take
std::pair<double, double> draw_tiers(const TopologyAnswer& answer, const CableStyle& style, SvgCanvas& canvas,
                                     double top);
std::pair<double, double> draw_lattice(const TopologyAnswer& answer, const std::vector<int>& dimensions,
                                       const CableStyle& style, SvgCanvas& canvas, double top);
std::pair<double, double> draw_groups(const TopologyAnswer& answer, const CableStyle& style,
                                      SvgCanvas& canvas, double top);

}  // namespace orrery
