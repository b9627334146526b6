#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "calibration/kernels/kernel_profile.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {

/// Adds `covariance_parameters` (JSON pointers into the profile) and `covariance`, a symmetric matrix in that
/// order: blocks of the tables that were fitted to rows, zeros between them, each entry in the product of its
/// two parameters' units.
void write_covariance(Json& root, const KernelProfile& profile);
/// Gives every table its block back. Absent in profiles written before there was one.
void read_covariance(const SpecReader& root, KernelProfile& profile);

/// Ranges of the sizes of memory-bound kernels: {"norm": {"bytes": [least, most]}}.
Json memory_hull_json(const MemoryFit& memory);
void read_memory_hull(const SpecReader& hull, MemoryFit& memory);

/// {"idle_w", "compute_w", "memory_w", "relative_spread", "evidence", "source"}.
Json power_json(const PowerFit& power);
PowerFit read_power_fit(const SpecReader& object);

/// Adds `overlap`, `launch`, `copy` and `collectives`, each where there is something.
void write_information(Json& root, const KernelProfile& profile);
void read_information(const SpecReader& root, KernelProfile& profile);
/// The keys that write_information may add.
const std::vector<std::string>& information_keys();

}  // namespace orrery
