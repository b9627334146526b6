#include <optional>

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
  CommonOptions common;
};

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

int run_predict(const PredictArguments& arguments) {
  const CommonOptions& common = arguments.common;
  const RunOptions options = check_common_options(common, EngineKind::simulate);
  if (!common.trace.empty() && options.predict.engine == EngineKind::estimate) {
    throw InputError(
        InputProblem{"--trace", "", "", "", "the closed form has no timeline; use --engine simulate"});
  }
  Stopwatch stopwatch(common.timing);
  ExperimentDocument document = read_experiment_document(arguments.experiment);
  for (const std::string& setting : common.settings) apply_setting(document.json, setting);
  const Experiment experiment = read_experiment(document.json, document.file);
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
  add_common_options(*command, arguments->common);
  return {command, [arguments] { return run_predict(*arguments); }};
}

}  // namespace orrery
