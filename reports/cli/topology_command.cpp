#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reports/answers/topology.hpp"
#include "reports/cli/commands.hpp"
#include "reports/cli/options.hpp"
#include "reports/cli/output.hpp"
#include "reports/writers/json_text.hpp"
#include "reports/writers/topology_writer.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

struct TopologyArguments {
  std::string cluster, svg, dot, graph;
  bool ids = false;
  CommonOptions common;
};

struct OutputFile {
  std::string path, text;
};

void refuse_same_files(const TopologyArguments& arguments) {
  std::vector<InputProblem> problems;
  std::map<std::filesystem::path, std::string> taken;
  for (const auto& [option, path] : {std::pair<std::string, std::string>{"--svg", arguments.svg},
                                     {"--dot", arguments.dot},
                                     {"--graph", arguments.graph}}) {
    if (path.empty()) continue;
    const auto [place, is_new] = taken.emplace(std::filesystem::absolute(path).lexically_normal(), option);
    if (!is_new) problems.push_back({option, "", "the file of " + place->second, "a file of its own", ""});
  }
  if (!problems.empty()) throw InputError(std::move(problems));
}

/// What a file holds; nothing if it cannot be read.
std::optional<std::string> readable_text(const std::string& path) {
  try {
    return read_text_file(path);
  } catch (const InputError&) {
    return std::nullopt;
  }
}

/// Writes all files or none: what was written before one that cannot be is put back.
void write_files(const TopologyArguments& arguments, const TopologyAnswer& answer) {
  std::vector<OutputFile> files;
  if (!arguments.svg.empty()) files.push_back({arguments.svg, topology_svg(answer)});
  if (!arguments.dot.empty()) files.push_back({arguments.dot, topology_dot(answer)});
  if (!arguments.graph.empty()) files.push_back({arguments.graph, json_text(topology_graph_json(answer))});
  std::vector<std::function<void()>> undo;
  try {
    for (const OutputFile& file : files) {
      const std::filesystem::path path = file.path;
      std::error_code ignored;
      std::optional<std::string> before;
      if (std::filesystem::is_regular_file(path, ignored)) before = readable_text(file.path);
      const bool is_new = !std::filesystem::exists(path, ignored);
      write_text_file_atomically(path, file.text);
      undo.emplace_back([path, before, is_new] {
        std::error_code failed;
        if (before) write_text_file_atomically(path, *before);
        if (is_new) std::filesystem::remove(path, failed);
      });
    }
  } catch (...) {
    for (const auto& put_back : undo) {
      try {
        put_back();
      } catch (const InputError&) {  // what stopped us is what is told
      }
    }
    throw;
  }
}

/// NVSwitches outside nodes are switches of the network to who reads a graph.
bool has_domains_of_nodes(const Topology& topology) {
  return std::any_of(topology.vertices().begin(), topology.vertices().end(), [](const Vertex& vertex) {
    return vertex.kind == VertexKind::nvswitch && vertex.node < 0;
  });
}

int run_topology(const TopologyArguments& arguments) {
  const RunOptions run = check_common_options(arguments.common, EngineKind::estimate);
  if (arguments.ids && run.format == OutputFormat::csv) {
    throw InputError(InputProblem{"--ids", "", "--format csv", "--ids with text or json", ""});
  }
  refuse_same_files(arguments);
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
  if (!arguments.graph.empty() && !arguments.common.quiet && has_domains_of_nodes(answer.topology)) {
    print_note(
        "warning: the NVSwitches of NVLink domains of several nodes read back as leaves: oversubscription of "
        "the graph and predictions on it are not those of the fabric");
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
