#include <algorithm>
#include <tuple>

#include "sim/timeline/attribution.hpp"
#include "sim/timeline/step_timeline.hpp"

namespace orrery {

Breakdown breakdown_of_rank(const WorkloadGraph& graph, const StepTimeline& timeline, int rank) {
  Breakdown seconds_of{};
  const auto term_of = [&seconds_of](BreakdownTerm term) -> double& {
    return seconds_of[static_cast<size_t>(term)];
  };
  const bool has_pipeline =
      std::any_of(graph.communications.begin(), graph.communications.end(),
                  [](const Communication& c) { return c.group == GroupKind::pipeline; });
  const BreakdownTerm idle_term = has_pipeline ? BreakdownTerm::pipeline_bubble : BreakdownTerm::other;
  RankActivity activity;
  activity.compute = [&](std::int32_t task, double begin_s, double end_s) {
    const Segment& segment =
        graph.segments[static_cast<size_t>(graph.tasks[static_cast<size_t>(task)].index)];
    const PieceStretch stretch = stretch_of(segment, end_s - begin_s);
    for (const Piece& piece : segment.pieces) {
      term_of(piece.term) += piece.duration.base() * stretch.of(piece);
    }
    if (stretch.kernels <= 0.0 && stretch.others <= 0.0) {
      term_of(BreakdownTerm::other) += end_s - begin_s;
    }
  };
  activity.exposed = [&](std::int32_t task, double seconds_exposed) {
    const auto index = static_cast<size_t>(graph.tasks[static_cast<size_t>(task)].index);
    term_of(graph.communications[index].exposed()) += seconds_exposed;
  };
  activity.idle = [&](double seconds_idle) { term_of(idle_term) += seconds_idle; };
  attribute_rank(graph, timeline, rank, activity);
  return seconds_of;
}

int slowest_rank(const WorkloadGraph& graph, const StepTimeline& timeline) {
  const auto ranks = static_cast<size_t>(std::max(graph.ranks, 1));
  std::vector<double> last_end(ranks, 0.0);
  std::vector<double> own_end(ranks, 0.0);  // without storage
  std::vector<double> compute(ranks, 0.0);
  const auto storage = [&graph](const Task& task) {
    return task.kind == TaskKind::communication &&
           graph.communications[static_cast<size_t>(task.index)].storage != StorageUse::none;
  };
  for (size_t i = 0; i < graph.tasks.size(); ++i) {
    const Task& task = graph.tasks[i];
    const auto ends_with = [&](std::int32_t rank) {
      const auto r = static_cast<size_t>(rank);
      last_end[r] = std::max(last_end[r], timeline.end_s[i]);
      if (!storage(task)) own_end[r] = std::max(own_end[r], timeline.end_s[i]);
    };
    ends_with(task.rank);
    for (const std::int32_t participant : graph.participants_of(static_cast<std::int32_t>(i))) {
      ends_with(participant);
    }
    if (task.kind == TaskKind::segment) {
      compute[static_cast<size_t>(task.rank)] += timeline.end_s[i] - timeline.start_s[i];
    }
  }
  size_t slowest = 0;
  for (size_t rank = 1; rank < ranks; ++rank) {
    const auto lateness = [&](size_t of) { return std::tuple(last_end[of], own_end[of], compute[of]); };
    if (lateness(rank) > lateness(slowest)) slowest = rank;
  }
  return static_cast<int>(slowest);
}

std::vector<CommunicationUse> communication_use(const WorkloadGraph& graph, const StepTimeline& timeline,
                                                int rank) {
  std::vector<CommunicationUse> use(graph.communications.size());
  for (size_t i = 0; i < use.size(); ++i) {
    use[i].communication = static_cast<std::int32_t>(i);
  }
  for (size_t i = 0; i < graph.tasks.size(); ++i) {
    const Task& task = graph.tasks[i];
    if (task.kind == TaskKind::communication && takes_part(graph, static_cast<std::int32_t>(i), rank)) {
      ++use[static_cast<size_t>(task.index)].count;
      use[static_cast<size_t>(task.index)].total_s += timeline.end_s[i] - timeline.start_s[i];
    }
  }
  RankActivity activity;
  activity.compute = [](std::int32_t, double, double) {};
  activity.exposed = [&](std::int32_t task, double seconds_exposed) {
    use[static_cast<size_t>(graph.tasks[static_cast<size_t>(task)].index)].exposed_s += seconds_exposed;
  };
  activity.idle = [](double) {};
  attribute_rank(graph, timeline, rank, activity);
  std::erase_if(use, [](const CommunicationUse& entry) { return entry.count == 0; });
  return use;
}

}  // namespace orrery
