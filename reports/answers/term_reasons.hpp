#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "reports/answers/comparable_prediction.hpp"

namespace orrery {

/// The calls of one operation in one kind of group, all sizes together, of one rank's step.
struct OperationUse {
  std::int64_t count = 0;
  int ranks = 0;  ///< of the largest group
  double bytes = 0, total_s = 0, exposed_s = 0;
  std::string algorithm, protocol;  ///< of the size that takes longest
  double bus_bandwidth = 0;         ///< B/s, of that size in the time in flight
  bool operator==(const OperationUse&) const = default;
};

/// The same operation in A and in B.
struct OperationPair {
  GroupKind group = GroupKind::data;
  CollectiveOp op = CollectiveOp::all_reduce;
  OperationUse a, b;  ///< count 0 where a side has none
};

/// Every operation that A or B uses, in the order of A's lines, what only B has behind.
std::vector<OperationPair> paired_operations(const Prediction& a, const Prediction& b);

/// About how many seconds the kernels of one rank's step take longer because communication is in flight
/// beside them: hidden seconds x slow-down / (1 + slow-down).
double slowed_seconds(const ComparablePrediction& side);
/// Whether a change of slowed seconds explains that of a compute term: the same way, and a tenth of it or
/// more.
bool slowed_explains(double slowed_delta_s, double term_delta_s);

/// Why a term of B differs from A's, in plain words made of numbers of the two predictions: "reduce_scatter
/// over 64 ranks instead of 8". Says no more than those numbers show.
std::string reason_of_term(BreakdownTerm term, const ComparablePrediction& a, const ComparablePrediction& b);

}  // namespace orrery
