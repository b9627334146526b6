#pragma once

#include <span>

#include "sim/collectives/one_thread.hpp"

namespace orrery {

/// A measured call of one thread with several GPUs.
struct OneThreadRow {
  CollectiveOp op = CollectiveOp::all_reduce;
  double bytes = 0;
  double seconds = 0;
  double alone = 0;  ///< s, what it would take with a thread for each GPU
  int gpus = 1;      ///< of the thread
};

/// A measured call among fewer than kCallsInARow that were timed together, of one GPU a thread.
struct LoneRow {
  CollectiveOp op = CollectiveOp::all_reduce;
  double bytes = 0;
  double seconds = 0;
  double alone = 0;  ///< s, what it would take among kCallsInARow
  double calls = 1;  ///< timed together
};

/// Launches of one GPU: the median of what the rows that launches hold up leave for them (time_of_one_thread
/// solved for the launch), of payloads up to 64 KiB and of 512 KiB to 1 MiB. Where rows are missing, of what
/// there is; zero without any. Starts of lone calls: the median of what they take more, of payloads up to
/// 16 MiB, above which an error of the prediction is more than a start.
OneThreadConstants fit_one_thread(std::span<const OneThreadRow> rows, std::span<const LoneRow> lone = {});

}  // namespace orrery
