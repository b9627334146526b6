#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "calibration/collectives/collective_rows.hpp"
#include "calibration/collectives/fit_errors.hpp"
#include "sim/collectives/collective_constants.hpp"
#include "sim/collectives/nccl_model.hpp"

namespace orrery {

/// A row that crosses domains, with its group and what its GPU's domain leaves to it.
struct AcrossRow {
  CollectiveRow row;  ///< its time without the start
  GroupShape shape;
  InnerRates inner;
  const LibraryConstants* library = nullptr;
  double start = 0;  ///< s, that its time held
};

/// Sizes of one table err together: beyond so many rows they count as this many in a fit. Tried: 5, 10, all.
inline constexpr double kIndependentRows = 10.0;

/// What is assumed before any row: see the priors of fabric_fit.cpp.
FabricConstants assumed_fabric(NicProtocol protocol);

/// Constants of one protocol from its rows: robust least squares in log time over all operations at once,
/// each parameter held near its prior, so that what no row constrains stays there.
/// @param prior  assumed, or what another protocol's rows taught
/// @param start  where the search begins: a fit of nearly the same rows makes it short
/// @param tolerance  the search ends when a step lowers the cost by less than this part of it
FabricConstants fit_fabric(NicProtocol protocol, std::span<const AcrossRow> rows,
                           const FabricConstants& prior, const FabricConstants& start,
                           double tolerance = 1e-6);

/// The same for several protocols at once: constants that all share and, held near them, what each adds; what
/// a protocol's own rows leave open follows the others.
/// @param rows  of these protocols   @param start  one a protocol
std::vector<FabricConstants> fit_fabrics(const std::vector<NicProtocol>& protocols,
                                         std::span<const AcrossRow> rows, const FabricConstants& prior,
                                         const std::vector<FabricConstants>& start, double tolerance = 1e-6);

/// What the rows covered, for the evidence and the spread of predictions.
/// @param left_out  errors of an operation's rows predicted without their group; those without count as the
/// fit's
void add_hulls(FabricConstants& fabric, std::span<const AcrossRow> rows,
               const std::map<CollectiveOp, FitErrors>& left_out);

std::vector<double> across_log_ratios(const FabricConstants& fabric, std::span<const AcrossRow> rows);

}  // namespace orrery
