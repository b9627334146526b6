#include "sim/engine/trunks.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "sim/base/index.hpp"

namespace orrery {

namespace {

/// A share without its last 12 bits: sums of the same parts in another order are the same.
std::uint64_t bits_of(double share) {
  int exponent = 0;
  const double mantissa = std::frexp(share, &exponent);
  return std::bit_cast<std::uint64_t>(std::ldexp(std::nearbyint(std::ldexp(mantissa, 40)), exponent - 40));
}

}  // namespace

Trunks::Trunks(const Topology& topology)
    : topology_(topology), crossed_by_itself_(topology.links().size(), false) {}

bool Trunks::is_switch(VertexId vertex) const {
  return is_network_switch(topology_.vertices()[index_of(vertex)].kind);
}

bool Trunks::one_link_to_switch(VertexId port) const {
  const auto links = topology_.links_from(port);
  return std::count_if(links.begin(), links.end(),
                       [this](LinkId link) { return is_switch(topology_.links()[index_of(link)].to); }) == 1;
}

bool Trunks::one_link_from_switch(VertexId port) const {
  const auto links = topology_.links_to(port);
  return std::count_if(links.begin(), links.end(), [this](LinkId link) {
           return is_switch(topology_.links()[index_of(link)].from);
         }) == 1;
}

const Trunks::Way& Trunks::way(VertexId from, VertexId to, std::uint64_t flow) {
  way_.own.clear();
  way_.trunk = -1;
  if (topology_.routing() != Routing::adaptive || !split_at_switches(from, to, flow)) {
    take_whole(from, to, flow);
  }
  return way_;
}

void Trunks::take_whole(VertexId from, VertexId to, std::uint64_t flow) {
  way_.own = topology_.spread(from, to, flow);
  way_.trunk = -1;
  for (const RouteLink& link : way_.own) crossed_by_itself_[index_of(link.link)] = true;
}

/// A route has the same host links as the spread of its flow. Only where a port hangs off one switch alone,
/// and all between the two ports' switches are switches, nothing else of the pair matters to the spread.
bool Trunks::split_at_switches(VertexId from, VertexId to, std::uint64_t flow) {
  const std::vector<LinkId> path = topology_.route_between(from, to, flow);
  const auto links = topology_.links();
  const auto enters = std::find_if(path.begin(), path.end(),
                                   [&](LinkId link) { return is_switch(links[index_of(link)].to); });
  if (enters == path.end()) {  // stays inside its node
    for (const LinkId link : path) way_.own.push_back({link, 1.0});
    return true;
  }
  const auto leaves =
      std::find_if(enters + 1, path.end(), [&](LinkId link) { return !is_switch(links[index_of(link)].to); });
  if (leaves == path.end()) return false;
  const VertexId last_port = links[index_of(*leaves)].to;
  const auto ports = topology_.ports_of(to);
  const bool own_port = std::find(ports.begin(), ports.end(), last_port) != ports.end();
  if (topology_.ports_of(from).empty() || !own_port || !one_link_to_switch(links[index_of(*enters)].from) ||
      !one_link_from_switch(last_port)) {
    return false;
  }
  for (auto link = path.begin(); link <= enters; ++link) way_.own.push_back({*link, 1.0});
  for (auto link = leaves; link != path.end(); ++link) way_.own.push_back({*link, 1.0});
  if (enters + 1 == leaves) return true;  // one switch
  const auto first = static_cast<std::uint64_t>(links[index_of(*enters)].to);
  const auto last = static_cast<std::uint64_t>(links[index_of(*leaves)].from);
  const auto [place, is_new] =
      known_.emplace((first << 32U) | last, static_cast<std::int32_t>(trunks_.size()));
  if (is_new) trunks_.push_back({from, to, flow});
  way_.trunk = place->second;
  return true;
}

/// The links of a trunk's example from switch to switch.
std::vector<RouteLink> Trunks::spread_of(std::int32_t trunk) const {
  const Trunk& example = trunks_[index_of(trunk)];
  std::vector<RouteLink> links = topology_.spread(example.from, example.to, example.flow);
  std::erase_if(links, [this](const RouteLink& each) {
    const Link& link = topology_.links()[index_of(each.link)];
    return !is_switch(link.from) || !is_switch(link.to);
  });
  return links;
}

std::span<const RouteLink> Trunks::links_of(std::int32_t trunk) {
  if (index_of(trunk) < merged_.size()) return merged_[index_of(trunk)];
  scratch_ = spread_of(trunk);
  return scratch_;
}

std::vector<LinkId> Trunks::merge_alike(std::span<const double> capacity) {
  // Sets of links are split trunk by trunk: the links of a set that a trunk loads with one share become a set
  // of their own. Set 0 is what no trunk has loaded yet; sets made of another have higher numbers.
  constexpr std::int32_t kUntouched = 0;
  std::vector<std::int32_t> set_of(capacity.size(), kUntouched);
  std::vector<std::int32_t> made_of = {-1};                             // by set
  std::vector<std::vector<std::pair<std::int32_t, double>>> sets;       // by trunk, with its share
  std::map<std::pair<std::int32_t, std::uint64_t>, std::int32_t> made;  // by set and share
  for (size_t trunk = 0; trunk < trunks_.size(); ++trunk) {
    made.clear();
    auto& loaded = sets.emplace_back();
    for (const RouteLink& each : spread_of(static_cast<std::int32_t>(trunk))) {
      std::int32_t& set = set_of[index_of(each.link)];
      const auto next = static_cast<std::int32_t>(made_of.size());
      const auto [place, is_new] = made.try_emplace({set, bits_of(each.share)}, next);
      if (is_new) {
        made_of.push_back(set);
        loaded.emplace_back(next, each.share);
      }
      set = place->second;
    }
  }
  // The tightest link of each set; those of ways without a trunk stand for themselves alone.
  std::vector<std::vector<LinkId>> links_of_set(made_of.size());
  std::vector<LinkId> stands_for(capacity.size());
  std::iota(stands_for.begin(), stands_for.end(), 0);
  for (size_t link = 0; link < set_of.size(); ++link) {
    if (set_of[link] == kUntouched) continue;
    std::vector<LinkId>& members = links_of_set[index_of(set_of[link])];
    const auto number = static_cast<LinkId>(link);
    if (members.empty() || crossed_by_itself_[link]) {
      members.push_back(number);
    } else if (crossed_by_itself_[index_of(members.front())]) {
      members.insert(members.begin(), number);
    } else if (capacity[link] < capacity[index_of(members.front())]) {
      members.front() = number;
    }
  }
  for (size_t link = 0; link < set_of.size(); ++link) {
    if (set_of[link] == kUntouched || crossed_by_itself_[link]) continue;
    stands_for[link] = links_of_set[index_of(set_of[link])].front();
  }
  // What a trunk loaded is now spread over the sets made of those that it saw.
  for (size_t set = made_of.size(); set-- > 1;) {
    if (made_of[set] == kUntouched) continue;
    std::vector<LinkId>& whole = links_of_set[index_of(made_of[set])];
    whole.insert(whole.end(), links_of_set[set].begin(), links_of_set[set].end());
  }
  for (const auto& loaded : sets) {
    std::vector<RouteLink>& links = merged_.emplace_back();
    for (const auto& [set, share] : loaded) {
      for (const LinkId link : links_of_set[index_of(set)]) links.push_back({link, share});
    }
  }
  return stands_for;
}

}  // namespace orrery
