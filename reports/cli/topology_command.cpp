#include <memory>
#include <string>
#include <vector>

#include "reports/answers/topology.hpp"
#include "reports/cli/commands.hpp"
#include "reports/cli/options.hpp"
#include "reports/cli/output.hpp"
#include "reports/writers/json_text.hpp"
#include "reports/writers/topology_writer.hpp"

namespace orrery {
namespace {

struct TopologyArguments {
  std::string cluster, svg, dot, graph;
  bool ids = false;
  CommonOptions common;
};

void write_files(const TopologyArguments& arguments, const TopologyAnswer& answer) {
  // Everything is made before anything is written.
  const std::string svg = arguments.svg.empty() ? "" : topology_svg(answer);
  const std::string dot = arguments.dot.empty() ? "" : topology_dot(answer);
  const std::string graph = arguments.graph.empty() ? "" : json_text(topology_graph_json(answer));
  if (!arguments.svg.empty()) write_text_file_atomically(arguments.svg, svg);
  if (!arguments.dot.empty()) write_text_file_atomically(arguments.dot, dot);
  if (!arguments.graph.empty()) write_text_file_atomically(arguments.graph, graph);
}

int run_topology(const TopologyArguments& arguments) {
  const RunOptions run = check_common_options(arguments.common, EngineKind::estimate);
  if (arguments.ids && run.format == OutputFormat::csv) {
    throw InputError(InputProblem{"--ids", "", "--format csv", "--ids with text or json", ""});
  }
  Stopwatch watch(arguments.common.timing);
  const TopologyAnswer answer = answer_topology({arguments.cluster, arguments.common.settings});
  watch.lap("topology");
  std::string result;
  switch (run.format) {
    case OutputFormat::json:
      result = json_text(topology_json(answer, arguments.ids));
      break;
    case OutputFormat::csv:
      result = topology_csv(answer);
      break;
    case OutputFormat::text:
      result = topology_text(answer, arguments.ids);
      break;
  }
  write_files(arguments, answer);
  if (run.format != OutputFormat::text && !arguments.common.quiet) {
    for (const std::string& warning : answer.warnings) print_note("warning: " + warning);
  }
  print_result(result);
  watch.lap("writing");
  return kSuccess;
}

}  // namespace

Command add_topology_command(CLI::App& application) {
  auto arguments = std::make_shared<TopologyArguments>();
  CLI::App* command = application.add_subcommand(
      "topology",
      "what a fabric is: counts, hops, bisection bandwidth, oversubscription, paths, what fails first");
  add_cluster_options(*command, arguments->cluster, arguments->common);
  CommonOptions& common = arguments->common;
  command->add_flag("--ids", arguments->ids,
                    "list switches and cables as failed_switches and failed_links take them");
  command->add_option("--svg", arguments->svg, "draw the fabric")->type_name("FILE.svg");
  command->add_option("--dot", arguments->dot, "write it for Graphviz")->type_name("FILE.dot");
  command
      ->add_option("--graph", arguments->graph,
                   "write it as a cluster whose fabric is a graph, to edit and read back")
      ->type_name("FILE.json");
  add_output_options(*command, common);
  return {command, [arguments] { return run_topology(*arguments); }};
}

}  // namespace orrery
