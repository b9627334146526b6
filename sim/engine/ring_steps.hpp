#pragma once

#include <limits>
#include <span>
#include <vector>

#include "sim/base/quantity.hpp"
#include "sim/collectives/schedules.hpp"
#include "sim/engine/fluid_network.hpp"
#include "sim/network/topology.hpp"
#include "sim/workload/collective.hpp"

namespace orrery {

/// A ring collective: all_reduce, reduce_scatter or all_gather over GPUs in ring order.
struct RingCollective {
  CollectiveOp op = CollectiveOp::all_reduce;
  std::vector<int> gpus;  ///< cluster GPU numbers; rank i sends to rank i + 1
  Bytes payload;          ///< nccl-tests' size
  Seconds alpha;          ///< of every message, beside the latency of its route
  int pieces = 1;  ///< the payload is cut into so many, one after the other down the ring without a pause
  BytesPerSecond rate{std::numeric_limits<double>::infinity()};  ///< the most that a message gets, whatever
                                                                 ///< its links
  std::uint64_t flow = 0;  ///< which of several connections between the same GPUs (ECMP hash, NIC)
};

struct StepTimes {
  Seconds time;                ///< until the last message of all has arrived
  std::vector<Seconds> ended;  ///< by collective
  std::int64_t sends = 0;
  std::int64_t contended_sends = 0;  ///< those that shared a link which could not carry all
  std::int64_t solves = 0;
};

/// Step by step: a message starts when the chunk that it passes on has arrived and the one before on its
/// connection has ended. All rings run at the same time and share links. Memory: two counters a rank.
/// @throws std::invalid_argument for another collective, or no pieces; std::runtime_error without a path
StepTimes simulate_rings(const Topology& topology, std::span<const RingCollective> rings,
                         FluidOptions options = {});

/// The same as one fluid flow a ring edge with all of its bytes, plus the latencies of its steps:
///     t = max over edges (S * alpha + end of its flow),   S = steps * pieces
/// Exact where nothing contends: a ring's S messages at the slowest edge follow one another, each after
/// alpha. Where edges contend it takes all edges as busy all the time, alphas left out, so it errs on the
/// slow side.
StepTimes fluid_rings(const Topology& topology, std::span<const RingCollective> rings,
                      FluidOptions options = {});

/// Any schedule on the fabric, message by message; messages of one (from, to, channel) follow one another in
/// the order of their numbers. For small groups: the schedule lists every message.
/// @param gpus  by rank of the schedule
StepTimes simulate_schedule(const Topology& topology, const CollectiveSchedule& schedule,
                            std::span<const int> gpus, Seconds alpha, FluidOptions options = {});

}  // namespace orrery
