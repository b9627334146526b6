#pragma once

#include "sim/workload/collective.hpp"

namespace orrery {

/// What a call costs the host for each GPU that one of its threads drives (s), with few of NCCL's channels
/// and with all: the thread sets up every channel of every GPU's kernel, and short payloads are given few.
struct LaunchTimes {
  double few = 0;  ///< up to 64 KiB
  double all = 0;  ///< from 512 KiB on; between them linear in the logarithm of the size
};

/// Of collectives, whose calls are one kernel a GPU, and of exchanges (all-to-all and send-receive), with a
/// send and a receive for each peer before it.
struct OneThreadConstants {
  LaunchTimes collective, exchange;
};

/// Launch of one GPU's part of a call.
double launch_time(const OneThreadConstants& constants, CollectiveOp op, double payload);

/// Calls that nccl-tests times in a row by default (-n).
inline constexpr double kCallsInARow = 20.0;

/// Time (s) of one call in a row of them when one thread drives several GPUs (nccl-tests -g n).
///
/// The thread enqueues the call of each GPU between ncclGroupStart and ncclGroupEnd, which launches their
/// kernels one after the other, and goes on to the next call while they run. Launches and kernels are a
/// pipeline of two stages: k calls take k max(t, n launch) + min(t, n launch), so one takes
///     max(t, n launch) + min(t, n launch) / k
/// with k = kCallsInARow.
///
/// Sources: NVIDIA/nccl-tests src/common.cu (BenchTime, startColl: one group for the GPUs of a thread),
/// README.md (-g, -n); NVIDIA/nccl src/group.cc (doLaunches).
/// @param alone  the call with a thread for each GPU   @param gpus  of one thread; 1 changes nothing
/// @param launch of one GPU
double time_of_one_thread(double alone, int gpus, double launch);

}  // namespace orrery
