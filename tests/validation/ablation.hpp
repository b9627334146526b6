#pragma once

#include <string>
#include <vector>

#include "reports/answers/validate.hpp"

namespace orrery {

/// What the error becomes without an effect, nothing refitted.
struct Ablation {
  Effect effect = Effect::attention;
  EngineKind engine = EngineKind::estimate;
  int moved = 0;              ///< rows whose prediction it changes by 0.1 % or more
  double rise = 0;            ///< of the MAPE over all rows
  double rise_by_source = 0;  ///< mean over the sources of the rise of their MAPE
  double largest_rise = 0;    ///< of a source
  std::string source;         ///< that one
};

/// Every effect in turn, on the shipped runs of high and medium confidence; contention with the simulation,
/// the others with the estimate.
/// @param simulations  false leaves contention out
/// @param part  of the effects with the estimate, every one of `parts`
std::vector<Ablation> ablate_shipped_runs(bool simulations = true, int part = 0, int parts = 1);
/// The line of one effect.
std::string ablation_line(const Ablation& ablation);
/// Markdown, largest rise first.
std::string ablation_table(const std::vector<Ablation>& ablations);

}  // namespace orrery
