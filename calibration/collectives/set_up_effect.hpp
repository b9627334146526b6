#pragma once

#include <span>

namespace orrery {

/// A measured time with what the usual set-up would take.
struct SetUpRow {
  double log_ratio = 0;       ///< of the usual prediction over the measured time
  double transfer_share = 0;  ///< of the prediction: what grows with the payload
  double weight = 1;          ///< below one where many rows are one table
};

/// What a set-up that nobody should expect (an old plugin, a pod of one GPU) puts on a time: one factor on
/// what does not grow with the payload, one on what does.
struct SetUpEffect {
  double start = 1.0, transfer = 1.0;
  /// Log of measured over usual.
  double log_effect(double transfer_share) const;
};

/// Both factors from the rows of one set-up, each held near one (a factor of two is one standard deviation):
/// no rows, no effect.
SetUpEffect fit_set_up(std::span<const SetUpRow> rows);

}  // namespace orrery
