#include <algorithm>
#include <charconv>
#include <memory>

#include "reports/answers/calibrated_models.hpp"
#include "reports/answers/collective.hpp"
#include "reports/cli/commands.hpp"
#include "reports/cli/options.hpp"
#include "reports/cli/output.hpp"
#include "reports/writers/collective_writer.hpp"

namespace orrery {
namespace {

struct CollectiveArguments {
  std::string cluster, op = "all_reduce", sizes = "1KiB:8GiB", ranks, ranks_per_node, gpus_per_thread;
  std::string calls_in_a_row, top_k, experts;
  CollectiveQuestion question;
  CommonOptions common;
};

int read_count(const std::string& option, const std::string& text, std::vector<InputProblem>& problems) {
  if (text.empty()) return 0;
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && value >= 1) return value;
  problems.push_back({option, "", "\"" + text + "\"", "an integer of at least 1", ""});
  return 1;
}

CollectiveQuestion check(const CollectiveArguments& arguments) {
  std::vector<InputProblem> problems;
  CollectiveQuestion question = arguments.question;
  question.calibration = arguments.common.calibration;
  question.op = arguments.op;
  const std::vector<std::string>& ops = collective_op_names();
  if (std::find(ops.begin(), ops.end(), question.op) == ops.end()) {
    problems.push_back({"--op", "", "\"" + question.op + "\"", one_of(ops, question.op), ""});
  }
  std::vector<InputProblem> of_sizes;
  question.sizes = read_sizes(arguments.sizes, of_sizes);
  problems.insert(problems.end(), of_sizes.begin(), of_sizes.end());
  question.ranks = read_count("--ranks", arguments.ranks, problems);
  question.ranks_per_node = read_count("--ranks-per-node", arguments.ranks_per_node, problems);
  if (!arguments.gpus_per_thread.empty())
    question.gpus_per_thread = read_count("--gpus-per-thread", arguments.gpus_per_thread, problems);
  if (!arguments.calls_in_a_row.empty())
    question.calls_in_a_row = read_count("--calls-in-a-row", arguments.calls_in_a_row, problems);
  if (!arguments.top_k.empty()) question.top_k = read_count("--top-k", arguments.top_k, problems);
  if (!arguments.experts.empty()) question.experts = read_count("--experts", arguments.experts, problems);
  const std::vector<std::string>& libraries = collective_library_names();
  if (!question.library.empty() &&
      std::find(libraries.begin(), libraries.end(), question.library) == libraries.end()) {
    problems.push_back(
        {"--library", "", "\"" + question.library + "\"", one_of(libraries, question.library), ""});
  }
  if (!problems.empty()) throw InputError(std::move(problems));
  check_calibration_name(question.calibration, "--calibration", "");
  return question;
}

int run_collective(const CollectiveArguments& arguments) {
  const RunOptions run = check_common_options(arguments.common, EngineKind::estimate);
  const CollectiveQuestion question = check(arguments);
  Stopwatch watch(arguments.common.timing);
  const CollectiveCluster cluster = read_collective_cluster(arguments.cluster, arguments.common.settings);
  watch.lap("cluster");
  const CollectiveAnswer answer = answer_collective(cluster, question);
  watch.lap("collective");
  switch (run.format) {
    case OutputFormat::json:
      print_result(collective_json(answer, question.explain));
      break;
    case OutputFormat::csv:
      print_result(collective_csv(answer));
      break;
    case OutputFormat::text:
      print_result(collective_text(answer, question.explain));
      break;
  }
  return kSuccess;
}

}  // namespace

Command add_collective_command(CLI::App& application) {
  auto arguments = std::make_shared<CollectiveArguments>();
  CLI::App* command = application.add_subcommand(
      "collective", "how long a collective takes by size, in nccl-tests' columns, and which algorithm runs");
  add_cluster_options(*command, arguments->cluster, arguments->common);
  command
      ->add_option(
          "--op", arguments->op,
          "all_reduce (default), reduce_scatter, all_gather, broadcast, all_to_all, send_receive; or "
          "dispatch, combine (of tokens to experts)")
      ->type_name("OP");
  command->add_option("--ranks", arguments->ranks, "ranks of the group (default: every GPU)")->type_name("N");
  command
      ->add_option("--ranks-per-node", arguments->ranks_per_node,
                   "ranks on each node (default: all its GPUs); 1 is a data-parallel group across nodes")
      ->type_name("N");
  command
      ->add_option("--gpus-per-thread", arguments->gpus_per_thread,
                   "GPUs that one thread of the host drives, as in nccl-tests -g (default 1, as in training)")
      ->type_name("N");
  command
      ->add_option(
          "--calls-in-a-row", arguments->calls_in_a_row,
          "calls that are timed together, as in nccl-tests -n (default 20); 1 with events around each")
      ->type_name("N");
  command
      ->add_option("--sizes", arguments->sizes,
                   "FROM:TO (doubling), FROM:TO:FACTOR, or a list (default 1KiB:8GiB)")
      ->type_name("SIZES");
  CollectiveQuestion& question = arguments->question;
  command->add_option("--library", question.library, "nccl (default), rccl (default on AMD), mpi or gloo")
      ->type_name("NAME");
  command
      ->add_option(
          "--nccl-version", question.version,
          "whose tuner names the algorithms, from 2.18 to 2.30 (default 2.27); the times do not change")
      ->type_name("VERSION");
  command
      ->add_option(
          "--algorithm", question.algorithm,
          "force one (ring, tree, nvls, ...): its times are the tuner's own estimates, not calibrated")
      ->type_name("NAME");
  command->add_flag("--explain", question.explain, "for each size, why this algorithm and not another");
  command->add_option("--top-k", arguments->top_k, "experts of a token, for dispatch and combine (default 8)")
      ->type_name("N");
  command
      ->add_option("--experts", arguments->experts, "experts in all, for dispatch and combine (default 256)")
      ->type_name("N");
  command->add_flag("--low-latency", question.low_latency,
                    "dispatch and combine with the kernels for few tokens");
  CommonOptions& common = arguments->common;
  command
      ->add_option("--calibration", common.calibration,
                   "profile whose collectives are laid over the shipped ones")
      ->type_name("NAME|FILE");
  add_output_options(*command, common);
  return {command, [arguments] { return run_collective(*arguments); }};
}

}  // namespace orrery
