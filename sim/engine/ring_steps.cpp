#include "sim/engine/ring_steps.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>
#include <tuple>

#include "sim/engine/edge_sends.hpp"
#include "sim/engine/fluid_traffic.hpp"
#include "sim/engine/link_capacity.hpp"

namespace orrery {
namespace {

SendEdge edge_between(const Topology& topology, int from_gpu, int to_gpu, std::uint64_t flow, Seconds alpha,
                      BytesPerSecond most) {
  FluidRoute route = fluid_route(topology, topology.gpu(from_gpu), topology.gpu(to_gpu), flow);
  SendEdge edge;
  edge.loads = std::move(route.loads);
  edge.alpha_s = alpha.base() + route.latency_s;
  const double efficiency = route.sprayed ? topology.spray_efficiency() : 1.0;
  edge.rate = std::min(most.base(), route.line_rate * efficiency);
  return edge;
}

/// Messages of every rank for one piece.
std::int64_t steps_of(const RingCollective& ring) {
  const auto others = static_cast<std::int64_t>(ring.gpus.size()) - 1;
  switch (ring.op) {
    case CollectiveOp::all_reduce:
      return 2 * others;
    case CollectiveOp::reduce_scatter:
    case CollectiveOp::all_gather:
      return others;
    case CollectiveOp::broadcast:
    case CollectiveOp::all_to_all:
    case CollectiveOp::send_receive:
      break;
  }
  throw std::invalid_argument("a ring runs all_reduce, reduce_scatter or all_gather, not " +
                              std::string(name_of(ring.op)));
}

double message_bytes(const RingCollective& ring) {
  return ring.payload.base() / (static_cast<double>(ring.gpus.size()) * ring.pieces);
}

/// The rings' edges one after the other: edge first[i] + r is from rank r of ring i to the next.
struct RingEdges {
  std::vector<double> capacities;
  std::vector<SendEdge> edges;
  std::vector<std::int32_t> ring_of;
  std::vector<std::int32_t> first;
};

RingEdges edges_of(const Topology& topology, std::span<const RingCollective> rings) {
  RingEdges all;
  all.capacities = link_capacities(topology);
  for (size_t i = 0; i < rings.size(); ++i) {
    const RingCollective& ring = rings[i];
    if (ring.pieces < 1 || ring.gpus.empty() || !(ring.payload.base() > 0.0)) {
      throw std::invalid_argument("a ring needs GPUs, bytes and at least one piece");
    }
    all.first.push_back(static_cast<std::int32_t>(all.edges.size()));
    if (steps_of(ring) == 0) continue;
    for (size_t rank = 0; rank < ring.gpus.size(); ++rank) {
      const int next = ring.gpus[(rank + 1) % ring.gpus.size()];
      all.edges.push_back(edge_between(topology, ring.gpus[rank], next, ring.flow, ring.alpha, ring.rate));
      all.ring_of.push_back(static_cast<std::int32_t>(i));
    }
  }
  return all;
}

}  // namespace

StepTimes simulate_rings(const Topology& topology, std::span<const RingCollective> rings,
                         FluidOptions options) {
  const RingEdges all = edges_of(topology, rings);
  EdgeSends sends(all.edges, all.capacities, options);
  StepTimes times;
  times.ended.resize(rings.size());
  std::vector<std::int64_t> steps, last;
  std::vector<double> bytes;
  for (const RingCollective& ring : rings) {
    steps.push_back(steps_of(ring));
    last.push_back(steps.back() * ring.pieces);
    bytes.push_back(message_bytes(ring));
  }
  std::vector<std::int64_t> started(all.edges.size(), 0), ended(all.edges.size(), 0);
  const auto try_start = [&](std::int32_t edge) {
    const auto e = static_cast<size_t>(edge);
    const auto ring = static_cast<size_t>(all.ring_of[e]);
    const std::int64_t message = started[e];
    if (message != ended[e] || message == last[ring]) return;
    const std::int32_t first = all.first[ring];
    const auto size = static_cast<std::int32_t>(rings[ring].gpus.size());
    const std::int32_t before = edge == first ? first + size - 1 : edge - 1;
    // Message m passes on what message m - 1 of the rank before has brought; a piece's first is the rank's
    // own.
    if (message % steps[ring] != 0 && ended[static_cast<size_t>(before)] < message) return;
    ++started[e];
    sends.start(edge, bytes[ring]);
  };
  for (std::int32_t edge = 0; static_cast<size_t>(edge) < all.edges.size(); ++edge) try_start(edge);
  for (auto now = sends.next(); !now.empty(); now = sends.next()) {
    for (const std::int64_t edge : now) ++ended[static_cast<size_t>(edge)];
    for (const std::int64_t each : now) {
      const auto edge = static_cast<std::int32_t>(each);
      const auto ring = static_cast<size_t>(all.ring_of[static_cast<size_t>(edge)]);
      const std::int32_t first = all.first[ring];
      const auto size = static_cast<std::int32_t>(rings[ring].gpus.size());
      try_start(edge);
      try_start(edge + 1 == first + size ? first : edge + 1);
      if (ended[static_cast<size_t>(edge)] == last[ring]) times.ended[ring] = Seconds(sends.now());
    }
  }
  times.time = Seconds(sends.now());
  times.sends = sends.sends();
  times.contended_sends = sends.contended_sends();
  times.solves = sends.solves();
  return times;
}

StepTimes fluid_rings(const Topology& topology, std::span<const RingCollective> rings, FluidOptions options) {
  const RingEdges all = edges_of(topology, rings);
  // Without alpha: what the steps' latencies add comes on top.
  std::vector<SendEdge> flows = all.edges;
  for (SendEdge& flow : flows) flow.alpha_s = 0.0;
  EdgeSends sends(flows, all.capacities, options);
  StepTimes times;
  times.ended.resize(rings.size());
  std::vector<double> messages;
  for (const RingCollective& ring : rings)
    messages.push_back(static_cast<double>(steps_of(ring)) * ring.pieces);
  for (size_t edge = 0; edge < flows.size(); ++edge) {
    const auto ring = static_cast<size_t>(all.ring_of[edge]);
    sends.start(static_cast<std::int32_t>(edge), messages[ring] * message_bytes(rings[ring]));
  }
  for (auto now = sends.next(); !now.empty(); now = sends.next()) {
    for (const std::int64_t each : now) {
      const auto edge = static_cast<size_t>(each);
      const auto ring = static_cast<size_t>(all.ring_of[edge]);
      const Seconds ended(sends.now() + messages[ring] * all.edges[edge].alpha_s);
      times.ended[ring] = max(times.ended[ring], ended);
      times.time = max(times.time, ended);
    }
  }
  times.sends = sends.sends();
  times.contended_sends = sends.contended_sends();
  times.solves = sends.solves();
  return times;
}

StepTimes simulate_schedule(const Topology& topology, const CollectiveSchedule& schedule,
                            std::span<const int> gpus, Seconds alpha, FluidOptions options) {
  if (gpus.size() != static_cast<size_t>(schedule.ranks)) {
    throw std::invalid_argument("a schedule of " + std::to_string(schedule.ranks) +
                                " ranks needs as many GPUs");
  }
  const std::vector<double> capacities = link_capacities(topology);
  std::map<std::tuple<int, int, int>, std::int32_t> edge_of;
  std::vector<SendEdge> edges;
  std::vector<std::vector<std::int32_t>> queue;  // by edge: its transfers in order
  std::vector<std::int32_t> edge_of_transfer;
  std::vector<std::int32_t> waits;
  std::vector<std::vector<std::int32_t>> successors(schedule.transfers.size());
  for (size_t i = 0; i < schedule.transfers.size(); ++i) {
    const Transfer& transfer = schedule.transfers[i];
    const auto [known, added] = edge_of.try_emplace({transfer.from, transfer.to, transfer.channel},
                                                    static_cast<std::int32_t>(edges.size()));
    if (added) {
      edges.push_back(edge_between(topology, gpus[static_cast<size_t>(transfer.from)],
                                   gpus[static_cast<size_t>(transfer.to)],
                                   static_cast<std::uint64_t>(transfer.channel), alpha,
                                   BytesPerSecond(std::numeric_limits<double>::infinity())));
      queue.emplace_back();
    }
    edge_of_transfer.push_back(known->second);
    queue[static_cast<size_t>(known->second)].push_back(static_cast<std::int32_t>(i));
    waits.push_back(static_cast<std::int32_t>(transfer.after.size()));
    for (const int before : transfer.after) {
      successors[static_cast<size_t>(before)].push_back(static_cast<std::int32_t>(i));
    }
  }
  EdgeSends sends(edges, capacities, options);
  std::vector<size_t> started(edges.size(), 0), ended(edges.size(), 0);
  const auto try_start = [&](std::int32_t edge) {
    const auto e = static_cast<size_t>(edge);
    if (started[e] != ended[e] || started[e] == queue[e].size()) return;
    const auto transfer = static_cast<size_t>(queue[e][started[e]]);
    if (waits[transfer] > 0) return;
    ++started[e];
    sends.start(edge, schedule.transfers[transfer].bytes.base());
  };
  for (std::int32_t edge = 0; static_cast<size_t>(edge) < edges.size(); ++edge) try_start(edge);
  for (auto now = sends.next(); !now.empty(); now = sends.next()) {
    for (const std::int64_t edge : now) {
      const auto e = static_cast<size_t>(edge);
      const auto transfer = static_cast<size_t>(queue[e][ended[e]++]);
      for (const std::int32_t next : successors[transfer]) --waits[static_cast<size_t>(next)];
    }
    for (const std::int64_t edge : now) {
      const auto e = static_cast<size_t>(edge);
      try_start(static_cast<std::int32_t>(edge));
      for (const std::int32_t next : successors[static_cast<size_t>(queue[e][ended[e] - 1])]) {
        try_start(edge_of_transfer[static_cast<size_t>(next)]);
      }
    }
  }
  StepTimes times;
  times.time = Seconds(sends.now());
  times.ended = {times.time};
  times.sends = sends.sends();
  times.contended_sends = sends.contended_sends();
  times.solves = sends.solves();
  return times;
}

}  // namespace orrery
