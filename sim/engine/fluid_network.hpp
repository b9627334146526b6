#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace orrery {

/// A link of a flow and how often a byte of the flow crosses it: the share of a sprayed flow, 1 on a single
/// path.
struct FluidLoad {
  std::int32_t link = 0;
  double weight = 1.0;
};

/// How exact a FluidNetwork is.
struct FluidOptions {
  /// After flows have ended, rates may stay as they are for this share of the time since the last flow
  /// started (so no rate is older than this share of the age of any live flow), and are then found again once
  /// for all of them. 0: at every end, exact. Starts are never put off. At 0.002 no completion moved by more
  /// than 0.18 % in a hashed all-to-all of 16,256 flows and by 0.44 % in the worst case known
  /// (tests/unit/fluid).
  double tolerance = 0.0;
};

/// Fluid flows that share links by max-min fairness, found by progressive filling (Bertsekas and Gallager,
/// Data Networks, section 6.5.2): all rates rise together; a flow stops at its own bound or when a link of
/// its is full. A flow of rate x loads a link by weight * x.
///
/// Why it is fast: flows with the same links and bound are one class whose members have one rate; links that
/// cannot be filled even by all their flows at their bounds never bind and join nothing together; after a
/// change only what is connected to it over links that can bind is solved again, which is exact. A solve
/// costs the links of the classes solved plus a heap of their links. Where one link holds all that is
/// connected (many senders, one receiver), the classes are *tied*: they have one rate and one count of what
/// each member has got, so an end costs the links of what ended and a heap, whoever else is left.
///
/// Times in s from zero, sizes in bytes, rates in B/s. Deterministic. Flows that end within 1e-12 of the
/// clock end together. @see tests/properties/fluid: agrees with SimGrid on random networks to 1e-6
class FluidNetwork {
 public:
  /// @throws std::invalid_argument for a capacity not above zero, or a tolerance outside [0, 0.5]
  explicit FluidNetwork(std::span<const double> capacity, FluidOptions options = {});

  /// Flows over the same links with the same bound. A link listed twice counts twice. Classes may be added at
  /// any time. @returns the class's number, counted from 0
  /// @throws std::invalid_argument for an unknown link, a weight or bound not above zero, or neither
  std::int32_t add_class(std::span<const FluidLoad> loads,
                         double bound = std::numeric_limits<double>::infinity());

  /// Starts a flow now. `flow` is the caller's number for it. @throws std::invalid_argument unless bytes > 0
  void start(std::int32_t flow_class, double bytes, std::int64_t flow);

  double now() const { return now_; }
  std::int64_t live() const { return live_; }
  /// The next time at which a flow may end or rates are due; infinity when no flow is live.
  double next_time();
  /// Moves the clock to `time` (not beyond next_time()) and appends the flows that have ended there.
  /// @throws std::logic_error for a time before now() or beyond next_time()
  void advance(double time, std::vector<std::int64_t>& ended);

  /// Rate of each member of a class now; 0 if it has none.
  double rate(std::int32_t flow_class);
  /// The most that a member of a class gets: its own bound, or all of its narrowest link.
  double bound(std::int32_t flow_class) const { return classes_[static_cast<size_t>(flow_class)].bound; }
  /// Bytes that have crossed a link until now.
  double link_bytes(std::int32_t link) const;
  /// For how long a link was at its capacity (within 1e-6 of it).
  double busy_s(std::int32_t link) const;
  double capacity(std::int32_t link) const { return links_[static_cast<size_t>(link)].capacity; }

  std::int64_t solves() const { return solves_; }
  /// Classes in all solves together: the work.
  std::int64_t classes_solved() const { return classes_solved_; }

