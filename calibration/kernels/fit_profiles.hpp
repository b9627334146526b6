#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "calibration/kernels/held_out.hpp"
#include "calibration/kernels/kernel_profile.hpp"
#include "calibration/kernels/kernel_rules.hpp"
#include "calibration/kernels/measurement_files.hpp"
#include "calibration/kernels/profile_library.hpp"

namespace orrery {

/// What a profile is made of.
struct FitInputs {
  MeasurementSet measurements;
  std::vector<DeviceSpec> devices;  ///< every GPU that the measurements or the rules may name
  KernelRules rules;
  /// The profile that ships for a GPU, which lends what the measurements do not hold; nothing without one.
  /// Empty: nothing is lent from profiles.
  std::function<std::optional<KernelProfile>(const std::string& gpu)> shipped;
  /// Where the GPU's own profile gets what neither rows nor rules give; none: it stays without.
  std::optional<LoadedProfile> base;
  std::string base_name;   ///< how the base is named in sources: "the shipped profile h100-sxm-80gb"
  std::uint64_t seed = 1;  ///< of the held-out fifth
  bool held_out = false;   ///< also fit with a fifth left out, for the report
  std::function<void(const std::string& what)> progress;  ///< may be empty
};

/// Where a table of a profile comes from.
enum class TableOrigin { rows, lent, base, assumed };
std::string_view name_of(TableOrigin origin);

/// One table of a profile, for the report.
struct TableReport {
  std::string op, subset;  ///< as in FitError
  TableOrigin origin = TableOrigin::rows;
  Evidence evidence = Evidence::interpolated;  ///< the best that a time from it can have
  std::string source;
  FitError cross_validated;  ///< of tables fitted to rows
  HeldOut held_out;
};

struct FittedKernelProfile {  // NOLINT(bugprone-exception-escape): moving ordered JSON allocates nothing
  KernelProfile profile;
  std::vector<TableReport> tables;
};

/// The profile of one GPU. For every table: the GPU's own rows; else what the rules lend, from the lender's
/// rows or, without any, its shipped profile; else the base. Deterministic; about 3 s on one core with the
/// tables that ship.
/// @throws std::invalid_argument if the GPU is not among the devices
FittedKernelProfile fit_profile(const std::string& gpu, const FitInputs& inputs);

}  // namespace orrery
