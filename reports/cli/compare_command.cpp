#include <algorithm>
#include <optional>

#include "reports/answers/compare.hpp"
#include "reports/answers/variants.hpp"
#include "reports/cli/commands.hpp"
#include "reports/cli/options.hpp"
#include "reports/cli/output.hpp"
#include "reports/experiment/settings.hpp"
#include "reports/writers/comparison_writer.hpp"
#include "reports/writers/json_text.hpp"
#include "reports/writers/variants_writer.hpp"

namespace orrery {
namespace {

struct CompareArguments {
  std::string a, b, variants;
  std::vector<std::string> settings_of_b;
  CommonOptions common;
};

std::string formatted(const Comparison& comparison, OutputFormat format) {
  switch (format) {
    case OutputFormat::json:
      return json_text(comparison_json(comparison));
    case OutputFormat::csv:
      return comparison_csv(comparison);
    case OutputFormat::text:
      break;
  }
  return comparison_text(comparison);
}

void check_arguments(const CompareArguments& arguments) {
  std::vector<InputProblem> problems;
  const bool one_other = !arguments.b.empty() || !arguments.settings_of_b.empty();
  if (!arguments.variants.empty() && one_other) {
    problems.push_back({"--variants", "", "", "", "stands for B: expected neither B nor --set-b beside it"});
  }
  if (arguments.variants == "-" && arguments.a == "-")
    problems.push_back(
        {"orrery compare", "", "\"-\" twice", "standard input for one of A and --variants", ""});
  if (!one_other && arguments.variants.empty()) {
    problems.push_back({"orrery compare", "", "one experiment",
                        "a second one, --set-b path=value for what differs in B, or --variants FILE", ""});
  }
  if (arguments.a == "-" && arguments.b == "-")
    problems.push_back({"orrery compare", "", "\"-\" twice", "standard input for one of A and B", ""});
  if (!arguments.common.trace.empty())
    problems.push_back({"--trace", "", "", "", "belongs to predict: one experiment, one timeline"});
  if (!problems.empty()) throw InputError(std::move(problems));
}

/// Runs a part of reading; its problems join the list and reading goes on with the other experiment.
template <typename Read>
void collect(std::vector<InputProblem>& problems, const Read& read) {
  try {
    read();
  } catch (const InputError& error) {
    problems.insert(problems.end(), error.problems().begin(), error.problems().end());
  }
}

/// @param option that gave the settings, for messages; what --set has wrong is said once, not again of B
void apply_settings_of(ExperimentDocument& document, const std::vector<std::string>& settings,
                       const std::string& option, std::vector<InputProblem>& problems) {
  const std::string usual = "--set";
  std::vector<InputProblem> found;
  for (const std::string& setting : settings) {
    collect(found, [&] { apply_setting(document.json, setting); });
  }
  for (InputProblem problem : found) {
    if (problem.file.starts_with(usual)) problem.file.replace(0, usual.size(), option);
    if (std::find(problems.begin(), problems.end(), problem) == problems.end())
      problems.push_back(std::move(problem));
  }
}

struct ExperimentPair {
  Experiment a, b;
};

/// Every problem of both experiments at once. Those of a B that is A with settings name it so; what A has
/// wrong already is not said again of B.
ExperimentPair read_pair(const CompareArguments& arguments) {
  std::vector<InputProblem> problems;
  ExperimentPair pair;
  std::optional<ExperimentDocument> a, b;
  collect(problems, [&] { a = read_experiment_document(arguments.a); });
  if (!arguments.b.empty()) {
    collect(problems, [&] { b = read_experiment_document(arguments.b); });
  }
  if (!problems.empty()) throw InputError(std::move(problems));
  apply_settings_of(*a, arguments.common.settings, "--set", problems);
  const bool derived = !b;
  if (derived) {
    b = ExperimentDocument{a->file + " with --set-b", a->json};
  } else {
    apply_settings_of(*b, arguments.common.settings, "--set", problems);
  }
  apply_settings_of(*b, arguments.settings_of_b, "--set-b", problems);
  if (!problems.empty()) throw InputError(std::move(problems));
  collect(problems, [&] { pair.a = read_experiment(a->json, a->file); });
  std::vector<InputProblem> of_b;
  collect(of_b, [&] { pair.b = read_experiment(b->json, b->file); });
  for (InputProblem problem : of_b) {
    InputProblem same = problem;
    same.file = a->file;
    if (derived && std::find(problems.begin(), problems.end(), same) != problems.end()) continue;
    problems.push_back(std::move(problem));
  }
  if (!problems.empty()) throw InputError(std::move(problems));
  return pair;
}

std::string formatted(const VariantsComparison& comparison, OutputFormat format) {
  switch (format) {
    case OutputFormat::json:
      return json_text(variants_json(comparison));
    case OutputFormat::csv:
      return variants_csv(comparison);
    case OutputFormat::text:
      break;
  }
  return variants_text(comparison);
}

int run_variants(const CompareArguments& arguments) {
  const RunOptions options = check_common_options(arguments.common, EngineKind::simulate);
  Stopwatch stopwatch(arguments.common.timing);
  const ExperimentDocument list = read_variants_document(arguments.variants);
  const std::vector<Variant> variants = read_variants(list.json, list.file);
  ExperimentDocument base = read_experiment_document(arguments.a);
  for (const std::string& setting : arguments.common.settings) apply_setting(base.json, setting);
  stopwatch.lap("reading");
  const VariantsComparison comparison = compare_variants(base, variants, options.predict);
  stopwatch.lap("comparing");
  const std::string result = formatted(comparison, options.format);
  if (options.format != OutputFormat::text && !arguments.common.quiet) {
    for (const std::string& warning : comparison.base.prediction.warnings) print_note("warning: " + warning);
  }
  print_result(result);
  stopwatch.lap("writing");
  return comparison.fits() ? kSuccess : kDoesNotFit;
}

int run_compare(const CompareArguments& arguments) {
  check_arguments(arguments);
  if (!arguments.variants.empty()) return run_variants(arguments);
  const RunOptions options = check_common_options(arguments.common, EngineKind::simulate);
  Stopwatch stopwatch(arguments.common.timing);
  const ExperimentPair pair = read_pair(arguments);
  stopwatch.lap("reading");
  const Comparison comparison = compare(pair.a, pair.b, options.predict, options.threads);
  stopwatch.lap("comparing");
  const std::string result = formatted(comparison, options.format);
  if (options.format != OutputFormat::text && !arguments.common.quiet) {
    for (const std::string& warning : comparison.warnings) print_note("warning: " + warning);
    for (const std::string& warning : comparison.a.prediction.warnings) print_note("warning: A: " + warning);
    for (const std::string& warning : comparison.b.prediction.warnings) print_note("warning: B: " + warning);
  }
  print_result(result);
  stopwatch.lap("writing");
  return comparison.fits() ? kSuccess : kDoesNotFit;
}

}  // namespace

Command add_compare_command(CLI::App& application) {
  auto arguments = std::make_shared<CompareArguments>();
  CLI::App* command =
      application.add_subcommand("compare", "what-if: two experiments, and where the difference comes from");
  command->add_option("A", arguments->a, "a file, - for standard input, or the name of an example")
      ->required();
  command->add_option("B", arguments->b, "the same; left out: A with the settings of --set-b");
  command
      ->add_option("--set-b", arguments->settings_of_b,
                   "path.to.key=value, applied to B alone and after --set, which applies to both")
      ->allow_extra_args(false)
      ->type_name("PATH=VALUE");
  command
      ->add_option("--variants", arguments->variants,
                   "instead of B: a file of variants of A, - for standard input, or the name of one in "
                   "examples/variants")
      ->type_name("FILE");
  add_common_options(*command, arguments->common);
  return {command, [arguments] { return run_compare(*arguments); }};
}

}  // namespace orrery
