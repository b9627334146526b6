#include "reports/answers/collective.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "calibration/collectives/collective_profiles.hpp"
#include "calibration/kernels/profile_library.hpp"
#include "calibration/libraries/host_files.hpp"
#include "calibration/libraries/tuner_files.hpp"
#include "reports/answers/latency_difference.hpp"
#include "reports/answers/traffic.hpp"
#include "sim/base/hash.hpp"
#include "sim/collectives/expert_exchange.hpp"
#include "sim/collectives/host_staged_model.hpp"
#include "sim/collectives/library_formulas.hpp"
#include "sim/collectives/nccl_model.hpp"
#include "sim/collectives/one_thread.hpp"
#include "sim/collectives/tuner_model.hpp"
#include "topologies/fabric_checks.hpp"

namespace orrery {
namespace {

constexpr size_t kMostSizes = 1000;
constexpr double kMostBytes = 1e15;
constexpr double kElementBytes = 4.0;  // nccl-tests' default type is float
constexpr int kDefaultTopK = 8, kDefaultExperts = 256;
// Launches of the machines that were measured with one thread for several GPUs lie between 4 and 5.5 us.
constexpr double kLaunchSpread = 0.2;
// Starts of calls that were timed by themselves: two thirds lie between 6 and 22 us, of exchanges 17 and 36.
constexpr double kStartSpread = 0.5;

constexpr std::array<CollectiveOp, 6> kOps = {CollectiveOp::all_reduce, CollectiveOp::reduce_scatter,
                                              CollectiveOp::all_gather, CollectiveOp::broadcast,
                                              CollectiveOp::all_to_all, CollectiveOp::send_receive};

std::optional<CollectiveOp> op_named(const std::string& name) {
  for (const CollectiveOp op : kOps) {
    if (name == name_of(op)) return op;
  }
  return std::nullopt;
}

bool gathers(CollectiveOp op) {
  return op == CollectiveOp::all_gather || op == CollectiveOp::reduce_scatter ||
         op == CollectiveOp::all_to_all;
}

[[noreturn]] void refuse(const std::string& option, const std::string& found, const std::string& expected) {
  throw InputError(InputProblem{option, "", found, expected, ""});
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

double read_size(const std::string& text, std::vector<InputProblem>& problems) {
  const std::optional<Bytes> bytes = parse_quantity<Bytes>(text);
  if (bytes && bytes->base() >= 1.0 && bytes->base() <= kMostBytes) return std::floor(bytes->base());
  problems.push_back({"--sizes", "", "\"" + text + "\"",
                      bytes ? "a size from 1 B to 1 PB" : expected_unit_text<Bytes>(), ""});
  return 1.0;
}

/// GPUs of the group: the first of each node.
struct Group {
  std::vector<int> gpus;
  int per_node = 1;
};

Group group_of(const ClusterShape& shape, const CollectiveQuestion& question) {
  const int most_per_node = shape.gpus_per_node;
  Group group;
  group.per_node = question.ranks_per_node > 0 ? question.ranks_per_node : most_per_node;
  if (group.per_node > most_per_node) {
    refuse("--ranks-per-node", std::to_string(group.per_node),
           fmt::format("an integer in [1, {}]: the GPUs of a node", most_per_node));
  }
  const int nodes = shape.gpus / most_per_node;
  const int ranks = question.ranks > 0 ? question.ranks : nodes * group.per_node;
  if (question.ranks > 0 && question.ranks_per_node == 0) group.per_node = std::min(group.per_node, ranks);
  const int most = nodes * group.per_node;
  if (ranks > most) {
    refuse("--ranks", std::to_string(ranks),
           fmt::format("at most {}: {} nodes with {} ranks each (--set nodes=N for more)", most, nodes,
                       group.per_node));
  }
  if (ranks % group.per_node != 0) {
    refuse("--ranks", std::to_string(ranks),
           fmt::format("a multiple of {}, the ranks of a node (or --ranks-per-node)", group.per_node));
  }
  if (ranks < 2) refuse("--ranks", std::to_string(ranks), "at least 2: one rank sends nothing");
  for (int node = 0; node < ranks / group.per_node; ++node) {
    for (int i = 0; i < group.per_node; ++i) group.gpus.push_back(node * most_per_node + i);
  }
  return group;
}

/// What the library's own table says about one size.
class Chooser {
 public:
  Chooser(const CollectiveQuestion& question, const DeviceSpec& device, const std::string& library)
      : explain_(question.explain), forced_(question.algorithm) {
    if (library == "nccl") {
      load_tuner(question.version, device);
    } else if (library == "rccl") {
      tuner_ = load_rccl_tuner();
    }
    if (forced_.empty()) return;
    const std::vector<std::string> names = collective_algorithm_names(library);
    if (std::find(names.begin(), names.end(), forced_) == names.end()) {
      refuse("--algorithm", "\"" + forced_ + "\"", one_of(names, forced_));
    }
    if (!tuner_) return;
    for (int a = 0; a < kTunerAlgorithms; ++a) {
      const auto algorithm = static_cast<TunerAlgorithm>(a);
      if (forced_ != name_of(algorithm)) continue;
      forced_options_.algorithm = algorithm;
      forced_options_.symmetric = algorithm == TunerAlgorithm::symmetric;
      forced_options_.network_reduction =
          algorithm == TunerAlgorithm::collnet_chain || algorithm == TunerAlgorithm::collnet_direct;
    }
  }

  std::string source() const {
    return tuner_ ? fmt::format("{} {} on {}: {}", tuner_->library, tuner_->version,
                                tuner_->architecture.empty() ? "AMD" : tuner_->architecture, tuner_->source)
                  : "";
  }
  std::string version() const { return tuner_ ? tuner_->version : ""; }

  /// Whether the times are the tuner's own estimates: nothing measures what a library does not choose.
  bool estimates() const { return tuner_ && !forced_.empty(); }

  /// The model of a forced algorithm's times. Refuses one that the group cannot run.
  std::shared_ptr<const CollectiveModel> estimating_model(CollectiveOp op, const GroupShape& shape) const {
    bool possible = false;
    std::string why;
    for (const TunerCandidate& each : tuner_table(*tuner_, op, 1.0, shape, forced_options_)) {
      possible = possible || each.enabled();
      if (name_of(each.algorithm) == forced_ && each.protocol == WireProtocol::simple)
        why = reason_of(each.refusal);
    }
    if (!possible) {
      refuse("--algorithm", "\"" + forced_ + "\"",
             fmt::format("an algorithm that can run {} on this group ({}: {})", name_of(op), forced_, why));
    }
    return std::make_shared<TunerModel>(*tuner_, forced_options_);
  }

  /// Names the algorithm of a row and says why.
  void fill(CollectiveAnswerRow& row, CollectiveOp op, const GroupShape& shape,
            const CollectiveModel& model) const {
    if (tuner_) {
      fill_from_tuner(row, op, shape);
    } else if (const auto* host = dynamic_cast<const HostStagedModel*>(&model)) {
      fill_from_host(row, op, shape, *host);
    }
  }

 private:
  /// What the constants do not hold is said of the option that asked for it.
  void load_tuner(const std::string& version, const DeviceSpec& device) {
    try {
      tuner_ = load_nccl_tuner(version, device.architecture);
    } catch (const InputError& error) {
      const InputProblem& problem = error.problems().front();
      if (problem.file == "NCCL's version") refuse("--nccl-version", problem.found, problem.expected);
      if (problem.pointer != "/constants/architectures") throw;
      refuse("--library", "nccl on " + device.name,
             "mpi or gloo: NCCL's constants are those of architectures " +
                 problem.expected.substr(problem.expected.find(' ', 4) + 1));
    }
  }

  void fill_from_tuner(CollectiveAnswerRow& row, CollectiveOp op, const GroupShape& shape) const {
    const TunerTable table = tuner_table(*tuner_, op, row.bytes, shape, forced_options_);
    if (forced_.empty()) {
      const TunerChoice choice = choose_from(table, *tuner_, op, row.bytes, shape, forced_options_);
      row.algorithm = name_of(choice.algorithm);
      row.protocol = name_of(choice.protocol);
      row.channels = choice.channels;
      row.why = reason(table, choice, op);
    } else {
      row.why = "forced; the tuner's own estimate, or what the links allow where that is longer";
    }
    if (!explain_) return;
    for (const TunerCandidate& each : table) {
      if (each.refusal == TunerRefusal::operation) continue;
      const bool chosen = name_of(each.algorithm) == row.algorithm && name_of(each.protocol) == row.protocol;
      row.candidates.push_back({std::string(name_of(each.algorithm)), std::string(name_of(each.protocol)),
                                std::string(reason_of(each.refusal)), seconds(each.time), each.channels,
                                chosen});
    }
  }

  static std::string reason(const TunerTable& table, const TunerChoice& choice, CollectiveOp op) {
    if (op == CollectiveOp::all_to_all || op == CollectiveOp::send_receive) {
      return fmt::format("grouped sends; {} by the size of one message",
                         choice.protocol == WireProtocol::ll ? "LL" : "Simple");
    }
    if (choice.by_plugin) return "a region of the AWS OFI tuner plugin, whatever the table's times";
    const TunerCandidate* second = nullptr;
    for (const TunerCandidate& each : table) {
      if (!each.enabled() || (each.algorithm == choice.algorithm && each.protocol == choice.protocol))
        continue;
      if (second == nullptr || each.time < second->time) second = &each;
    }
    std::string text =
        fmt::format("smallest of the tuner's estimates: {}", format_quantity(seconds(choice.time)));
    if (second != nullptr) {
      text += fmt::format(", then {} {} with {}", name_of(second->algorithm), name_of(second->protocol),
                          format_quantity(seconds(second->time)));
    }
    return text;
  }

  void fill_from_host(CollectiveAnswerRow& row, CollectiveOp op, const GroupShape& shape,
                      const HostStagedModel& host) const {
    const HostStagedTable table = host.table(op, row.bytes, shape);
    bool found = forced_.empty();
    for (int i = 0; i < table.count; ++i) {
      const HostStagedCandidate& each = table.candidates[static_cast<size_t>(i)];
      if (each.algorithm == forced_) {
        found = true;
        row.algorithm = forced_;
        row.timed_as = forced_;
        row.time = seconds(each.total);
      }
    }
    if (!found) {
      std::vector<std::string> names;
      names.reserve(static_cast<size_t>(table.count));
      for (int i = 0; i < table.count; ++i) {
        names.emplace_back(table.candidates[static_cast<size_t>(i)].algorithm);
      }
      refuse("--algorithm", "\"" + forced_ + "\"", one_of(names, forced_));
    }
    row.why = forced_.empty()
                  ? "smallest of the library's algorithms, each with its copies to and from the host"
                  : "forced";
    if (!explain_) return;
    for (int i = 0; i < table.count; ++i) {
      const HostStagedCandidate& each = table.candidates[static_cast<size_t>(i)];
      row.candidates.push_back({std::string(each.algorithm), "host_staged", "", seconds(each.total), 1,
                                each.algorithm == row.algorithm});
    }
  }

  bool explain_;
  std::string forced_;
  std::optional<TunerConstants> tuner_;
  TunerOptions forced_options_;
};

/// Rows as one thread for several GPUs or few calls in a row would measure them: never shorter.
void count_set_up(const CollectiveQuestion& question, CollectiveOp op, int ranks_per_node,
                  const DeviceSpec& device, CollectiveAnswer& answer) {
  const int gpus = question.gpus_per_thread;
  const int calls = question.calls_in_a_row.value_or(static_cast<int>(kCallsInARow));
  if (gpus < 2 && !question.calls_in_a_row) return;
  if (gpus > 1 && answer.library != "nccl" && answer.library != "rccl") {
    refuse("--gpus-per-thread", fmt::format("{} with --library {}", gpus, answer.library),
           "--library nccl or rccl");
  }
  if (ranks_per_node % gpus != 0) {
    refuse("--gpus-per-thread", std::to_string(gpus),
           fmt::format("a divisor of {}, the ranks of a node", ranks_per_node));
  }
  if (question.calls_in_a_row && answer.library != "nccl") {
    refuse("--calls-in-a-row", fmt::format("{} with --library {}", calls, answer.library),
           "--library nccl, whose calls were timed both ways");
  }
  if (question.calls_in_a_row && gpus > 1) {
    refuse("--calls-in-a-row", fmt::format("{} with --gpus-per-thread {}", calls, gpus),
           "--gpus-per-thread 1: a start holds a launch, and nobody timed both together");
  }
  answer.gpus_per_thread = gpus;
  answer.calls_in_a_row = question.calls_in_a_row;
  const OneThreadConstants constants = load_one_thread_constants();
  // Measured inside a node of NVIDIA's Hopper and Blackwell.
  const bool measured =
      answer.nodes == 1 && (device.architecture == "hopper" || device.architecture == "blackwell");
  const Evidence evidence = measured ? Evidence::extrapolated : Evidence::assumed;
  const double start = time_in_a_row(0.0, lone_start(constants, op), calls);
  int held_up = 0;
  for (CollectiveAnswerRow& row : answer.rows) {
    const double launch = launch_time(constants, op, row.bytes);
    if (gpus > 1 && gpus * launch > row.time.base()) {
      ++held_up;
      row.timed_as = "launches";
      row.relative_spread = kLaunchSpread;
      row.evidence = weaker(row.evidence, evidence);
    }
    const double without = time_of_one_thread(row.time.base(), gpus, launch);
    row.time = seconds(without + start);
    if (start > 0.0) {
      row.relative_spread = std::hypot(row.relative_spread * without, kStartSpread * start) / row.time.base();
      row.evidence = weaker(row.evidence, evidence);
    }
    row.algorithm_bandwidth = row.bytes / row.time.base();
    row.bus_bandwidth = row.algorithm_bandwidth * bus_factor(op, answer.ranks);
  }
  if (gpus > 1) {
    answer.notes.push_back(fmt::format(
        "one thread launches the kernels of {} GPUs one after the other, as in nccl-tests -g {} (calls "
        "in a row); {} of {} sizes take what the launches take",
        gpus, gpus, held_up, answer.rows.size()));
  }
  if (calls > kCallsInARow) {
    answer.notes.push_back(
        fmt::format("calls timed {} at a time are predicted as {:.0f} are: what is left of their "
                    "start was not measured",
                    calls, kCallsInARow));
  }
  if (start > 0.0) {
    answer.notes.push_back(fmt::format(
        "calls timed {} at a time: each holds {} of their start on idle GPUs, which nccl-tests spreads "
        "over {:.0f}",
        calls, format_quantity(seconds(start)), kCallsInARow));
  }
}

/// Options that would change nothing.
void check_options(const CollectiveQuestion& question, bool exchange) {
  std::vector<InputProblem> problems;
  const auto add = [&](const char* option, const std::string& value, const std::string& expected) {
    problems.push_back(
        {option, "", (value.empty() ? "it" : value) + " with --op " + question.op, expected, ""});
  };
  const auto quoted = [](const std::string& text) { return "\"" + text + "\""; };
  if (exchange) {
    const std::string expected = "a collective: an expert exchange runs DeepEP's kernels, of one algorithm";
    if (!question.library.empty()) add("--library", quoted(question.library), expected);
    if (!question.version.empty()) add("--nccl-version", quoted(question.version), expected);
    if (!question.algorithm.empty()) add("--algorithm", quoted(question.algorithm), expected);
    if (!question.calibration.empty()) add("--calibration", quoted(question.calibration), expected);
    if (question.gpus_per_thread > 1)
      add("--gpus-per-thread", std::to_string(question.gpus_per_thread), expected);
    if (question.calls_in_a_row) add("--calls-in-a-row", std::to_string(*question.calls_in_a_row), expected);
  } else {
    const std::string expected = "--op dispatch or combine";
    if (question.top_k) add("--top-k", std::to_string(*question.top_k), expected);
    if (question.experts) add("--experts", std::to_string(*question.experts), expected);
    if (question.low_latency) add("--low-latency", "", expected);
    if (!question.calibration.empty() && (question.library == "mpi" || question.library == "gloo")) {
      problems.push_back({"--calibration", "",
                          quoted(question.calibration) + " with --library " + question.library,
                          "--library nccl or rccl", ""});
    }
    if (!question.calibration.empty() && !question.algorithm.empty()) {
      problems.push_back({"--calibration", "", quoted(question.calibration) + " with --algorithm",
                          "one of the two: the time of a forced algorithm is the tuner's own estimate", ""});
    }
  }
  if (!problems.empty()) throw InputError(std::move(problems));
}

void answer_exchange(const CollectiveQuestion& question, const GroupShape& shape, CollectiveAnswer& answer) {
  const ExpertExchangeConstants constants = load_expert_exchange(shape.protocol, question.low_latency);
  const bool combines = question.op == "combine";
  const int top_k = question.top_k.value_or(kDefaultTopK);
  const int experts = question.experts.value_or(kDefaultExperts);
  const std::string inside(name_of(shape.scale_up));
  const Evidence evidence =
      expert_exchange_evidence(combines ? constants.combine : constants.dispatch, answer.gpu, shape);
  answer.library = "deepep";
  answer.version = constants.name;
  answer.source = constants.source;
  answer.notes.push_back(fmt::format(
      "size: a rank's own tokens before they are copied; top {} of {} experts, evenly loaded; busbw: of the "
      "link that binds",
      top_k, experts));
  if (evidence == Evidence::assumed) {
    answer.notes.emplace_back(
        "nothing like this was measured: shares and starts of other GPUs, fabrics or "
        "directions are assumed to hold");
  }
  for (const double bytes : question.sizes) {
    const ExpertTokens tokens{Bytes(bytes), top_k, experts};
    ExpertExchangeTime time;
    try {
      time = expert_exchange_time(constants, combines, tokens, shape);
    } catch (const std::invalid_argument& error) {
      throw InputError(InputProblem{"--experts", "", "", "", error.what()});
    }
    const bool network_binds = time.network >= time.nvlink;
    const double copies = network_binds ? time.network_copies : time.nvlink_copies;
    CollectiveAnswerRow row;
    row.bytes = bytes;
    row.count = std::floor(bytes / kElementBytes);
    row.time = time.total();
    row.algorithm_bandwidth = bytes / row.time.base();
    row.bus_bandwidth = copies * row.algorithm_bandwidth;
    row.algorithm = constants.deduplicates ? "deduplicated" : "direct";
    row.timed_as = row.algorithm;
    row.protocol = network_binds ? "network" : inside;
    row.evidence = evidence;
    row.relative_spread = expert_exchange_spread(evidence);
    row.why = fmt::format("{:.2f} copies of a token over the network take {}, {:.2f} over {} {}; start {}",
                          time.network_copies, format_quantity(time.network), time.nvlink_copies, inside,
                          format_quantity(time.nvlink), format_quantity(time.start));
    answer.rows.push_back(std::move(row));
  }
}

/// What a model fitted a time as.
std::string timed_as(const CollectiveModel& model, CollectiveOp op, const GroupShape& shape,
                     const CollectiveTime& time) {
  const auto* fitted = dynamic_cast<const NcclModel*>(&model);
  if (fitted != nullptr && fitted->has_curve(op, shape)) return "curve";
  if (dynamic_cast<const HostStagedModel*>(&model) != nullptr) return std::string(time.algorithm);
  return fmt::format("{} {}", time.algorithm, time.protocol);
}

/// What the names and times of an answer by a tuner mean.
void add_tuner_notes(const CollectiveQuestion& question, bool estimates, CollectiveAnswer& answer) {
  if (estimates) {
    answer.notes.push_back(fmt::format(
        "{} is forced: the times are the tuner's own estimates, not calibrated; hold them against "
        "one another and --explain's, not against times of the library's choice",
        question.algorithm));
    return;
  }
  if (!question.version.empty()) {
    answer.notes.push_back(fmt::format(
        "--nccl-version changes the names alone (the table of {} on): the times are of the measured "
        "releases",
        answer.version));
  }
  const auto differ =
      std::count_if(answer.rows.begin(), answer.rows.end(), [](const CollectiveAnswerRow& row) {
        return row.timed_as != "curve" && row.timed_as != "launches" &&
               row.timed_as != row.algorithm + " " + row.protocol;
      });
  if (differ > 0) {
    answer.notes.push_back(
        fmt::format("{} of {} sizes are timed as another algorithm or protocol than the library's table "
                    "names (timed_as in "
                    "--format json, --explain): the fastest of what was fitted to measurements",
                    differ, answer.rows.size()));
  }
}

/// A profile that was asked for and says nothing of this question.
void add_calibration_note(const CollectiveQuestion& question, const std::string& gpu,
                          CollectiveAnswer& answer) {
  if (question.calibration.empty()) return;
  const KernelProfile own = load_profile_named(question.calibration);
  if (own.gpu == gpu && !own.collectives.is_null()) return;
  answer.notes.push_back(fmt::format("--calibration {} {}: the times are the shipped ones",
                                     question.calibration,
                                     own.gpu == gpu ? "holds no collectives" : "is of " + own.gpu));
}

}  // namespace

const std::vector<std::string>& collective_op_names() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names;
    names.reserve(kOps.size() + 2);
    for (const CollectiveOp op : kOps) names.emplace_back(name_of(op));
    names.emplace_back("dispatch");
    names.emplace_back("combine");
    return names;
  }();
  return kNames;
}

