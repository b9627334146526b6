#pragma once

#include <filesystem>
#include <map>
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
  FitErrors scored_sizes;  ///< fit, payloads that are scored
  FitErrors left_out;      ///< the same payloads, their group left out
};

/// Text of one profile file and what it is called.
struct FittedProfile {
  std::string name;  ///< file stem: the GPU, or "fabric-PROTOCOL"
  std::string text;  ///< JSON, ending in a newline
  std::vector<OperationErrors> errors;
  int rows = 0;
};

/// One row with what the fit says of it. Ratios are logs of predicted over measured.
struct ScoredRow {
  CollectiveRow row;
  std::string place;    ///< "one node", "NVL72 domain", a protocol's name, or "AMD ..."
  double fit = 0;       ///< its own group in the fit
  double left_out = 0;  ///< its group left out
  double stated = 0;    ///< the same, of the set-up as far as its source states it
  double tool = 0;      ///< log of what its tool or set-up adds, learned without its group; 0 for the usual
};

struct CollectiveFits {
  std::vector<FittedProfile> profiles;
  std::vector<ScoredRow> scored;        ///< payloads from 8 KiB to 16 GiB
  std::map<std::string, int> excepted;  ///< rows that are not scored, by reason
};

inline constexpr double kLeastScoredBytes = 8192.0;
inline constexpr double kMostScoredBytes = 17179869184.0;

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
CollectiveFits fit_collective_profiles(const std::filesystem::path& data_folder,
                                       const std::filesystem::path& library_file);

}  // namespace orrery
