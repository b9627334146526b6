#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <memory>

#include "calibration/kernels/profile_library.hpp"
#include "reports/answers/validate.hpp"
#include "reports/cli/commands.hpp"
#include "reports/cli/long_work.hpp"
#include "reports/cli/options.hpp"
#include "reports/cli/output.hpp"
#include "reports/writers/json_text.hpp"
#include "reports/writers/validation_writer.hpp"

namespace orrery {
namespace {

struct ValidateArguments {
  std::vector<std::string> files;
  RunSelection selection;
  std::string mfu_above = "0";
  std::string leave_out, without;
  CommonOptions common;
};

std::string formatted(const Validation& validation, OutputFormat format) {
  switch (format) {
    case OutputFormat::json:
      return json_text(validation_json(validation));
    case OutputFormat::csv:
      return validation_csv(validation);
    case OutputFormat::text:
      break;
  }
  return validation_text(validation);
}

void refuse_what_is_not_built(const ValidateArguments& arguments) {
  std::vector<InputProblem> problems;
  const auto refuse = [&problems](const std::string& option, const std::string& message) {
    problems.push_back({option, "", "", "", message});
  };
  if (!arguments.leave_out.empty() && arguments.leave_out != "source" && arguments.leave_out != "family") {
    const std::vector<std::string> names = {"source", "family"};
    problems.push_back(
        {"--leave-out", "", "\"" + arguments.leave_out + "\"", one_of(names, arguments.leave_out), ""});
  }
  if (!arguments.common.settings.empty()) refuse("--set", "a measured run's experiment is never changed");
  if (!arguments.common.trace.empty()) refuse("--trace", "belongs to predict: one experiment, one timeline");
  if (!problems.empty()) throw InputError(std::move(problems));
}

std::optional<Effect> read_effect(const std::string& name, EngineKind engine) {
  if (name.empty()) return std::nullopt;
  const Effect effect = effect_named(name);
  if (effect == Effect::contention && engine == EngineKind::estimate) {
    throw InputError(InputProblem{"--without", "", "contention with --engine estimate",
                                  "--engine simulate, where links are shared", ""});
  }
  return effect;
}

std::string without_help() {
  std::string text = "switch one modelled effect off, nothing refitted:";
  for (const EffectDescription& effect : effects())
    text += fmt::format("\n{}: {}", effect.name, effect.without);
  return text;
}

/// A share of a GPU's peak.
double read_share(const std::string& option, const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && value >= 0 && value < 1) return value;
  throw InputError(InputProblem{option, "", "\"" + text + "\"", "a number of at least 0 and below 1", ""});
}

/// One profile for runs of several GPUs is what was asked for, but of the others it knows less than their
/// own.
void warn_about_other_gpus(const std::string& calibration, const Validation& validation) {
  const std::string gpu = load_profile_named(calibration).gpu;
  const auto others =
      std::count_if(validation.rows.begin(), validation.rows.end(),
                    [&gpu](const ValidationRow& row) { return row.scored && row.gpu != gpu; });
  if (others > 0) {
    print_note(fmt::format("warning: --calibration {} is of {}: {} of the scored runs are of other GPUs",
                           calibration, gpu, others));
  }
}

int run_validate(const ValidateArguments& arguments) {
  refuse_what_is_not_built(arguments);
  const RunOptions run = check_common_options(arguments.common, EngineKind::estimate);
  const std::optional<Effect> without = read_effect(arguments.without, run.predict.engine);
  const double mfu_above = read_share("--mfu-above", arguments.mfu_above);
  Stopwatch stopwatch(arguments.common.timing);
  std::vector<InputHash> inputs;
  const std::vector<RunRecord> runs = select_runs(read_runs(arguments.files, &inputs), arguments.selection);
  stopwatch.lap("reading");

  ValidateOptions options;
  options.predict = run.predict;
  options.predict.echo = false;
  if (arguments.leave_out == "source") {
    options.predict.scored = std::make_shared<const ScoredRun>(ScoredRun{"", "", "", LeaveOut::source});
  }
  options.threads = run.threads;
  options.mfu_above = mfu_above;
  options.predict.without = without;
  const auto answer = [&] {
    const LongWork work(arguments.common.quiet, "runs");
    options.stop = work.stop();
    options.progress = work.progress();
    return validate(runs, options);
  };
  Validation validation = answer();
  validation.inputs = std::move(inputs);
  if (!run.predict.calibration.empty() && run.predict.tier != Tier::datasheet && !arguments.common.quiet)
    warn_about_other_gpus(run.predict.calibration, validation);
  stopwatch.lap("validating");
  if (validation.interrupted && !arguments.common.quiet)
    print_note("warning: interrupted, results are partial");
  print_result(formatted(validation, run.format));
  return validation.interrupted ? kFailure : kSuccess;
}

}  // namespace

Command add_validate_command(CLI::App& application) {
  auto arguments = std::make_shared<ValidateArguments>();
  CLI::App* command =
      application.add_subcommand("validate", "predicted against measured runs, the null model beside");
  command->add_option("RUNS", arguments->files,
                      "files of measured runs, one JSON object a line (default: what ships)");
  command->add_option("--id", arguments->selection.ids, "only the run with this id (repeatable)")
      ->allow_extra_args(false)
      ->type_name("ID");
  command
      ->add_option("--confidence", arguments->selection.confidences,
                   "only runs of these, such as high,medium")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("LIST");
  command->add_option("--source", arguments->selection.sources, "only runs of this source group (repeatable)")
      ->allow_extra_args(false)
      ->type_name("NAME");
  command->add_option("--without", arguments->without, without_help())->type_name("EFFECT");
  command
      ->add_option("--mfu-above", arguments->mfu_above,
                   "only runs that were measured above this share of the GPUs' peak, such as 0.05")
      ->allow_extra_args(false)
      ->type_name("SHARE");
  command
      ->add_option(
          "--leave-out", arguments->leave_out,
          "what the stack's profile is refitted without, row by row: the row's family (default) or its "
          "whole source")
      ->type_name("source|family");
  add_common_options(*command, arguments->common);
  return {command, [arguments] { return run_validate(*arguments); }};
}

}  // namespace orrery
