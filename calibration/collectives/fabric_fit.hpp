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

/// Constants of one protocol from its rows: robust least squares in log time over all operations at once,
/// each parameter held near the library's own constant by a weak prior, so that what no row constrains stays
/// there.
FabricConstants fit_fabric(NicProtocol protocol, std::span<const AcrossRow> rows);

std::vector<double> across_log_ratios(const FabricConstants& fabric, std::span<const AcrossRow> rows);

}  // namespace orrery
