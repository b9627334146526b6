#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "sim/network/topology.hpp"

namespace orrery {

/// Paths of adaptive routing in parts. All pairs of endpoints that enter the network at one switch and leave
/// it at another load the links between these two alike: their *trunk*. Tens of thousands of pairs make a
/// few trunks a switch, and a trunk of a three-tier fabric has thousands of links; so loads are added up by
/// trunk first, and links that all trunks load alike are kept as one.
class Trunks {
 public:
  explicit Trunks(const Topology& topology);

  /// What a flow between two endpoints loads.
  struct Way {
    std::vector<RouteLink> own;  ///< its host links; all of the path where no trunk describes it
    std::int32_t trunk = -1;     ///< what it loads with its whole weight between its switches
  };
  /// The reference holds until the next call. @throws std::runtime_error if there is no path
  const Way& way(VertexId from, VertexId to, std::uint64_t flow);

  std::size_t count() const { return trunks_.size(); }
  /// Links of a trunk with their shares; after merge_alike() those that stand for others alone. The span
  /// holds until the next call.
  std::span<const RouteLink> links_of(std::int32_t trunk);

  /// Finds the links that every trunk known so far loads alike, and lets the tightest of each set stand for
  /// it. Call it once, when all ways have been asked for.
  /// @param capacity by link
  /// @returns by link: the one that stands for it (itself, where no other has the same loads)
  std::vector<LinkId> merge_alike(std::span<const double> capacity);

 private:
  /// Two endpoints whose flow takes the trunk.
  struct Trunk {
    VertexId from, to;
    std::uint64_t flow;
  };
  bool is_switch(VertexId vertex) const;
  bool one_link_to_switch(VertexId port) const;
  bool one_link_from_switch(VertexId port) const;
  bool split_at_switches(VertexId from, VertexId to, std::uint64_t flow);
  void take_whole(VertexId from, VertexId to, std::uint64_t flow);
  std::vector<RouteLink> spread_of(std::int32_t trunk) const;

  const Topology& topology_;
  std::vector<Trunk> trunks_;
  std::unordered_map<std::uint64_t, std::int32_t> known_;  // by first and last switch; looked up only
  std::vector<bool> crossed_by_itself_;                    // by link: of some way without a trunk
  std::vector<std::vector<RouteLink>> merged_;             // by trunk, after merge_alike()
  std::vector<RouteLink> scratch_;
  Way way_;
};

}  // namespace orrery
