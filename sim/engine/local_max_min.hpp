#pragma once

#include <cstdint>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "sim/base/large_array.hpp"
#include "sim/engine/keep_fetches.hpp"
#include "sim/engine/shared_resources.hpp"
#include "sim/engine/short_list.hpp"

namespace orrery {

/// Max-min rates of flows that come and go. A change is worked out where it is felt alone: the flows on the
/// links of what came or went share these anew among themselves, all others keeping their rates; then every
/// flow met on these links is asked whether it still has a bottleneck (a full link on which nobody is faster:
/// Bertsekas and Gallager, Data Networks, section 6.5.2, the property that makes rates max-min). Those that
/// have lost theirs, or that keep one of the first from its due, join in, until none is left. Exact but for
/// differences below a tolerance, at which it stops: a change of one flow in a thousand does not pass through
/// the whole fabric. No link is ever given more than its capacity.
class LocalMaxMin {
 public:
  /// @param tolerance  relative; flows whose rates are less apart count as equally fast
  LocalMaxMin(std::span<const double> capacity, double tolerance);

  /// A flow over links that it loads by weight x rate, of at most `bound` B/s. The span must outlive it.
  /// @returns its number; those of flows that were removed are given again
  std::int32_t add(std::span<const ResourceShare> shares, double bound);
  void remove(std::int32_t flow);
  /// Fetches what add() will need of these links.
  void expect(std::span<const ResourceShare> shares) const {
    for (const ResourceShare& share : shares) {
      __builtin_prefetch(&links_[static_cast<size_t>(share.resource)]);
    }
    keep_fetches();
  }
  /// Fetches what remove() will need: of the flow, then its shares, then its links.
  void expect_removal(std::int32_t flow) const {
    __builtin_prefetch(&flows_[static_cast<size_t>(flow)]);
    __builtin_prefetch(&flows_[static_cast<size_t>(flow)].place);
    keep_fetches();
  }
  void expect_removal_shares(std::int32_t flow) const {
    const auto shares = flows_[static_cast<size_t>(flow)].shares;
    __builtin_prefetch(shares.data());
    if (!shares.empty()) __builtin_prefetch(&shares.back());
    keep_fetches();
  }
  void expect_removal_links(std::int32_t flow) const { expect(flows_[static_cast<size_t>(flow)].shares); }
  /// Finds the rates after what was added and removed. @returns the flows whose rates have changed
  std::span<const std::pair<std::int32_t, double>> settle();

  /// Flows that the last settle() left at their rate, but held by another link than before.
  std::span<const std::int32_t> held_anew() const { return held_anew_; }

  double rate(std::int32_t flow) const { return flows_[static_cast<size_t>(flow)].rate; }
  /// The full link that holds a flow below its bound, or -1.
  std::int32_t held_by(std::int32_t flow) const {
    const Flow& held = flows_[static_cast<size_t>(flow)];
    return held.bottleneck >= 0 ? held.bottleneck : held.narrowest;
  }
  /// Flows in all rounds together: the work.
  std::int64_t flows_solved() const { return flows_solved_; }

 private:
  struct alignas(64) Flow {
    std::span<const ResourceShare> shares;
    double bound = 0.0;
    double rate = 0.0, new_rate = 0.0;
    std::int32_t bottleneck = -1;  ///< the full link that holds it; -1: its bound does
    std::int32_t narrowest = -1;   ///< the link that alone carries less of it than the bound given; -1: none
    std::int32_t told = -1;        ///< held_by at the last settle()
    bool live = false;
    bool solved_for = false;  ///< in flows_in_solve_
    bool frozen = false;
    ShortList<std::uint32_t, 8> place;  ///< by share: position in the link's list
  };
  struct OnLink {
    std::int32_t flow;
    std::uint32_t share;
  };
  /// A cache line where it has few flows.
  struct alignas(64) Link {
    double capacity = 0.0;
    double potential = 0.0;  ///< load if all flows ran at their bounds
    double load = 0.0;
    std::int32_t in_solve = -1;  ///< place in links_in_solve_; -1: none
    bool relieved = false;       ///< in relieved_
    ShortList<OnLink, 2> flows;
  };
  /// What a solve knows of a link; those that cannot bind have no part in it. Few at a time, so they lie
  /// close together wherever the links do.
  struct LinkInSolve {
    std::int32_t link;
    std::int32_t unfrozen = 0;
    bool whole = false;   ///< all of its flows are solved for
    double taken;         ///< by flows that are not solved for
    double left = 0.0;    ///< what is not given away yet
    double weight = 0.0;  ///< of flows that are not frozen
    double fastest = 0.0;
    double level = -1.0;  ///< rate of the flows that it froze; -1: none
  };

  Flow& flow(std::int32_t number) { return flows_[static_cast<size_t>(number)]; }
  Link& link(std::int32_t number) { return links_[static_cast<size_t>(number)]; }
  bool can_bind(const Link& each) const;
  void solve_for(std::int32_t number);
  void free_held_flows();
  void fill();
  void leave_links();
  void freeze(std::int32_t number, double rate, std::int32_t bottleneck);
  bool take_in_others();
  void apply();

  double tolerance_;
  LargeArray<Link> links_;
  LargeArray<Flow> flows_;
  std::vector<std::int32_t> free_;
  std::vector<std::int32_t> flows_in_solve_;
  std::vector<LinkInSolve> links_in_solve_;
  std::vector<std::int32_t> relieved_;                     ///< links that could bind and have lost flows
  std::vector<std::pair<double, std::int32_t>> by_bound_;  ///< flows in a solve by their bounds
  /// A heap of links by the level that fills them, then by their number; third the place in links_in_solve_.
  std::vector<std::tuple<double, std::int32_t, std::int32_t>> levels_;
  std::vector<std::pair<std::int32_t, double>> changed_;
  std::vector<std::int32_t> held_anew_;
  std::int64_t flows_solved_ = 0;
};

}  // namespace orrery
