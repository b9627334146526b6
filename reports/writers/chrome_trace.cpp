#include "reports/writers/chrome_trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

constexpr double kMicrosecondsPerSecond = 1e6;
constexpr std::array kTrackNames = {"compute",       "tensor and context", "data",
                                    "pipeline send", "pipeline receive",   "storage"};
constexpr int kSendTrack = 3, kReceiveTrack = 4;

Json metadata(const char* what, int process, int thread, const std::string& name) {
  return {{"ph", "M"}, {"name", what}, {"pid", process}, {"tid", thread}, {"args", {{"name", name}}}};
}

Json event(const std::string& name, const std::string& category, int process, int thread, double start_s,
           double end_s) {
  return {{"ph", "X"},
          {"name", name},
          {"cat", category},
          {"pid", process},
          {"tid", thread},
          {"ts", start_s * kMicrosecondsPerSecond},
          {"dur", (end_s - start_s) * kMicrosecondsPerSecond}};
}

/// Of more ranks than this the trace shows every second, third ...: no viewer opens thousands.
constexpr int kMostTracedRanks = 16;

bool is_traced(const WorkloadGraph& graph, int rank) {
  return rank % ((graph.ranks + kMostTracedRanks - 1) / kMostTracedRanks) == 0;
}

void add_pieces(const Segment& segment, const Task& task, double start_s, double end_s, Json& events) {
  const PieceStretch stretch = stretch_of(segment, end_s - start_s);
  double offset = 0.0;
  for (const Piece& piece : segment.pieces) {
    const double next = offset + piece.duration.base() * stretch.of(piece);
    Json entry = event(std::string(piece.name), std::string(name_of(piece.term)), task.rank, task.stream,
                       start_s + offset, start_s + next);
    entry["args"] = {{"micro_batch", task.micro_batch}, {"chunk", task.chunk}};
    if (piece.layer >= 0) entry["args"]["layer"] = piece.layer;
    events.push_back(std::move(entry));
    offset = next;
  }
}

/// A rank can have several transfers of one kind in flight, but a thread of a trace shows one event at a
/// time: what overlaps goes to further threads of the same name.
class TrackLanes {
 public:
  /// Thread of an event of a rank's track; events come in the order of their starts.
  int thread_for(int rank, int track, double start_s, double end_s) {
    std::vector<double>& ends = ends_[{rank, track}];
    // What starts as another ends may do so by a rounding earlier.
    constexpr double kRounding_s = 1e-10;
    auto lane = std::find_if(ends.begin(), ends.end(),
                             [start_s](double end) { return end <= start_s + kRounding_s; });
    if (lane == ends.end()) lane = ends.insert(ends.end(), 0.0);
    *lane = end_s;
    return track + static_cast<int>((lane - ends.begin()) * std::ssize(kTrackNames));
  }
  /// Names of the threads beyond one a track.
  void add_names(Json& events) const {
    for (const auto& [key, ends] : ends_) {
      const auto& [rank, track] = key;
      for (std::ptrdiff_t lane = 1; lane < std::ssize(ends); ++lane) {
        events.push_back(metadata("thread_name", rank,
                                  track + static_cast<int>(lane * std::ssize(kTrackNames)),
                                  fmt::format("{} {}", kTrackNames[static_cast<size_t>(track)], lane + 1)));
      }
    }
  }

 private:
  std::map<std::pair<int, int>, std::vector<double>> ends_;
};

void add_communication(const WorkloadGraph& graph, std::int32_t index, double start_s, double end_s,
                       TrackLanes& lanes, Json& events) {
  const Task& task = graph.tasks[static_cast<size_t>(index)];
  const Communication& what = graph.communications[static_cast<size_t>(task.index)];
  const std::string name = name_of(what);
  Json arguments = {{"bytes", what.payload.base()},
                    {"algorithm", std::string(what.algorithm)},
                    {"protocol", std::string(what.protocol)},
                    {"micro_batch", task.micro_batch}};
  if (what.calls > 1) arguments["calls"] = what.calls;
  for (const std::int32_t rank : graph.participants_of(index)) {
    if (!is_traced(graph, rank)) continue;
    const bool sends = what.op == CollectiveOp::send_receive && what.storage == StorageUse::none;
    const int track = !sends ? task.stream : rank == task.rank ? kSendTrack : kReceiveTrack;
    const int thread = lanes.thread_for(rank, track, start_s, end_s);
    Json entry = event(name, std::string(name_of(what.exposed())), rank, thread, start_s, end_s);
    entry["args"] = arguments;
    events.push_back(std::move(entry));
  }
}

}  // namespace

std::string chrome_trace(const SimulatedStep& step) {
  const WorkloadGraph& graph = step.graph;
  Json events = Json::array();
  for (int rank = 0; rank < graph.ranks; ++rank) {
    if (!is_traced(graph, rank)) continue;
    const auto index = static_cast<size_t>(rank);
    const std::string name =
        index < graph.rank_names.size() ? graph.rank_names[index] : "rank " + std::to_string(rank);
    events.push_back(metadata("process_name", rank, 0, name));
    for (size_t track = 0; track < kTrackNames.size(); ++track) {
      events.push_back(metadata("thread_name", rank, static_cast<int>(track), kTrackNames[track]));
    }
  }
  std::vector<std::int32_t> by_start(graph.tasks.size());
  std::iota(by_start.begin(), by_start.end(), 0);
  std::stable_sort(by_start.begin(), by_start.end(), [&step](std::int32_t a, std::int32_t b) {
    return step.timeline.start_s[static_cast<size_t>(a)] < step.timeline.start_s[static_cast<size_t>(b)];
  });
  TrackLanes lanes;
  for (const std::int32_t index : by_start) {
    const auto i = static_cast<size_t>(index);
    const Task& task = graph.tasks[i];
    const double start = step.timeline.start_s[i];
    const double end = step.timeline.end_s[i];
    if (task.kind == TaskKind::segment) {
      if (is_traced(graph, task.rank))
        add_pieces(graph.segments[static_cast<size_t>(task.index)], task, start, end, events);
    } else {
      add_communication(graph, index, start, end, lanes, events);
    }
  }
  lanes.add_names(events);
  const Json trace = {{"traceEvents", std::move(events)}, {"displayTimeUnit", "ms"}};
  return trace.dump() + "\n";
}

}  // namespace orrery
