#pragma once

#include <array>
#include <string>
#include <vector>

#include "reports/answers/comparable_prediction.hpp"
#include "reports/answers/input_differences.hpp"
#include "reports/answers/term_reasons.hpp"

namespace orrery {

/// One line of the exclusive breakdown in A and in B.
struct TermDifference {
  BreakdownTerm term = BreakdownTerm::other;
  double a_s = 0, b_s = 0;
  double delta_s = 0;  ///< b_s - a_s, see attribute_difference for the rounding
  std::string reason;  ///< in plain words; empty where nothing changed
};

/// The answer to `compare` (contract section 3.2).
struct Comparison {
  ComparablePrediction a, b;
  double delta_s = 0;                 ///< b's step - a's
  std::array<double, 2> interval{};   ///< central 80 % of delta_s, see difference_interval
  std::vector<TermDifference> terms;  ///< every term; their differences add up to delta_s
  std::vector<InputDifference> inputs;
  std::vector<OperationPair> operations;  ///< those that differ
  std::string explanation;
  std::vector<std::string> warnings;  ///< about the comparison; each prediction has its own

  bool same_gpus() const { return a.prediction.gpus == b.prediction.gpus; }
  bool fits() const { return a.prediction.fits() && b.prediction.fits(); }
  double relative_change() const { return delta_s / a.prediction.step_time.base(); }
};

/// Term by term b - a. Each breakdown sums to its step but for the rounding of its own sum (1e-12 of the
/// step); that rest goes to the largest difference, so that the differences add up to that of the steps
/// however small it is. Equal breakdowns give zeros.
/// @throws std::logic_error if more than 1e-9 of a step is left over: time that no term holds
std::vector<TermDifference> attribute_difference(const Breakdown& a, const Breakdown& b, double delta_s);

/// Sets one prediction beside another. @throws std::logic_error as attribute_difference()
Comparison compare_predictions(ComparablePrediction a, ComparablePrediction b);

/// Predicts both (side by side with `threads` above one; the answer is the same) and sets B beside A.
/// @throws as predict() does; std::invalid_argument if options leave out the echo, which the differences need
Comparison compare(const Experiment& a, const Experiment& b, const PredictOptions& options, int threads);

}  // namespace orrery
