#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "calibration/collectives/collective_rows.hpp"
#include "calibration/collectives/fit_errors.hpp"
#include "sim/collectives/collective_constants.hpp"

namespace orrery {

/// Errors of one operation: of the fit, and with the group of rows that is predicted left out of it. A group
/// is one source, GPU and number of ranks.
struct OperationErrors {
  CollectiveOp op = CollectiveOp::all_reduce;
  FitErrors fit;
  FitErrors training_sizes;  ///< fit, payloads from 1 MiB on
  FitErrors left_out;        ///< payloads from 1 MiB on, their group left out
};

/// Text of one profile file and what it is called.
struct FittedProfile {
  std::string name;  ///< file stem: the GPU, or "fabric-PROTOCOL"
  std::string text;  ///< JSON, ending in a newline
  std::vector<OperationErrors> errors;
  int rows = 0;
};

/// Fits the rows of one GPU, all inside one scale-up domain.
/// @param scale_up_bandwidth  B/s per GPU and direction
/// @param hash                of where the rows were read
/// @return a profile without curves if no operation has enough sizes (domain_fit.hpp)
FittedProfile fit_domain_profile(const std::string& gpu, double scale_up_bandwidth,
                                 const std::vector<CollectiveRow>& rows, const std::string& hash);

/// Fits every GPU and protocol that the rows cover; deterministic.
/// @param data_folder holds collectives.jsonl and collective_fabrics.json
/// @param library_file the library's constants (profiles/collectives/nccl-library.json)
/// @throws InputError
std::vector<FittedProfile> fit_collective_profiles(const std::filesystem::path& data_folder,
                                                   const std::filesystem::path& library_file);

}  // namespace orrery
