#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "reports/answers/scale.hpp"
#include "reports/cli/commands.hpp"
#include "reports/cli/long_work.hpp"
#include "reports/cli/options.hpp"
#include "reports/cli/output.hpp"
#include "reports/experiment/settings.hpp"
#include "reports/writers/json_text.hpp"
#include "reports/writers/scaling_writer.hpp"

namespace orrery {
namespace {

constexpr int kMostGpus = 8'000'000;  // a million nodes of eight
constexpr size_t kMostPoints = 256;

struct ScaleArguments {
  std::string experiment, gpus;
  bool strong = false, weak = false;
  CommonOptions common;
};

/// Reads "64,128,512:4096": numbers and doubling ranges (from, twice that, ... up to the end).
class GpuList {
 public:
  explicit GpuList(const std::string& text) {
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find(',', begin), text.size());
      add_element(text.substr(begin, end - begin));
      begin = end + 1;
    }
    if (problems_.empty() && gpus_.size() > kMostPoints) {
      problems_.push_back({"--gpus", "", std::to_string(gpus_.size()) + " points",
                           "at most " + std::to_string(kMostPoints), ""});
    }
  }

  const std::vector<int>& gpus() const { return gpus_; }
  const std::vector<InputProblem>& problems() const { return problems_; }

 private:
  void refuse(const std::string& found) {
    problems_.push_back(
        {"--gpus", "", "\"" + found + "\"",
         fmt::format("numbers of GPUs in [1, {}] or doubling ranges, such as 64,128 or 64:4096", kMostGpus),
         ""});
  }

  static bool read_number(std::string_view text, int& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size() && value >= 1 && value <= kMostGpus;
  }

  void add(int gpus) {
    if (std::find(gpus_.begin(), gpus_.end(), gpus) == gpus_.end()) {
      gpus_.push_back(gpus);
    } else {
      problems_.push_back(
          {"--gpus", "", std::to_string(gpus) + " a second time", "each number of GPUs once", ""});
    }
  }

  void add_element(const std::string& text) {
    const size_t colon = text.find(':');
    int first = 0, last = 0;
    if (colon == std::string::npos) {
      if (read_number(text, first)) {
        add(first);
      } else {
        refuse(text);
      }
      return;
    }
    if (!read_number(std::string_view(text).substr(0, colon), first) ||
        !read_number(std::string_view(text).substr(colon + 1), last) || last < first) {
      refuse(text);
      return;
    }
    for (std::int64_t gpus = first; gpus <= last; gpus *= 2) add(static_cast<int>(gpus));
  }

  std::vector<int> gpus_;
  std::vector<InputProblem> problems_;
};

std::string formatted(const Scaling& scaling, OutputFormat format) {
  switch (format) {
    case OutputFormat::json:
      return json_text(scaling_json(scaling));
    case OutputFormat::csv:
      return scaling_csv(scaling);
    case OutputFormat::text:
      break;
  }
  return scaling_text(scaling);
}

std::vector<int> check_arguments(const ScaleArguments& arguments) {
  const GpuList list(arguments.gpus);
  std::vector<InputProblem> problems = list.problems();
  if (arguments.strong && arguments.weak)
    problems.push_back({"orrery scale", "", "--strong and --weak", "one of the two", ""});
  if (!arguments.common.trace.empty())
    problems.push_back({"--trace", "", "", "", "belongs to predict: one experiment, one timeline"});
  if (!problems.empty()) throw InputError(std::move(problems));
  return list.gpus();
}

void print_warnings(const Scaling& scaling, bool with_results) {
  if (scaling.interrupted) print_note("warning: interrupted, results are partial");
  if (with_results) return;  // the text holds the others
  for (const ScalingPoint& point : scaling.points) {
    if (!point.answer) print_note(fmt::format("warning: {} GPUs refused: {}", point.gpus, point.reason));
  }
  for (const std::string& warning : scaling.warnings) print_note("warning: " + warning);
}

int run_scale(const ScaleArguments& arguments) {
  ScaleOptions options;
  options.gpus = check_arguments(arguments);
  const CommonOptions& common = arguments.common;
  const RunOptions run = check_common_options(common, EngineKind::simulate);
  Stopwatch stopwatch(common.timing);
  ExperimentDocument document = read_experiment_document(arguments.experiment);
  apply_settings(document.json, common.settings);
  const Experiment experiment = read_experiment(document.json, document.file);
  stopwatch.lap("reading");

  options.predict = run.predict;
  options.kind = arguments.strong ? ScalingKind::strong : ScalingKind::weak;
  options.threads = run.threads;
  const auto answer = [&] {
    const LongWork work(common.quiet, "points");
    options.stop = work.stop();
    options.progress = work.progress();
    return scale(experiment, options);
  };
  const Scaling scaling = answer();
  stopwatch.lap("scaling");
  if (!common.quiet) print_warnings(scaling, run.format == OutputFormat::text);
  print_result(formatted(scaling, run.format));
  stopwatch.lap("writing");
  if (scaling.interrupted) return kFailure;
  return scaling.fits() ? kSuccess : kDoesNotFit;
}

}  // namespace

Command add_scale_command(CLI::App& application) {
  auto arguments = std::make_shared<ScaleArguments>();
  CLI::App* command = application.add_subcommand(
      "scale", "scaling curves: the experiment on other numbers of GPUs, and each loss");
  command
      ->add_option("EXPERIMENT", arguments->experiment,
                   "a file, - for standard input, or the name of an example")
      ->required();
  command
      ->add_option("--gpus", arguments->gpus,
                   "numbers of GPUs, 64,128,512, or doubling ranges, 64:4096; the first is what the others "
                   "are held against")
      ->required()
      ->type_name("LIST");
  command->add_flag("--strong", arguments->strong, "strong scaling: the global batch stays");
  command->add_flag("--weak", arguments->weak,
                    "weak scaling (default): the global batch grows with the data degree");
  add_common_options(*command, arguments->common);
  return {command, [arguments] { return run_scale(*arguments); }};
}

}  // namespace orrery
