#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "reports/answers/predict.hpp"

namespace orrery {

enum class OutputFormat { text, json, csv };

/// Options that the commands share (contract section 1), as typed.
struct CommonOptions {
  std::vector<std::string> settings;
  std::string engine, calibration, tier, scope, format = "text", report;
  std::string trace;
  bool timing = false, quiet = false;
  std::string seed = "1";
  std::string threads = "0";  ///< 0: one a processor
};

/// What the typed options mean.
struct RunOptions {
  PredictOptions predict;
  OutputFormat format = OutputFormat::text;
  int threads = 1;
};

void add_common_options(CLI::App& command, CommonOptions& options);
/// The argument CLUSTER and --set, whose paths start at the cluster.
void add_cluster_options(CLI::App& command, std::string& cluster, CommonOptions& options);
/// --format, --timing, --quiet, --threads and, where the command has none of its own, --seed: for a command
/// that takes few of the common options. Call it last.
void add_output_options(CLI::App& command, CommonOptions& options);
/// @param default_engine of the command
/// @param default_tier   of the command; `measured` for one that knows of no software stack, which refuses
///                       stack and site
/// @throws InputError for a value that is unknown or not built yet, all of them at once
RunOptions check_common_options(const CommonOptions& options, EngineKind default_engine,
                                Tier default_tier = Tier::stack);

}  // namespace orrery
