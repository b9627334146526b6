#pragma once

#include "sim/workload/collective.hpp"

namespace orrery {

/// What a call costs the host for each GPU that one of its threads drives (s), with few of NCCL's channels
/// and with all: the thread sets up every channel of every GPU's kernel, and short payloads are given few.
struct LaunchTimes {
  double few = 0;  ///< up to 64 KiB
  double all = 0;  ///< from 512 KiB on; between them linear in the logarithm of the size
};

/// What a call on idle GPUs waits for before its kernels run together (s): the host's way to the kernel and
/// the last of the ranks. Calls in a row wait once.
struct LoneStarts {
  double collective = 0, exchange = 0;
};

/// Of collectives, whose calls are one kernel a GPU, and of exchanges (all-to-all and send-receive), with a
/// send and a receive for each peer before it.
struct OneThreadConstants {
  LaunchTimes collective, exchange;
  LoneStarts lone;
};

/// Launch of one GPU's part of a call.
double launch_time(const OneThreadConstants& constants, CollectiveOp op, double payload);

/// Start of a call that is timed by itself.
double lone_start(const OneThreadConstants& constants, CollectiveOp op);

/// Calls that nccl-tests times in a row by default (-n).
inline constexpr double kCallsInARow = 20.0;

/// Time (s) of one of some calls that are timed together. All of them but for the start are in `alone`, a
/// call among kCallsInARow, so
///     alone + start (1 / calls - 1 / kCallsInARow)
/// and `alone` with more calls than those.
///
/// Sources: events around each call, stas00/ml-engineering network/benchmarks/all_reduce_bench.py
/// (timed_allreduce; its later form hides "per-call host overhead of some 20-30us" behind queued calls) and
/// openxla/xla xla/service/gpu/gpu_executable.cc (CreateEventBasedTimer, MaybeSyncAndProfile).
double time_in_a_row(double alone, double start, double calls);

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
