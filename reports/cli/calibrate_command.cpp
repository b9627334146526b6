#include <fmt/core.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <filesystem>

#include "reports/answers/calibrate.hpp"
#include "reports/cli/commands.hpp"
#include "reports/cli/options.hpp"
#include "reports/cli/output.hpp"
#include "reports/writers/calibration_writer.hpp"
#include "reports/writers/json_text.hpp"

namespace orrery {
namespace {

struct CalibrateArguments {
  CalibrateOptions options;
  std::string out, runs, format = "text", seed = "1";
  bool quiet = false, timing = false;
};

std::string formatted(const Calibration& calibration, const std::string& format, const std::string& out) {
  if (format == "json") return json_text(calibration_json(calibration, out));
  if (format == "csv") return calibration_csv(calibration);
  return calibration_text(calibration, out);
}

/// What is wrong with the options, all at once and before anything is read.
void check_options(const CalibrateArguments& arguments) {
  std::vector<InputProblem> problems;
  const auto refuse = [&problems](const char* option, const std::string& found, const std::string& expected) {
    problems.push_back({option, "", found, expected, ""});
  };
  if (!arguments.runs.empty()) {
    problems.push_back(
        {"--runs", "", "", "", "learning a site's factors from measured runs is not built yet"});
  } else {
    if (arguments.options.measurements.empty())
      refuse("MEASUREMENTS", "nothing", "files or folders of measurement lines");
    if (arguments.options.gpu.empty()) refuse("--gpu", "nothing", "the name of a GPU preset");
  }
  if (arguments.out.empty()) {
    refuse("--out", "nothing", "the file to write the profile to");
  } else {
    const std::filesystem::path folder = std::filesystem::path(arguments.out).parent_path();
    std::error_code ignored;
    if (!folder.empty() && !std::filesystem::is_directory(folder, ignored))
      refuse("--out", "\"" + arguments.out + "\"", "a file in a folder that exists");
    if (std::filesystem::is_directory(arguments.out, ignored))
      refuse("--out", "\"" + arguments.out + "\", a folder", "a file");
  }
  const std::vector<std::string> formats = {"text", "json", "csv"};
  if (std::find(formats.begin(), formats.end(), arguments.format) == formats.end())
    refuse("--format", "\"" + arguments.format + "\"", one_of(formats, arguments.format));
  std::uint64_t seed = 0;
  const char* end = arguments.seed.data() + arguments.seed.size();
  const auto read = std::from_chars(arguments.seed.data(), end, seed);
  if (read.ec != std::errc() || read.ptr != end)
    refuse("--seed", "\"" + arguments.seed + "\"", "an integer of at least 0");
  if (!problems.empty()) throw InputError(std::move(problems));
}

int run_calibrate(const CalibrateArguments& arguments) {
  check_options(arguments);
  Stopwatch stopwatch(arguments.timing);
  CalibrateOptions options = arguments.options;
  options.seed = std::stoull(arguments.seed);
  const bool shows_progress = !arguments.quiet && isatty(STDERR_FILENO) != 0;
  if (shows_progress) {
    options.progress = [](const std::string& what) { fmt::print(stderr, "\r\033[Kfitting {}", what); };
  }
  const Calibration calibration = calibrate(options);
  if (shows_progress) fmt::print(stderr, "\r\033[K");
  stopwatch.lap("fitting");
  const std::string result = formatted(calibration, arguments.format, arguments.out);
  write_text_file_atomically(arguments.out, calibration.text);
  if (arguments.format != "text" && !arguments.quiet) {
    for (const std::string& warning : calibration.warnings) print_note("warning: " + warning);
  }
  print_result(result);
  stopwatch.lap("writing");
  return kSuccess;
}

}  // namespace

Command add_calibrate_command(CLI::App& application) {
  auto arguments = std::make_shared<CalibrateArguments>();
  CLI::App* command = application.add_subcommand(
      "calibrate", "fits a calibration profile from measured kernels and says how good it is");
  command->add_option("MEASUREMENTS", arguments->options.measurements,
                      "files of measurement lines, or folders of *.jsonl");
  command->add_option("--gpu", arguments->options.gpu, "preset name of the GPU to fit")->type_name("NAME");
  command->add_option("--out", arguments->out, "file to write the profile to")->type_name("FILE");
  command
      ->add_option("--base", arguments->options.base,
                   "profile that fills what the measurements leave open: none, or a name or file (default: "
                   "the shipped one of the GPU or its nearest)")
      ->type_name("NAME|FILE|none");
  command->add_option("--seed", arguments->seed, "seed of the held-out fifth (default 1)")->type_name("N");
  command->add_option("--format", arguments->format, "text (default), json or csv")->type_name("FORMAT");
  command->add_flag("--timing", arguments->timing, "print how long we took, on stderr");
  command->add_flag("--quiet", arguments->quiet, "no progress and warnings on stderr");
  // Named by the contract, so that it is refused with a reason; absent from --help until it is built.
  command->add_option("--runs", arguments->runs)->group("");
  return {command, [arguments] { return run_calibrate(*arguments); }};
}

}  // namespace orrery
