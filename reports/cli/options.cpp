#include "reports/cli/options.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <thread>

#include "reports/cli/output.hpp"

namespace orrery {
namespace {

constexpr std::int64_t kMostThreads = 1024;

void refuse(std::vector<InputProblem>& problems, const std::string& option, const std::string& found,
            const std::vector<std::string>& names) {
  problems.push_back({option, "", "\"" + found + "\"", one_of(names, found), ""});
}

void refuse_unbuilt(std::vector<InputProblem>& problems, const std::string& option,
                    const std::string& message) {
  problems.push_back({option, "", "", "", message});
}

/// A whole number of at least zero.
std::int64_t read_count(std::vector<InputProblem>& problems, const std::string& option,
                        const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && value >= 0) return value;
  problems.push_back({option, "", "\"" + text + "\"", "an integer of at least 0", ""});
  return 0;
}

void check_tier(const std::string& tier, Tier default_tier, PredictOptions& predict,
                std::vector<InputProblem>& problems) {
  constexpr std::string_view kSite = "site=";
  predict.tier = default_tier;
  if (tier == "measured") {
    predict.tier = Tier::measured;
  } else if (tier == "datasheet") {
    predict.tier = Tier::datasheet;
  } else if (default_tier == Tier::measured && (tier == "stack" || tier.starts_with(kSite))) {
    problems.push_back({"--tier", "", "\"" + tier + "\"",
                        "\"measured\" or \"datasheet\": nothing here runs under a software stack", ""});
  } else if (tier == "stack") {
    predict.tier = Tier::stack;
  } else if (tier.starts_with(kSite) && tier.size() > kSite.size()) {
    predict.tier = Tier::site;
    predict.site = tier.substr(kSite.size());
  } else if (!tier.empty()) {
    std::vector<std::string> names = {"stack", "site=FILE", "measured", "datasheet"};
    if (default_tier == Tier::measured) names = {"measured", "datasheet"};
    refuse(problems, "--tier", tier, names);
  }
}

}  // namespace

void add_common_options(CLI::App& command, CommonOptions& options) {
  command
      .add_option("--set", options.settings,
                  "path.to.key=value, applied to the experiment before it is checked")
      ->allow_extra_args(false)
      ->type_name("PATH=VALUE");
  command.add_option("--engine", options.engine, "estimate (closed form) or simulate (discrete events)")
      ->type_name("ENGINE");
  command.add_option("--calibration", options.calibration, "calibration to use; default: the GPU's")
      ->type_name("NAME|FILE");
  command
      .add_option("--tier", options.tier,
                  "what the answer may rest on: datasheet, measured, stack (default) or site=FILE")
      ->type_name("TIER");
  command.add_option("--scope", options.scope, "folded (representative ranks, default) or full (every GPU)")
      ->type_name("SCOPE");
  command.add_option("--format", options.format, "text (default), json or csv")->type_name("FORMAT");
  command.add_option("--trace", options.trace, "write the simulated step as a Chrome trace (Perfetto)")
      ->type_name("FILE.json");
  // Named by the contract, so that it is refused with a reason; absent from --help until it is built.
  command.add_option("--report", options.report)->group("");
  command.add_flag("--timing", options.timing, "print how long we took, on stderr");
  command.add_option("--seed", options.seed, "seed of everything random (default 1)")->type_name("N");
  command.add_option("--threads", options.threads, "threads to use (default: all processors)")
      ->type_name("N");
  command.add_flag("--quiet", options.quiet, "no progress and warnings on stderr");
}

void add_cluster_options(CLI::App& command, std::string& cluster, CommonOptions& options) {
  command.add_option("CLUSTER", cluster, "a preset's name, a file (of a cluster or an experiment) or -")
      ->required();
  command
      .add_option("--set", options.settings, "path.to.key=value, applied to the cluster before it is checked")
      ->allow_extra_args(false)
      ->type_name("PATH=VALUE");
}

void add_output_options(CLI::App& command, CommonOptions& options) {
  command.add_option("--format", options.format, "text (default), json or csv")->type_name("FORMAT");
  command.add_flag("--timing", options.timing, "print how long we took, on stderr");
  // A script may give these to every command; here nothing is drawn and nothing runs side by side.
  if (command.get_option_no_throw("--seed") == nullptr) {
    command.add_option("--seed", options.seed, "seed of everything random: nothing here is")->type_name("N");
  }
  command.add_option("--threads", options.threads, "threads to use: the result is the same at any number")
      ->type_name("N");
  command.add_flag("--quiet", options.quiet, "no progress and warnings on stderr");
}

RunOptions check_common_options(const CommonOptions& options, EngineKind default_engine, Tier default_tier) {
  std::vector<InputProblem> problems;
  RunOptions run;
  run.predict.engine = default_engine;
  if (options.engine == "estimate") {
    run.predict.engine = EngineKind::estimate;
  } else if (options.engine == "simulate") {
    run.predict.engine = EngineKind::simulate;
  } else if (!options.engine.empty()) {
    refuse(problems, "--engine", options.engine, {"estimate", "simulate"});
  }
  if (options.scope == "full" && run.predict.engine == EngineKind::estimate) {
    problems.push_back(
        {"--scope", "", "full with --engine estimate", "--engine simulate, which has ranks", ""});
  } else if (options.scope == "full") {
    run.predict.full_scope = true;
  } else if (!options.scope.empty() && options.scope != "folded") {
    refuse(problems, "--scope", options.scope, {"folded", "full"});
  }
  check_tier(options.tier, default_tier, run.predict, problems);
  if (options.format == "json") {
    run.format = OutputFormat::json;
  } else if (options.format == "csv") {
    run.format = OutputFormat::csv;
  } else if (options.format != "text") {
    refuse(problems, "--format", options.format, {"text", "json", "csv"});
  }
  if (!options.report.empty()) refuse_unbuilt(problems, "--report", "HTML reports are not built yet");
  read_count(problems, "--seed", options.seed);
  const std::int64_t threads = read_count(problems, "--threads", options.threads);
  if (!problems.empty()) throw InputError(std::move(problems));
  run.predict.calibration = options.calibration;
  if (run.predict.tier == Tier::datasheet && !options.calibration.empty() && !options.quiet)
    print_note("warning: --calibration has no effect at --tier datasheet, which knows no profile");
  const std::int64_t processors = std::max(1U, std::thread::hardware_concurrency());
  run.threads = static_cast<int>(std::min(threads > 0 ? threads : processors, kMostThreads));
  return run;
}

}  // namespace orrery
