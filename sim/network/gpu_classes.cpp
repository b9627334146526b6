#include "sim/network/gpu_classes.hpp"

#include <algorithm>
#include <map>

#include "sim/base/index.hpp"
#include "sim/network/routing_tables.hpp"

namespace orrery {
namespace {

void sort_out(std::vector<std::int32_t>& numbers) {
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
}

using Known = std::map<std::vector<std::int32_t>, std::int32_t>;

/// Number of a set, a new one if it is new; -1 for the empty set.
std::int32_t number_of(std::vector<std::int32_t> set, Known& known,
                       std::vector<std::vector<std::int32_t>>& sets) {
  if (set.empty()) return -1;
  sort_out(set);
  const auto [place, is_new] = known.emplace(set, static_cast<std::int32_t>(sets.size()));
  if (is_new) sets.push_back(std::move(set));
  return place->second;
}

}  // namespace

GpuClasses::GpuClasses(const Topology& topology) : switch_number(topology.vertices().size(), -1) {
  for (std::size_t v = 0; v < topology.vertices().size(); ++v) {
    if (!is_network_switch(topology.vertices()[v].kind)) continue;
    switch_number[v] = static_cast<std::int32_t>(switches.size());
    switches.push_back(static_cast<VertexId>(v));
  }
  below.resize(switches.size());
  for (const VertexId v : switches) {
    std::vector<std::int32_t>& list = below[index_of(switch_number[index_of(v)])];
    for (const LinkId l : topology.links_to(v)) {
      const std::int32_t number = switch_number[index_of(topology.links()[index_of(l)].from)];
      if (number >= 0) list.push_back(number);
    }
    sort_out(list);
  }
  Known known_sources;
  Known known_targets;
  for (int gpu = 0; gpu < topology.gpu_count(); ++gpu) {
    const std::span<const VertexId> ports = topology.ports_of(topology.gpu(gpu));
    std::vector<std::int32_t> source;
    std::vector<std::int32_t> target;
    if (!ports.empty()) {
      for (const LinkId l : topology.links_from(ports.front())) {
        const std::int32_t number = switch_number[index_of(topology.links()[index_of(l)].to)];
        if (number >= 0) source.push_back(number);
      }
      for (const LinkId l : topology.links_to(ports.front())) {
        const std::int32_t number = switch_number[index_of(topology.links()[index_of(l)].from)];
        if (number >= 0) target.push_back(number);
      }
    }
    source_of.push_back(number_of(std::move(source), known_sources, sources));
    target_of.push_back(number_of(std::move(target), known_targets, targets));
  }
}

void GpuClasses::hops_to(std::int32_t destination, std::vector<std::int32_t>& hops) const {
  hops.assign(switches.size(), -1);
  std::vector<std::int32_t> frontier = targets[index_of(destination)];
  for (const std::int32_t s : frontier) hops[index_of(s)] = 0;
  for (std::size_t i = 0; i < frontier.size(); ++i) {
    const std::int32_t next = hops[index_of(frontier[i])] + 1;
    for (const std::int32_t s : below[index_of(frontier[i])]) {
      if (hops[index_of(s)] >= 0) continue;
      hops[index_of(s)] = next;
      frontier.push_back(s);
    }
  }
}

std::int32_t GpuClasses::nearest(const std::vector<std::int32_t>& switches,
                                 const std::vector<std::int32_t>& hops) {
  std::int32_t fewest = -1;
  for (const std::int32_t s : switches) {
    const std::int32_t there = hops[index_of(s)];
    if (there >= 0 && (fewest < 0 || there < fewest)) fewest = there;
  }
  return fewest;
}

}  // namespace orrery
