#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sim/engine/fluid_network.hpp"

namespace orrery {

/// A directed connection between two ranks of a collective: one message at a time.
struct SendEdge {
  std::vector<FluidLoad> loads;
  double rate = 0.0;     ///< B/s of a message that has its links to itself
  double alpha_s = 0.0;  ///< before the first byte of every message
};

/// Messages on edges. One takes alpha + bytes / rate exactly where its links carry all edges' messages at
/// once at their rates; the others share their links through the fluid network after alpha. Nothing is kept
/// of a message but its end, so memory grows with the edges alone.
class EdgeSends {
 public:
  EdgeSends(std::span<const SendEdge> edges, std::span<const double> capacities, FluidOptions options);

  /// Starts a message now. The edge must be idle. @throws std::logic_error if it is not
  void start(std::int32_t edge, double bytes);
  /// Moves the clock to the next time at which messages end and returns their edges; nothing when none is
  /// under way. Ends within 1e-12 of the clock are one time.
  std::span<const std::int64_t> next();

  double now() const { return now_; }
  bool contended(std::int32_t edge) const { return class_[static_cast<size_t>(edge)] >= 0; }
  std::int64_t sends() const { return sends_; }
  std::int64_t contended_sends() const { return contended_sends_; }
  std::int64_t solves() const { return network_ ? network_->solves() : 0; }

 private:
  struct Timer {
    double time;
    std::int64_t order;
    std::int32_t edge;
    bool starts_flow;
  };
  struct Later {
    bool operator()(const Timer& a, const Timer& b) const {
      return a.time != b.time ? a.time > b.time : a.order > b.order;
    }
  };

  std::vector<double> rate_, alpha_s_;
  std::vector<double>
      waiting_bytes_;  ///< by edge: of a message whose alpha passes, to share links afterwards
  std::vector<char> busy_;
  std::vector<std::int32_t> class_;  ///< by edge, of the network; -1: never contended
  std::optional<FluidNetwork> network_;
  std::vector<Timer> timers_;  // a heap
  std::vector<std::int64_t> ended_;
  double now_ = 0.0;
  std::int64_t started_ = 0, sends_ = 0, contended_sends_ = 0;
};

}  // namespace orrery
