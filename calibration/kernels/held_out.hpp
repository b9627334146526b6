#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "calibration/kernels/kernel_profile.hpp"

namespace orrery {

/// A fold for every row: families stay whole, folds are filled evenly by rows, in an order that the seed
/// shuffles (Fisher and Yates with a 64-bit Mersenne Twister: the same on every machine).
/// @param folds  at least 1; with as many as there are families each is a fold of its own
std::vector<int> family_folds(std::span<const std::string> families, int folds, std::uint64_t seed);

/// ln(predicted / measured) of the rows `test` by what the rows `train` teach.
using LearnAndPredict =
    std::function<std::vector<double>(const std::vector<size_t>& train, const std::vector<size_t>& test)>;

/// ln(predicted / measured) of every row, by what the other folds teach. Empty if there is only one fold with
/// rows.
std::vector<double> left_out_errors(std::span<const int> fold_of, const LearnAndPredict& learn);

/// A shape that was predicted without its family.
struct ShapeError {
  std::string shape;  ///< "4096 x 4096 x 4096"
  Seconds measured, predicted;
  double error() const { return predicted / measured - 1.0; }
};

/// What a table's rows say about shapes that it does not hold: a fifth of its families, drawn by a seed, by
/// what the rest teaches; and the worst rows of all when each fifth is left out in turn.
struct HeldOut {
  FitError fifth;
  std::vector<ShapeError> worst;  ///< at most five, worst first
};

/// A row of a table: its family, how it is written, what was measured.
struct HeldOutRow {
  std::string family, shape;
  Seconds measured;
};
/// Nothing (no rows in `fifth`) if the table has one family only.
HeldOut hold_out_a_fifth(std::span<const HeldOutRow> rows, std::uint64_t seed, const LearnAndPredict& learn);

}  // namespace orrery
