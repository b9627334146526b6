#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/collectives/nccl.hpp"
#include "kernels/harness/cuda.hpp"

namespace orrery::kernels {

/// One call of a collective, in nccl-tests' terms.
struct CollectiveCall {
  std::string op;
  std::size_t elements = 0;  ///< call_elements(): fp32 numbers that a rank hands in (all-gather) or gets
                             ///< (reduce-scatter), or exchanges with each peer (all-to-all)
  bool in_place = false;
};

/// All GPUs of the machine as the ranks of one NCCL communicator, each driven by a thread of its own. A
/// failure in one ends the program, because the others wait for it.
class Ranks {
 public:
  /// @param bytes  of the send buffer and of the receive buffer, each
  Ranks(int count, std::size_t bytes, std::uint64_t seed);
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int count() const { return static_cast<int>(ranks_.size()); }
  /// Mean time of one call in each of `samples` runs of `launches` calls back to back, on the slowest rank:
  /// host clock from a common start until the rank's GPU is done.
  std::vector<double> time(const CollectiveCall& call, int launches, int samples);
  /// Runs the call on small whole numbers, whose sums fp32 holds exactly, and compares every element on every
  /// rank. Overwrites the buffers. @throws CheckFailed
  void check(const CollectiveCall& call, std::uint64_t seed);
  void fill(std::uint64_t seed);

 private:
  struct Rank;
  void enqueue(const CollectiveCall& call, Rank& rank) const;
  template <typename Work>
  void on_all(Work&& work);
  std::vector<std::unique_ptr<Rank>> ranks_;
};

}  // namespace orrery::kernels