std::vector<std::string> collective_algorithm_names(const std::string& library) {
  if (library == "mpi" || library == "gloo") {
    return {"ring",          "recursive_doubling", "recursive_halving", "rabenseifner",
            "binomial_tree", "scatter_all_gather", "pairwise",          "p2p"};
  }
  std::vector<std::string> names;
  names.reserve(kTunerAlgorithms);
  for (int a = 0; a < kTunerAlgorithms; ++a) names.emplace_back(name_of(static_cast<TunerAlgorithm>(a)));
  return names;
}

std::vector<double> read_sizes(const std::string& text, std::vector<InputProblem>& problems) {
  std::vector<double> sizes;
  const std::vector<std::string> parts = split(text, ':');
  if (parts.size() == 1) {
    for (const std::string& part : split(text, ',')) sizes.push_back(read_size(part, problems));
  } else if (parts.size() > 3 || text.find(',') != std::string::npos) {
    problems.push_back({"--sizes", "", "\"" + text + "\"", "FROM:TO, FROM:TO:FACTOR or SIZE,SIZE,...", ""});
  } else {
    const double from = read_size(parts[0], problems);
    const double to = read_size(parts[1], problems);
    double factor = 2.0;
    if (parts.size() == 3) {
      const char* end = parts[2].data() + parts[2].size();
      const auto [last, error] = std::from_chars(parts[2].data(), end, factor);
      if (error != std::errc() || last != end || !(factor > 1.0) || factor > kMostBytes) {
        problems.push_back({"--sizes", "", "the factor \"" + parts[2] + "\"", "a number above 1", ""});
        factor = 2.0;
      }
    }
    if (problems.empty() && to < from) {
      problems.push_back({"--sizes", "", "\"" + text + "\"", "a second size not below the first", ""});
    }
    for (double size = from; problems.empty() && std::floor(size) <= to && sizes.size() <= kMostSizes;
         size *= factor) {
      if (sizes.empty() || std::floor(size) > sizes.back()) sizes.push_back(std::floor(size));
    }
  }
  if (sizes.size() > kMostSizes) {
    problems.push_back({"--sizes", "", "\"" + text + "\"", fmt::format("at most {} sizes", kMostSizes), ""});
  }
  return sizes;
}

