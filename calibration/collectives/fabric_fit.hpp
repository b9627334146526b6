#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "calibration/collectives/collective_rows.hpp"
#include "sim/collectives/collective_constants.hpp"
#include "sim/collectives/nccl_model.hpp"

namespace orrery {

/// A row that crosses domains, with its group and what its GPU's domain leaves to it.
struct AcrossRow {
  CollectiveRow row;
  GroupShape shape;
  InnerRates inner;
  const LibraryConstants* library = nullptr;
};

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

std::vector<double> across_log_ratios(const FabricConstants& fabric, std::span<const AcrossRow> rows);

}  // namespace orrery
