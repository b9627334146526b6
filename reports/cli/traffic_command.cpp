#include <charconv>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "reports/answers/traffic.hpp"
#include "reports/cli/commands.hpp"
#include "reports/cli/options.hpp"
#include "reports/cli/output.hpp"
#include "reports/writers/json_text.hpp"
#include "reports/writers/traffic_writer.hpp"

namespace orrery {
namespace {

constexpr std::int64_t kMostSeeds = 100000;
constexpr std::int64_t kMostParts = 10000;
constexpr int kParts = 100;

struct TrafficArguments {
  std::string cluster, flows, seeds = "1", tolerance, until = "acknowledged", usage, usage_parts;
  CommonOptions common;
};

std::int64_t count_option(std::vector<InputProblem>& problems, const std::string& option,
                          const std::string& text, std::int64_t least, std::int64_t most) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && value >= least && value <= most)
    return value;
  problems.push_back({option, "", "\"" + text + "\"",
                      "an integer in [" + std::to_string(least) + ", " + std::to_string(most) + "]", ""});
  return least;
}

TrafficRequest request_of(const TrafficArguments& arguments) {
  std::vector<InputProblem> problems;
  TrafficRequest request;
  request.cluster = arguments.cluster;
  request.flows = arguments.flows;
  request.settings = arguments.common.settings;
  if (arguments.cluster == "-" && arguments.flows == "-") {
    problems.push_back({"orrery traffic", "", "- twice", "standard input for one of CLUSTER and FLOWS", ""});
  }
  request.seeds = static_cast<int>(count_option(problems, "--seeds", arguments.seeds, 1, kMostSeeds));
  if (!arguments.tolerance.empty()) {
    const std::string& text = arguments.tolerance;
    double value = -1.0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !(value >= 0.0) || value > 0.5) {
      problems.push_back({"--tolerance", "", "\"" + text + "\"", "a number in [0, 0.5]", ""});
    } else {
      request.tolerance = value;
    }
  }
  request.acknowledged = arguments.until == "acknowledged";
  if (!request.acknowledged && arguments.until != "received") {
    const std::vector<std::string> names = {"acknowledged", "received"};
    problems.push_back({"--until", "", "\"" + arguments.until + "\"", one_of(names, arguments.until), ""});
  }
  if (arguments.usage.empty() && !arguments.usage_parts.empty()) {
    problems.push_back({"--usage-parts", "", "", "", "there is no --usage that it could cut"});
  } else if (!arguments.usage.empty()) {
    request.usage_parts = kParts;
    if (!arguments.usage_parts.empty()) {
      request.usage_parts =
          static_cast<int>(count_option(problems, "--usage-parts", arguments.usage_parts, 1, kMostParts));
    }
  }
  if (!problems.empty()) throw InputError(std::move(problems));
  request.seed = std::stoull(arguments.common.seed);  // checked by check_common_options
  return request;
}

std::string formatted(const TrafficAnswer& answer, OutputFormat format) {
  switch (format) {
    case OutputFormat::json:
      return json_text(traffic_json(answer));
    case OutputFormat::csv:
      return traffic_csv(answer);
    case OutputFormat::text:
      break;
  }
  return traffic_text(answer);
}

int run_traffic(const TrafficArguments& arguments) {
  const RunOptions run = check_common_options(arguments.common, EngineKind::simulate);
  const TrafficRequest request = request_of(arguments);
  Stopwatch watch(arguments.common.timing);
  const TrafficAnswer answer = answer_traffic(request);
  watch.lap("traffic");
  const std::string result = formatted(answer, run.format);
  if (!arguments.usage.empty()) write_text_file_atomically(arguments.usage, json_text(usage_json(answer)));
  if (run.format != OutputFormat::text && !arguments.common.quiet) {
    for (const std::string& warning : answer.warnings) print_note("warning: " + warning);
  }
  print_result(result);
  watch.lap("writing");
  return kSuccess;
}

}  // namespace

Command add_traffic_command(CLI::App& application) {
  auto arguments = std::make_shared<TrafficArguments>();
  CLI::App* command = application.add_subcommand(
      "traffic", "how long any set of flows takes on a fabric, and which links bind");
  add_cluster_options(*command, arguments->cluster, arguments->common);
  command
      ->add_option(
          "FLOWS", arguments->flows,
          "flows, one a line: {\"from\": GPU, \"to\": GPU, \"bytes\": N, \"start_s\": S}; - is standard "
          "input")
      ->required();
  CommonOptions& common = arguments->common;
  command->add_option("--seed", common.seed, "which draw of the ECMP hash (default 1)")->type_name("N");
  command
      ->add_option("--seeds", arguments->seeds,
                   "draws of the hash, from --seed on: the spread of mean and longest over them (default 1)")
      ->type_name("N");
  command
      ->add_option(
          "--tolerance", arguments->tolerance,
          "after an end, rates may stay for this share of the youngest flow's age (default 0.002: no "
          "completion moves by more than 0.5 %); 0 is exact")
      ->type_name("SHARE");
  command
      ->add_option("--until", arguments->until,
                   "a flow is complete when acknowledged (default: back at the sender) or received")
      ->type_name("WHEN");
  command->add_option("--usage", arguments->usage, "write the use of each link over time")
      ->type_name("FILE.json");
  command->add_option("--usage-parts", arguments->usage_parts, "equal parts of the time in it (default 100)")
      ->type_name("N");
  add_output_options(*command, common);
  return {command, [arguments] { return run_traffic(*arguments); }};
}

}  // namespace orrery
