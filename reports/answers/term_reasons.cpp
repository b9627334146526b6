#include "reports/answers/term_reasons.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "sim/base/unit_text.hpp"

namespace orrery {
namespace {

constexpr double kWorthNaming = 0.01;  // smaller changes of a bandwidth or an amount explain nothing

bool changed(double a, double b) {
  return std::abs(b - a) > kWorthNaming * std::max(std::abs(a), std::abs(b));
}

std::optional<GroupKind> group_of(BreakdownTerm term) {
  for (const GroupKind group :
       {GroupKind::tensor, GroupKind::context, GroupKind::expert, GroupKind::data, GroupKind::pipeline}) {
    if (exposed_term(group) == term) return group;
  }
  return std::nullopt;
}

void add_lines(const Prediction& prediction, OperationUse OperationPair::*side,
               std::vector<OperationPair>& pairs) {
  std::vector<double> longest(pairs.size(), 0.0);
  for (const CommunicationTotal& line : prediction.communication) {
    auto pair = std::find_if(pairs.begin(), pairs.end(), [&line](const OperationPair& other) {
      return other.group == line.group && other.op == line.op;
    });
    if (pair == pairs.end()) {
      pairs.push_back({line.group, line.op, {}, {}});
      pair = pairs.end() - 1;
    }
    longest.resize(pairs.size(), -1.0);
    const auto index = static_cast<size_t>(pair - pairs.begin());
    OperationUse& use = (*pair).*side;
    if (use.count == 0) longest[index] = -1.0;
    use.count += line.count;
    use.ranks = std::max(use.ranks, line.ranks);
    // Of a step on average.
    const double share = 1.0 / static_cast<double>(line.every);
    use.bytes += line.payload.base() * static_cast<double>(line.count) * share;
    use.total_s += line.total.base() * share;
    use.exposed_s += line.exposed.base() * share;
    if (line.total.base() > longest[index]) {
      longest[index] = line.total.base();
      use.algorithm = line.algorithm;
      use.protocol = line.protocol;
      use.bus_bandwidth = line.bus_bandwidth();
    }
  }
}

void append(std::string& text, const std::string& clause) { text += (text.empty() ? "" : ", ") + clause; }

std::string instead(const std::string& b, const std::string& a) { return b + " instead of " + a; }

std::string seconds_text(double value) { return format_quantity(seconds(value)); }

/// Classes of links that held flows up longer in the slower prediction, by a tenth or more of the time that
/// the operation takes longer: what explains it, not what a few small messages lose to one another.
std::string binding_links(const Prediction& faster, const Prediction& slower, double longer_s) {
  constexpr double kShare = 0.1;
  std::string names;
  for (const LinkClassUse& use : slower.links) {
    const auto same = std::find_if(faster.links.begin(), faster.links.end(),
                                   [&use](const LinkClassUse& other) { return other.name == use.name; });
    const double before = same == faster.links.end() ? 0.0 : same->held_s;
    if (use.held_s - before >= kShare * longer_s) names += (names.empty() ? "" : " and ") + use.name;
  }
  return names;
}

std::string reason_of_operation(const OperationPair& pair, const Prediction& a, const Prediction& b) {
  const std::string name = std::string(name_of(pair.op));
  if (pair.a.count == 0)
    return fmt::format("{} over {} ranks is new: {} a step", name, pair.b.ranks,
                       format_quantity(Bytes(pair.b.bytes)));
  if (pair.b.count == 0) return fmt::format("no {} over {} ranks any more", name, pair.a.ranks);
  std::string clauses;
  if (pair.a.ranks != pair.b.ranks)
    append(clauses, fmt::format("over {} ranks instead of {}", pair.b.ranks, pair.a.ranks));
  if (changed(pair.a.bytes, pair.b.bytes)) {
    append(clauses, "of " +
                        instead(format_quantity(Bytes(pair.b.bytes)), format_quantity(Bytes(pair.a.bytes))) +
                        " a step");
  }
  if (pair.a.algorithm != pair.b.algorithm || pair.a.protocol != pair.b.protocol) {
    append(clauses, "by " + instead(pair.b.algorithm + " " + pair.b.protocol,
                                    pair.a.algorithm + " " + pair.a.protocol));
  }
  if (changed(pair.a.bus_bandwidth, pair.b.bus_bandwidth)) {
    append(clauses, "at " + instead(format_quantity(BytesPerSecond(pair.b.bus_bandwidth)),
                                    format_quantity(BytesPerSecond(pair.a.bus_bandwidth))));
  }
  if (changed(pair.a.total_s, pair.b.total_s)) {
    append(clauses, instead(seconds_text(pair.b.total_s), seconds_text(pair.a.total_s)) + " in flight");
    const bool slower = pair.b.total_s > pair.a.total_s;
    const double by_s = std::abs(pair.b.total_s - pair.a.total_s);
    const std::string links = slower ? binding_links(a, b, by_s) : binding_links(b, a, by_s);
    if (!links.empty())
      clauses += slower ? "; links " + links + " hold it up" : "; links " + links + " hold it up less";
  } else {
    append(clauses, "in flight as long, " +
                        instead(seconds_text(pair.b.exposed_s), seconds_text(pair.a.exposed_s)) +
                        " not hidden");
  }
  return name + " " + clauses;
}

/// The operation whose exposed time, else whose whole time, moved most says why.
std::string reason_of_communication(GroupKind group, const ComparablePrediction& a,
                                    const ComparablePrediction& b) {
  const OperationPair* chosen = nullptr;
  double most = 0.0;
  const std::vector<OperationPair> pairs = paired_operations(a.prediction, b.prediction);
  for (const OperationPair& pair : pairs) {
    if (pair.group != group) continue;
    const double moved = std::max(std::abs(pair.b.exposed_s - pair.a.exposed_s),
                                  1e-3 * std::abs(pair.b.total_s - pair.a.total_s));
    if (moved > most) {
      chosen = &pair;
      most = moved;
    }
  }
  if (chosen == nullptr) return "the same transfers wait for other work";
  return reason_of_operation(*chosen, a.prediction, b.prediction);
}

std::string reason_of_bubble(const Prediction& a, const Prediction& b) {
  std::string clauses;
  if (a.plan.pipeline != b.plan.pipeline)
    append(clauses, fmt::format("{} pipeline stages instead of {}", b.plan.pipeline, a.plan.pipeline));
  if (a.micro_batches != b.micro_batches)
    append(clauses, fmt::format("{} micro-batches instead of {}", b.micro_batches, a.micro_batches));
  if (a.plan.interleave != b.plan.interleave)
    append(clauses,
           fmt::format("{} virtual stages a GPU instead of {}", b.plan.interleave, a.plan.interleave));
  return clauses.empty() ? "idle while other stages and transfers take another time" : clauses;
}

std::string reason_of_compute(BreakdownTerm term, const ComparablePrediction& a,
                              const ComparablePrediction& b) {
  const Prediction& left = a.prediction;
  const Prediction& right = b.prediction;
  std::string clauses;
  if (left.gpu != right.gpu) append(clauses, instead(right.gpu, left.gpu));
  if (left.precision != right.precision)
    append(clauses, instead(std::string(name_of(right.precision)), std::string(name_of(left.precision))));
  const double work_a = left.hardware_flops.base() / left.gpus,
               work_b = right.hardware_flops.base() / right.gpus;
  if (changed(work_a, work_b)) append(clauses, fmt::format("{:.2f} times the FLOPs a GPU", work_b / work_a));
  if (left.plan.tensor != right.plan.tensor)
    append(clauses, fmt::format("products cut {} ways instead of {}", right.plan.tensor, left.plan.tensor));
  if (left.plan.pipeline != right.plan.pipeline)
    append(clauses, fmt::format("{} stages instead of {}", right.plan.pipeline, left.plan.pipeline));
  const auto index = static_cast<size_t>(term);
  if (clauses.empty() && slowed_explains(slowed_seconds(b) - slowed_seconds(a),
                                         right.breakdown[index] - left.breakdown[index])) {
    return "the same FLOPs a GPU, beside collectives for another part of the time";
  }
  return clauses.empty() ? "the same FLOPs a GPU at another rate" : clauses;
}

std::string reason_of_optimizer(const Prediction& a, const Prediction& b) {
  const auto state = [](const Prediction& of) { return of.memory.optimizer; };
  if (changed(state(a).base(), state(b).base()))
    return instead(format_quantity(state(b)), format_quantity(state(a))) + " of optimizer state a GPU";
  return a.gpu != b.gpu ? instead(b.gpu, a.gpu) : "the same state at another rate";
}

std::string reason_of_input(const Prediction& a, const Prediction& b) {
  const auto load = [](const Prediction& of) {
    return of.loop && !of.loop->input.read.empty() ? std::optional(of.loop->input.load) : std::nullopt;
  };
  if (!load(a)) return "samples are read";
  if (!load(b)) return "no samples are read any more";
  return "a step's batch is read in " + instead(format_quantity(*load(b)), format_quantity(*load(a))) +
         (b.loop->input.prefetched ? ", a step ahead" : ", before the step");
}

std::string reason_of_checkpoint(const Prediction& a, const Prediction& b) {
  const auto written = [](const Prediction& of) { return of.loop && of.loop->checkpoint.every > 0; };
  if (!written(b)) return "no checkpoints any more";
  const CheckpointPlan& now = b.loop->checkpoint;
  const std::string what = fmt::format("{} every {} steps{}", format_quantity(now.bytes), now.every,
                                       now.async ? ", asynchronously" : "");
  if (!written(a)) return "checkpoints of " + what;
  const CheckpointPlan& before = a.loop->checkpoint;
  return instead(what, fmt::format("{} every {} steps{}", format_quantity(before.bytes), before.every,
                                   before.async ? ", asynchronously" : ""));
}

}  // namespace

double slowed_seconds(const ComparablePrediction& side) {
  double hidden = 0.0;
  for (const CommunicationTotal& line : side.prediction.communication)
    hidden += std::max(0.0, (line.total - line.exposed).base());
  return hidden * side.overlap_slowdown / (1.0 + side.overlap_slowdown);
}

bool slowed_explains(double slowed_delta_s, double term_delta_s) {
  constexpr double kLeastShare = 0.1;
  return slowed_delta_s * term_delta_s > 0.0 &&
         std::abs(slowed_delta_s) >= kLeastShare * std::abs(term_delta_s);
}

std::vector<OperationPair> paired_operations(const Prediction& a, const Prediction& b) {
  std::vector<OperationPair> pairs;
  add_lines(a, &OperationPair::a, pairs);
  add_lines(b, &OperationPair::b, pairs);
  return pairs;
}

std::string reason_of_term(BreakdownTerm term, const ComparablePrediction& a, const ComparablePrediction& b) {
  if (const auto group = group_of(term)) return reason_of_communication(*group, a, b);
  switch (term) {
    case BreakdownTerm::forward:
    case BreakdownTerm::backward:
    case BreakdownTerm::recompute:
      return reason_of_compute(term, a, b);
    case BreakdownTerm::pipeline_bubble:
      return reason_of_bubble(a.prediction, b.prediction);
    case BreakdownTerm::optimizer:
      return reason_of_optimizer(a.prediction, b.prediction);
    case BreakdownTerm::input_exposed:
      return reason_of_input(a.prediction, b.prediction);
    case BreakdownTerm::checkpoint_exposed:
      return reason_of_checkpoint(a.prediction, b.prediction);
    default:
      return "";
  }
}

}  // namespace orrery