 private:
  struct Member {
    double target;  ///< FlowClass::served at which it ends
    std::int64_t order;
    std::int64_t flow;
  };
  struct FlowClass {
    std::int32_t begin = 0, end = 0;  ///< of its crossings
    std::int32_t tie = -1;            ///< it is in; `rate` is 0 then and `served` what it had when tied
    double counted = 0.0;             ///< Tie::served up to which its bytes are on its links
    bool unannounced = false;         ///< its next end is not in the heap, though it has a rate
    double bound = 0.0;
    double rate = 0.0;
    double served = 0.0;  ///< bytes that a member has got since the class was last empty, at `since`
    double since = 0.0;
    std::uint32_t version = 0;    ///< of its next end
    bool changed = false;         ///< members came or went since the last solve
    std::vector<Member> members;  ///< a heap, the next to end first
  };
  /// A class's use of a link, and its place in the link's list of live classes.
  struct Crossing {
    std::int32_t link;
    std::int32_t flow_class;
    double weight;
    std::int32_t place;
  };
  struct FluidLink {
    double capacity = 0.0;
    double potential = 0.0;  ///< load if all live flows ran at their bounds
    double demand = 0.0;     ///< weights of all live flows
    double load = 0.0;
    double crossed = 0.0;  ///< bytes until `since`
    double busy = 0.0;
    double since = 0.0;
    double full_since = -1.0;  ///< in Tie::full since then; -1: not
    bool could_bind = false;   ///< at the last solve that saw it
    bool in_solve = false;
    std::vector<std::int32_t> live;  ///< crossings of classes with members
    // Scratch of a solve.
    double residual = 0.0, weight = 0.0;
    std::int32_t unfrozen = 0;
  };
  /// Classes that one link holds, all that are connected to it; they only lose members.
  struct Tie {
    std::int32_t link = -1;  ///< -1: none
    double rate = 0.0;       ///< of each member
    double served = 0.0;     ///< bytes that each has got since they were tied, at `since`
    double since = 0.0;
    double bound = 0.0;  ///< the least of any class
    std::vector<std::int32_t> classes;
    std::vector<std::pair<double, std::int32_t>> ends;    ///< a heap: `served` at the next end of each class
    std::vector<std::pair<double, std::int32_t>> levels;  ///< a heap of links that are not full; they rise
    std::vector<std::int32_t> full;                       ///< links, that one included
    std::int32_t announced = -1;                          ///< class whose end is in the network's heap
    bool changed = false;                                 ///< members left since its rate was found
  };
  struct NextEnd {
    double time;
    std::int32_t flow_class;
    std::uint32_t version;
  };
  /// Order of the heaps: the next to end on top; what was started (or numbered) first of equals.
  struct EndsLater {
    bool operator()(const Member& a, const Member& b) const {
      return a.target != b.target ? a.target > b.target : a.order > b.order;
    }
    bool operator()(const NextEnd& a, const NextEnd& b) const {
      return a.time != b.time ? a.time > b.time : a.flow_class > b.flow_class;
    }
  };

  bool can_bind(const FluidLink& link) const;
  void settle(FluidLink& link) const;
  void set_load(FluidLink& link, double load);
  void enter(FlowClass& flow_class);
  void leave(FlowClass& flow_class);
  void count_member(FlowClass& flow_class, double sign);
  void mark_changed(std::int32_t number);
  void set_rate(std::int32_t number, double rate);
  void push_next_end(std::int32_t number);
  void rebuild_ends();
  void end_members(std::int32_t number, std::vector<std::int64_t>& ended);

  bool settled() const { return changed_.empty() && changed_ties_.empty(); }
  void tie();
  void untie(std::int32_t number);
  void untie_if_tied(std::int32_t flow_class);
  bool find_rate(Tie& tie);
  void find_full(Tie& tie);
  void bring_up_to_now(Tie& tie) const;
  void count_bytes(FlowClass& flow_class);
  void announce(Tie& tie);
  void end_tied(std::int32_t number, std::vector<std::int64_t>& ended);

  void solve();
  void gather();
  void add_link_to_solve(std::int32_t number);
  void add_class_to_solve(std::int32_t number);
  void order_by_bound();
  void fill();
  void freeze(std::int32_t number, double rate);
  void apply();

  /// A link is reported busy from this share of its capacity on.
  static constexpr double kBusy = 1.0 - 1e-6;

  FluidOptions options_;
  std::vector<FluidLink> links_;
  std::vector<FlowClass> classes_;
  std::vector<Crossing> crossings_;
  std::vector<NextEnd> ends_;  // a heap
  std::vector<std::int32_t> changed_;
  std::vector<Tie> ties_;
  std::vector<std::int32_t> free_ties_, changed_ties_;
  double now_ = 0.0;
  double last_start_ = 0.0;
  double due_ = 0.0;  // when the changed classes must be solved
  std::int64_t live_ = 0, live_classes_ = 0, started_ = 0, solves_ = 0, classes_solved_ = 0;
  // Scratch of a solve.
  std::vector<std::int32_t> solve_links_, solve_classes_;
  std::vector<char> gathered_, frozen_;  // by class; beside the classes, as they are read at random
  std::vector<double> new_rate_;         // by class
  std::vector<std::pair<double, std::int32_t>> level_;  // a heap of links by the level that fills them
  std::int32_t rounds_ = 0;                             // of the filling
  std::int32_t last_full_ = -1;                         // the link that stopped the last of them; -1: a bound
};

}  // namespace orrery
