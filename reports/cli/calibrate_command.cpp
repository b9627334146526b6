#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "reports/answers/calibrate.hpp"
#include "reports/answers/calibrated_models.hpp"
#include "reports/answers/learn_stacks.hpp"
#include "reports/cli/commands.hpp"
#include "reports/cli/options.hpp"
#include "reports/cli/output.hpp"
#include "reports/writers/calibration_writer.hpp"
#include "reports/writers/json_text.hpp"
#include "reports/writers/site_writer.hpp"
#include "topologies/topology_presets.hpp"

namespace orrery {
namespace {

struct CalibrateArguments {
  CalibrateOptions options;
  std::string out, runs, calibration, format = "text", seed = "1", threads = "0";
  bool quiet = false, timing = false;
};

std::string formatted(const Calibration& calibration, const std::string& format, const std::string& out) {
  if (format == "json") return json_text(calibration_json(calibration, out));
  if (format == "csv") return calibration_csv(calibration);
  return calibration_text(calibration, out);
}

/// Whether a file is among those that are read, folders' included.
bool is_read(const CalibrateArguments& arguments, const std::string& file) {
  std::vector<std::string> inputs = arguments.options.measurements;
  inputs.push_back(arguments.runs);
  const std::filesystem::path path(file);
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  std::error_code ignored;
  return std::any_of(inputs.begin(), inputs.end(), [&](const std::string& input) {
    if (std::filesystem::equivalent(path, input, ignored)) return true;
    return path.extension() == ".jsonl" && std::filesystem::exists(path, ignored) &&
           std::filesystem::equivalent(folder, input, ignored);
  });
}

/// What is wrong with the options, all at once and before anything is read.
void check_options(const CalibrateArguments& arguments) {
  std::vector<InputProblem> problems;
  const auto refuse = [&problems](const char* option, const std::string& found, const std::string& expected) {
    problems.push_back({option, "", found, expected, ""});
  };
  if (!arguments.runs.empty()) {
    if (!arguments.options.measurements.empty())
      refuse("--runs", "with MEASUREMENTS", "one of the two: a site's runs, or a GPU's kernels");
    if (!arguments.options.base.empty())
      refuse("--base", "with --runs", "MEASUREMENTS: a site has no base profile");
    const std::vector<std::string> gpus = topology_preset_names(TopologyPresetKind::gpu);
    if (!arguments.options.gpu.empty() &&
        std::find(gpus.begin(), gpus.end(), arguments.options.gpu) == gpus.end())
      refuse("--gpu", "\"" + arguments.options.gpu + "\"", one_of(gpus, arguments.options.gpu));
    check_calibration_name(arguments.calibration, "--calibration", "");
  } else {
    if (!arguments.calibration.empty())
      refuse("--calibration", "without --runs", "--base, for what MEASUREMENTS leave open");
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
    if (is_read(arguments, arguments.out))
      refuse("--out", "\"" + arguments.out + "\", which is read", "a file of its own: measurements are kept");
  }
  const std::vector<std::string> formats = {"text", "json", "csv"};
  if (std::find(formats.begin(), formats.end(), arguments.format) == formats.end())
    refuse("--format", "\"" + arguments.format + "\"", one_of(formats, arguments.format));
  for (const auto& [option, text] : {std::pair<const char*, const std::string&>{"--seed", arguments.seed},
                                     {"--threads", arguments.threads}}) {
    std::uint64_t number = 0;
    const char* end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, number);
    if (read.ec != std::errc() || read.ptr != end)
      refuse(option, "\"" + text + "\"", "an integer of at least 0");
  }
  if (!problems.empty()) throw InputError(std::move(problems));
}

int learn_from_runs(const CalibrateArguments& arguments) {
  Stopwatch stopwatch(arguments.timing);
  LearnSiteOptions options;
  options.predict.tier = Tier::stack;
  options.predict.calibration = arguments.calibration;
  options.gpu = arguments.options.gpu;
  constexpr unsigned long long kMostThreads = 1024;
  const unsigned long long threads = std::min(std::stoull(arguments.threads), kMostThreads);
  options.threads =
      static_cast<int>(threads > 0 ? threads : std::max(1U, std::thread::hardware_concurrency()));
  const std::vector<RunRecord> runs = read_runs({arguments.runs});
  const LearnedSite learned = learn_site(runs, options);
  const SiteProfile& site = learned.profile;
  stopwatch.lap("learning");
  const std::string result = arguments.format == "json"  ? json_text(site_json(learned, arguments.out))
                             : arguments.format == "csv" ? site_csv(site)
                                                         : site_text(learned, runs.size(), arguments.out);
  write_text_file_atomically(arguments.out, site_profile_text(site));
  if (arguments.format != "text" && !arguments.quiet) {
    for (const std::string& warning : learned.warnings) print_note("warning: " + warning);
  }
  print_result(result);
  stopwatch.lap("writing");
  return kSuccess;
}

int run_calibrate(const CalibrateArguments& arguments) {
  check_options(arguments);
  if (!arguments.runs.empty()) return learn_from_runs(arguments);
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
  command->add_option("--threads", arguments->threads, "threads to use: the result is the same at any number")
      ->type_name("N");
  command->add_option("--seed", arguments->seed, "seed of the held-out fifth (default 1)")->type_name("N");
  command->add_option("--format", arguments->format, "text (default), json or csv")->type_name("FORMAT");
  command->add_flag("--timing", arguments->timing, "print how long we took, on stderr");
  command->add_flag("--quiet", arguments->quiet, "no progress and warnings on stderr");
  command
      ->add_option(
          "--runs", arguments->runs,
          "measured runs of one site (3 to 20, one JSON object a line): learns the site's factors for "
          "--tier site=FILE instead")
      ->type_name("RUNS.jsonl");
  command
      ->add_option("--calibration", arguments->calibration,
                   "with --runs: the kernel profile that predictions of this site use (default: the GPU's)")
      ->type_name("NAME|FILE");
  return {command, [arguments] { return run_calibrate(*arguments); }};
}

}  // namespace orrery
