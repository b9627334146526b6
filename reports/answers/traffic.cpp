#include "reports/answers/traffic.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <string_view>

#include "reports/answers/flat_json_line.hpp"
#include "reports/answers/kernel_line.hpp"
#include "reports/answers/statistics.hpp"
#include "sim/base/hash.hpp"
#include "sim/base/quantile.hpp"
#include "sim/network/storage_shape.hpp"
#include "topologies/build_topology.hpp"

namespace orrery {
namespace {

constexpr double kMostBytes = 1e18;
constexpr double kLatestStart = 1e9;  // s: thirty years
constexpr size_t kListed = 6;         // endpoints named in a message

/// Reads the members of flow lines against one topology.
class FlowReader {
 public:
  FlowReader(const Topology& topology, KernelProblems& problems) : topology_(topology), problems_(problems) {
    for (const Vertex& vertex : topology.vertices()) {
      if (vertex.kind == VertexKind::gpu || vertex.kind == VertexKind::storage)
        endpoints_.push_back(vertex.id);
    }
  }

  void read(std::string_view text, const std::string& place, TrafficFlow& flow) {
    try {
      line_.parse(text, place);
    } catch (const InputError& error) {
      for (const InputProblem& problem : error.problems()) problems_.add(problem);
      return;
    }
    static const std::vector<std::string> kKeys = {"from", "to", "bytes", "start_s"};
    const FlatMember *from = nullptr, *to = nullptr, *bytes = nullptr, *start = nullptr;
    for (const FlatMember& member : line_.members()) {
      if (member.key == "from") {
        from = &member;
      } else if (member.key == "to") {
        to = &member;
      } else if (member.key == "bytes") {
        bytes = &member;
      } else if (member.key == "start_s") {
        start = &member;
      } else {
        const std::string key(member.key);
        problems_.add({place, "/" + pointer_token(key), "an unknown key", one_of(kKeys, key), ""});
      }
    }
    flow.from = endpoint(from, "/from", place);
    flow.to = endpoint(to, "/to", place);
    if (flow.from >= 0 && flow.from == flow.to) {
      problems_.add({place, "/to", to->shown(true), "another endpoint than /from", ""});
    }
    flow.bytes = Bytes(number(bytes, "/bytes", place, false, kMostBytes));
    flow.start = Seconds(start == nullptr ? 0.0 : number(start, "/start_s", place, true, kLatestStart));
  }

 private:
  VertexId endpoint(const FlatMember* member, const char* pointer, const std::string& place) {
    const int gpus = topology_.gpu_count();
    if (member != nullptr && member->kind == FlatMember::Kind::integer && member->integer >= 0 &&
        member->integer < gpus) {
      return topology_.gpu(static_cast<int>(member->integer));
    }
    std::string near;
    if (member != nullptr && member->kind == FlatMember::Kind::text) {
      const VertexId vertex = topology_.find(member->text);
      if (vertex >= 0) {
        const VertexKind kind = topology_.vertices()[static_cast<size_t>(vertex)].kind;
        if (kind == VertexKind::gpu || kind == VertexKind::storage) return vertex;
      }
      near = " such as " + list_names(endpoints_, member->text, kListed);
    }
    problems_.add({place, pointer, member == nullptr ? "nothing" : member->shown(true),
                   fmt::format("a GPU in [0, {}] or the id of a GPU or storage{}", gpus - 1, near), ""});
    return -1;
  }

  double number(const FlatMember* member, const char* pointer, const std::string& place, bool zero_allowed,
                double most) {
    const bool integer = member != nullptr && member->kind == FlatMember::Kind::integer;
    const bool real = member != nullptr && member->kind == FlatMember::Kind::real;
    const double value = integer ? static_cast<double>(member->integer) : real ? member->real : -1.0;
    if ((value > 0.0 || (zero_allowed && value == 0.0)) && value <= most) return value;
    problems_.add({place, pointer, member == nullptr ? "nothing" : member->shown(true),
                   fmt::format("a number {}up to {:g}", zero_allowed ? "from 0 " : "above 0 and ", most),
                   ""});
    return 1.0;
  }

  const Topology& topology_;
  KernelProblems& problems_;
  std::vector<std::string> endpoints_;
  FlatJsonLine line_;
};

Spread spread_of(const std::vector<double>& values) {
  return {quantile(values, 0.05).value_or(0.0), quantile(values, 0.5).value_or(0.0),
          quantile(values, 0.95).value_or(0.0)};
}

/// One draw of the hash. What has no path is a problem of its line.
TrafficTimes run_once(const TrafficAnswer& answer, const TrafficOptions& options) {
  FluidTraffic traffic(answer.topology, options);
  KernelProblems problems;
  for (const TrafficLine& line : answer.lines) {
    try {
      TrafficFlow flow = line.flow;
      flow.from = met_by(answer.topology, line.flow.from, line.flow.to);
      flow.to = met_by(answer.topology, line.flow.to, line.flow.from);
      traffic.add(flow);
    } catch (const std::runtime_error& error) {
      problems.add({fmt::format("{}:{}", answer.request.flows, line.line), "", "", "", error.what()});
    }
  }
  problems.throw_if_any(answer.request.flows);
  return traffic.run();
}

}  // namespace

std::vector<TrafficLine> read_flows(const std::string& text, const std::string& file,
                                    const Topology& topology) {
  KernelProblems problems;
  FlowReader reader(topology, problems);
  std::vector<TrafficLine> lines;
  std::int64_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    TrafficLine read;
    read.line = number;
    reader.read(line, fmt::format("{}:{}", file, number), read.flow);
    lines.push_back(read);
  }
  if (lines.empty()) problems.add({file, "", "no flow", "a JSON object a line", ""});
  problems.throw_if_any(file);
  return lines;
}

TrafficAnswer answer_traffic(const TrafficRequest& request) {
  TrafficAnswer answer;
  answer.request = request;
  const ClusterArgument argument = read_cluster_argument(request.cluster, request.settings);
  Problems problems(argument.file);
  answer.cluster = read_cluster_spec(SpecReader(argument.json, argument.pointer, problems));
  problems.throw_if_any();
  answer.topology = build_topology(answer.cluster);
  answer.cluster_hash = content_hash(argument.json.dump());
  answer.warnings = answer.cluster.origins.assumptions;
  const std::string text = read_text_file(request.flows);
  answer.flows_hash = content_hash(text);
  answer.lines = read_flows(text, request.flows, answer.topology);

  TrafficOptions options;
  options.fluid.tolerance = request.tolerance;
  options.acknowledged = request.acknowledged;
  std::vector<double> means, maxima;
  for (int i = 0; i < request.seeds; ++i) {
    options.seed = request.seed + static_cast<std::uint64_t>(i);
    options.usage_parts = i == 0 ? request.usage_parts : 0;
    answer.topology.set_hash_seed(options.seed);
    TrafficTimes times = run_once(answer, options);
    means.push_back(mean(times.completion_s).value_or(0.0));
    maxima.push_back(*std::max_element(times.completion_s.begin(), times.completion_s.end()));
    if (i == 0) answer.times = std::move(times);
  }
  answer.mean_s = means.front();
  answer.max_s = maxima.front();
  answer.p50_s = quantile(answer.times.completion_s, 0.5).value_or(0.0);
  answer.p99_s = quantile(answer.times.completion_s, 0.99).value_or(0.0);
  if (request.seeds > 1) {
    answer.mean_over_seeds = spread_of(means);
    answer.max_over_seeds = spread_of(maxima);
  }
  return answer;
}

}  // namespace orrery
