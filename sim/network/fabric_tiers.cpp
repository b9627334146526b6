#include "sim/network/fabric_tiers.hpp"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "sim/base/index.hpp"

namespace orrery {
namespace {

int rank_of(VertexKind kind) { return is_network_switch(kind) ? static_cast<int>(kind) : 0; }

struct Ports {
  int cables = 0;
  BytesPerSecond down, up, sideways, global;

  void add(const Ports& more) {
    down += more.down;
    up += more.up;
    sideways += more.sideways;
    global += more.global;
  }
};

double ratio(const Ports& ports) {
  for (const BytesPerSecond on : {ports.up, ports.global, ports.sideways}) {
    if (on.base() > 0.0) return ports.down / on;
  }
  return 0.0;
}

void add_cables(const Topology& topology, std::vector<CableCount>& cables) {
  using Kinds = std::tuple<int, VertexKind, VertexKind>;
  // One entry a direction, so that a duplex cable and a one-way link both count once: by the fuller
  // direction.
  std::map<Kinds, std::array<CableCount, 2>> counts;
  for (std::size_t l = 0; l < topology.links().size(); ++l) {
    const Link& link = topology.links()[l];
    VertexKind a = topology.vertices()[index_of(link.from)].kind;
    VertexKind b = topology.vertices()[index_of(link.to)].kind;
    if (!is_network_switch(a) && !is_network_switch(b)) continue;
    const bool turned = rank_of(a) > rank_of(b) || (rank_of(a) == rank_of(b) && link.from > link.to);
    if (turned) std::swap(a, b);
    CableCount& count = counts[{rank_of(a), a, b}][turned ? 1 : 0];
    count.below = a;
    count.above = b;
    count.least_rate = count.cables == 0 ? link.bandwidth : min(count.least_rate, link.bandwidth);
    count.most_rate = max(count.most_rate, link.bandwidth);
    ++count.cables;
    if (!topology.usable(static_cast<LinkId>(l))) ++count.failed;
  }
  for (const auto& [kinds, directions] : counts) {
    cables.push_back(directions[0].cables >= directions[1].cables ? directions[0] : directions[1]);
  }
}

}  // namespace

FabricTiers count_tiers(const Topology& topology, const std::vector<int>& groups) {
  FabricTiers fabric;
  std::vector<Ports> ports(topology.vertices().size());
  for (std::size_t l = 0; l < topology.links().size(); ++l) {
    const Link& link = topology.links()[l];
    const int from = rank_of(topology.vertices()[index_of(link.from)].kind);
    const int to = rank_of(topology.vertices()[index_of(link.to)].kind);
    if (from == 0) continue;
    Ports& own = ports[index_of(link.from)];
    ++own.cables;
    if (!topology.usable(static_cast<LinkId>(l))) continue;
    // Storage injects nothing of the nodes'.
    if (to == 0 && topology.vertices()[index_of(link.to)].node < 0) continue;
    const bool to_other_group =
        !groups.empty() && to == from && groups[index_of(link.from)] != groups[index_of(link.to)];
    BytesPerSecond& sum = to < from        ? own.down
                          : to > from      ? own.up
                          : to_other_group ? own.global
                                           : own.sideways;
    sum += link.bandwidth;
  }
  for (const VertexKind kind : {VertexKind::leaf, VertexKind::spine, VertexKind::core}) {
    SwitchTier tier;
    tier.kind = kind;
    Ports all;
    std::map<int, Ports> of_group;
    for (std::size_t v = 0; v < ports.size(); ++v) {
      if (topology.vertices()[v].kind != kind) continue;
      const Ports& own = ports[v];
      tier.least_ports = tier.switches == 0 ? own.cables : std::min(tier.least_ports, own.cables);
      tier.most_ports = std::max(tier.most_ports, own.cables);
      ++tier.switches;
      if (topology.failed(static_cast<VertexId>(v))) ++tier.failed;
      all.add(own);
      if (!groups.empty()) of_group[groups[v]].add(own);
      tier.worst_oversubscription = std::max(tier.worst_oversubscription, ratio(own));
    }
    if (tier.switches == 0) continue;
    tier.down = all.down;
    tier.up = all.up;
    tier.sideways = all.sideways;
    tier.global = all.global;
    tier.oversubscription = ratio(all);
    if (all.up.base() <= 0.0 && all.global.base() > 0.0) {
      // A group's global cables serve all of its switches, whichever hold them; groups without nodes inject
      // nothing.
      Ports in_use;
      tier.worst_oversubscription = 0.0;
      for (const auto& [group, sum] : of_group) {
        if (sum.down.base() <= 0.0) continue;
        in_use.add(sum);
        tier.worst_oversubscription = std::max(tier.worst_oversubscription, ratio(sum));
      }
      tier.oversubscription = ratio(in_use);
    }
    fabric.tiers.push_back(tier);
  }
  add_cables(topology, fabric.cables);
  return fabric;
}

std::vector<double> FabricTiers::oversubscription() const {
  std::vector<double> ratios;
  for (const SwitchTier& tier : tiers) {
    if (tier.oversubscription > 0.0) ratios.push_back(tier.oversubscription);
  }
  if (ratios.empty() && !tiers.empty()) ratios.push_back(1.0);
  return ratios;
}

}  // namespace orrery
