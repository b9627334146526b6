#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "reports/answers/predict.hpp"
#include "reports/answers/validation.hpp"

namespace orrery {

/// A line of a file of measured runs (contract section 4).
struct RunRecord {   // NOLINT(bugprone-exception-escape): moving ordered JSON allocates nothing
  std::string file;  ///< "runs.jsonl:12"
  std::string id, source_group, confidence;
  Json experiment, measured;
  /// The note says that the published memory is the whole GPU's (contract section 4: an allocator's peak
  /// "unless note says otherwise"); measured.peak_memory_scope says it with more authority.
  bool note_says_whole_gpu = false;
};

struct ValidateOptions {
  PredictOptions predict{.engine = EngineKind::estimate, .echo = false};
  int threads = 1;
  double mfu_above = 0.0;  ///< runs whose measured MFU is not above this are left out
  std::function<void(int done, int total)> progress;  ///< called from one thread at a time; may be empty
  const std::atomic<bool>* stop = nullptr;  ///< set by a signal handler: finish the rows in work, then return
};

/// Reads files of measured runs, one JSON object a line; an empty list reads the ones that ship.
/// @param inputs  if not null, receives the files' hashes
/// @throws InputError with all files that cannot be read or hold no run, all lines that are no such object,
/// or a second row with the same id
std::vector<RunRecord> read_runs(const std::vector<std::string>& files,
                                 std::vector<InputHash>* inputs = nullptr);

/// Which rows to score; an empty list selects all.
struct RunSelection {
  std::vector<std::string> ids, confidences, sources;
};
/// @throws InputError for a name that no row carries
std::vector<RunRecord> select_runs(std::vector<RunRecord> runs, const RunSelection& selection);

/// Predicts every run and compares. Rows come back in the order of the input at any number of threads.
/// Nothing is fitted; a row's experiment is used as it stands.
Validation validate(const std::vector<RunRecord>& runs, const ValidateOptions& options);

/// The same once for each of these ways to predict, which take the place of options.predict: every run is
/// read once for all of them.
std::vector<Validation> validate_ways(const std::vector<RunRecord>& runs, const ValidateOptions& options,
                                      const std::vector<PredictOptions>& ways);

}  // namespace orrery
