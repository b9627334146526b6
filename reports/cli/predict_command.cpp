#include <optional>

#include "reports/answers/calibrated_models.hpp"
#include "reports/answers/predict.hpp"
#include "reports/cli/commands.hpp"
#include "reports/cli/options.hpp"
#include "reports/cli/output.hpp"
#include "reports/experiment/settings.hpp"
#include "reports/writers/chrome_trace.hpp"
#include "reports/writers/json_text.hpp"
#include "reports/writers/prediction_writer.hpp"

namespace orrery {
namespace {

struct PredictArguments {
  std::string experiment;
  std::string beside, beside_placement;
  CommonOptions common;
};

/// Reads the neighbour and where it stands; an engine without links has no use for one.
void read_beside(const PredictArguments& arguments, PredictOptions& options) {
  if (arguments.beside.empty()) {
    if (!arguments.beside_placement.empty()) {
      throw InputError(
          InputProblem{"--beside-placement", "", "", "", "there is no --beside that it could place"});
    }
    return;
  }
  if (options.engine == EngineKind::estimate) {
    throw InputError(
        InputProblem{"--beside", "", "", "", "the closed form has no links to share; use --engine simulate"});
  }
  if (arguments.beside_placement == "alternate") {
    options.beside_placement = BesidePlacement::alternate;
  } else if (!arguments.beside_placement.empty() && arguments.beside_placement != "after") {
    throw InputError(InputProblem{"--beside-placement", "", "\"" + arguments.beside_placement + "\"",
                                  "one of after, alternate", ""});
  }
  if (arguments.beside == "-" && arguments.experiment == "-") {
    throw InputError(InputProblem{"orrery predict", "", "\"-\" twice",
                                  "standard input for one of EXPERIMENT and --beside", ""});
  }
  const ExperimentDocument document = read_experiment_document(arguments.beside);
  options.beside = std::make_shared<const Experiment>(read_experiment(document.json, document.file));
}

std::string formatted(const Prediction& prediction, OutputFormat format) {
  switch (format) {
    case OutputFormat::json:
      return json_text(prediction_json(prediction));
    case OutputFormat::csv:
      return prediction_csv(prediction);
    case OutputFormat::text:
      break;
  }
  return prediction_text(prediction);
}

/// The experiment, with the job beside it put into the options: all that is wrong with either and with the
/// name of the calibration at once.
Experiment read_inputs(const PredictArguments& arguments, PredictOptions& options) {
  std::vector<InputProblem> problems;
  const auto collect = [&problems](const auto& work) {
    try {
      work();
    } catch (const InputError& error) {
      problems.insert(problems.end(), error.problems().begin(), error.problems().end());
    }
  };
  const CommonOptions& common = arguments.common;
  Experiment experiment;
  collect([&] {
    ExperimentDocument document = read_experiment_document(arguments.experiment);
    apply_settings(document.json, common.settings);
    collect([&] { experiment = read_experiment(document.json, document.file); });
    const Json::json_pointer place("/calibration");
    const bool named =
        document.json.is_object() && document.json.contains(place) && document.json[place].is_string();
    if (common.calibration.empty() && named)
      check_calibration_name(document.json[place], document.file, place.to_string());
  });
  collect([&] { check_calibration_name(common.calibration, "--calibration", ""); });
  collect([&] { read_beside(arguments, options); });
  if (!problems.empty()) throw InputError(std::move(problems));
  return experiment;
}

int run_predict(const PredictArguments& arguments) {
  const CommonOptions& common = arguments.common;
  RunOptions options = check_common_options(common, EngineKind::simulate);
  if (!common.trace.empty() && options.predict.engine == EngineKind::estimate) {
    throw InputError(
        InputProblem{"--trace", "", "", "", "the closed form has no timeline; use --engine simulate"});
  }
  Stopwatch stopwatch(common.timing);
  const Experiment experiment = read_inputs(arguments, options.predict);
  stopwatch.lap("reading");
  const Prediction prediction = predict(experiment, options.predict);
  stopwatch.lap("predicting");
  const std::string result = formatted(prediction, options.format);
  if (!common.trace.empty()) write_text_file_atomically(common.trace, chrome_trace(*prediction.simulated));
  if (options.format != OutputFormat::text && !common.quiet) {
    for (const std::string& warning : prediction.warnings) print_note("warning: " + warning);
  }
  print_result(result);
  stopwatch.lap("writing");
  return prediction.fits() ? kSuccess : kDoesNotFit;
}

}  // namespace

Command add_predict_command(CLI::App& application) {
  auto arguments = std::make_shared<PredictArguments>();
  CLI::App* command =
      application.add_subcommand("predict", "step time, throughput, MFU, memory, breakdown and interval");
  command
      ->add_option("EXPERIMENT", arguments->experiment,
                   "a file, - for standard input, or the name of an example")
      ->required();
  command
      ->add_option("--beside", arguments->beside,
                   "a second experiment whose steps run on the same fabric all the while")
      ->type_name("EXPERIMENT");
  command
      ->add_option("--beside-placement", arguments->beside_placement,
                   "where its nodes are: after (those behind, default) or alternate (every second one)")
      ->type_name("WHERE");
  add_common_options(*command, arguments->common);
  return {command, [arguments] { return run_predict(*arguments); }};
}

}  // namespace orrery