CollectiveCluster read_collective_cluster(const std::string& argument,
                                          const std::vector<std::string>& settings) {
  const ClusterArgument given = read_cluster_argument(argument, settings);
  Problems problems(given.file);
  CollectiveCluster cluster;
  cluster.hash = content_hash(given.json.dump());
  cluster.spec = read_cluster_spec(SpecReader(given.json, given.pointer, problems));
  problems.throw_if_any();
  if (!given_latency_keys(given.json).empty()) {
    cluster.usual = shape_with_usual_latencies(given.json, cluster.spec, given.file);
  }
  return cluster;
}

CollectiveAnswer answer_collective(const CollectiveCluster& given, const CollectiveQuestion& question) {
  const ClusterSpec& cluster = given.spec;
  const ClusterShape shape = cluster_shape(cluster);
  const DeviceSpec& device = device_spec(cluster);
  const Group members = group_of(shape, question);
  const GroupShape group = group_shape(shape, members.gpus);
  CollectiveAnswer answer;
  answer.op = question.op;
  answer.gpu = device.name;
  answer.cluster = cluster.preset;
  answer.resolved = cluster;
  answer.cluster_hash = given.hash;
  answer.ranks = group.ranks;
  answer.nodes = group.nodes;
  answer.domains = group.domains;
  answer.ranks_per_node = members.per_node;
  answer.forced = question.algorithm;
  if (group.crosses_domains()) answer.notes = estimate_limits(cluster);
  if (group.crosses_domains() && members.per_node < shape.gpus_per_node) {
    answer.notes.push_back(
        fmt::format("{} of a node's {} GPUs take part: the others are taken to run groups of their own "
                    "beside it, so a rank has "
                    "its share of the NICs and no more",
                    members.per_node, shape.gpus_per_node));
  }
  const std::optional<CollectiveOp> op = op_named(question.op);
  check_options(question, !op);
  if (!op) {
    if (given.usual) {
      answer.notes.emplace_back(
          "the latencies that the cluster gives itself do not count: the start of an "
          "expert exchange is measured as a whole");
    }
    answer_exchange(question, group, answer);
    return answer;
  }
  const bool amd = device.architecture.starts_with("cdna");
  answer.library = !question.library.empty() ? question.library : amd ? "rccl" : "nccl";
  if (answer.library != "nccl" && !question.version.empty()) {
    refuse("--nccl-version", "\"" + question.version + "\" with --library " + answer.library,
           "--library nccl");
  }
  if (answer.library == "nccl" && amd) {
    refuse("--library", "nccl on " + device.name, "rccl, mpi or gloo: NCCL runs on NVIDIA's GPUs only");
  }
  if (answer.library == "rccl" && !amd) {
    refuse("--library", "rccl on " + device.name, "nccl, mpi or gloo: RCCL runs on AMD's GPUs only");
  }
  const Chooser chooser(question, device, answer.library);
  const auto model = chooser.estimates() ? chooser.estimating_model(*op, group)
                                         : make_collective_model({answer.library, question.version}, device,
                                                                 shape, question.calibration);
  answer.version = chooser.version();
  answer.source = model->profile_source();
  answer.tuner_source = chooser.source();
  answer.profile_error = model->error_on(group);
  // A given latency counts as it does in a step (CollectivesWithLatency).
  std::optional<CollectivesWithLatency> with_latency;
  if (given.usual) with_latency.emplace(*model, shape, *given.usual);
  const CollectiveModel& timed = with_latency ? *with_latency : *model;
  for (const double bytes : question.sizes) {
    const CollectiveTime time = timed.time(*op, Bytes(bytes), group);
    CollectiveAnswerRow row;
    row.bytes = bytes;
    row.count = std::floor(bytes / kElementBytes / (gathers(*op) ? group.ranks : 1));
    row.time = time.total();
    row.algorithm = time.algorithm;
    row.protocol = time.protocol;
    row.channels = time.channels;
    row.evidence = time.evidence;
    row.relative_spread = time.relative_spread;
    row.timed_as = timed_as(*model, *op, group, time);
    chooser.fill(row, *op, group, *model);
    row.algorithm_bandwidth = bytes / row.time.base();
    row.bus_bandwidth = row.algorithm_bandwidth * bus_factor(*op, group.ranks);
    answer.rows.push_back(std::move(row));
  }
  count_set_up(question, *op, members.per_node, device, answer);
  if (chooser.version().empty()) return answer;
  add_tuner_notes(question, chooser.estimates(), answer);
  add_calibration_note(question, device.name, answer);
  return answer;
}

}  // namespace orrery
