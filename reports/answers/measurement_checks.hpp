#pragma once

#include <string>
#include <vector>

#include "calibration/kernels/fit_profiles.hpp"

namespace orrery {

/// Refuses products and attention that are half as fast again as the GPU's peak, and memory-bound kernels ten
/// times as fast as its bandwidth (caches are not): a time divided once too often, by its unit or the number
/// of calls.
/// @throws InputError with every such line
void refuse_impossible_times(const MeasurementSet& set, const std::vector<DeviceSpec>& devices);

/// The same of a collective inside a node: less time than its payload takes over the GPU's NVLinks.
/// @param nvlink  B/s per GPU and direction
/// @throws InputError with every such line
void refuse_impossible_collectives(const MeasurementSet& set, const std::string& gpu, double nvlink);

/// One text for each kind of a GPU's kernel rows that were read and are in no table of its profile, with the
/// reason: whoever measured them would take them to be used.
std::vector<std::string> rows_in_no_table(const MeasurementSet& set, const DeviceSpec& device,
                                          const KernelRules& rules, const std::vector<TableReport>& tables);

}  // namespace orrery
