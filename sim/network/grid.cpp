#include "sim/network/grid.hpp"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "sim/network/routing_tables.hpp"

namespace orrery {
namespace {

using Pair = std::pair<std::int32_t, std::int32_t>;

/// Links that a full grid of these dimensions has, one direction; a ring of two is one cable.
std::size_t link_pairs(const std::vector<int>& dimensions, bool wraps) {
  std::size_t switches = 1;
  for (const int n : dimensions) switches *= static_cast<std::size_t>(n);
  std::size_t pairs = 0;
  for (const int n : dimensions) {
    const std::size_t lines = switches / static_cast<std::size_t>(n);
    pairs += lines * static_cast<std::size_t>(wraps && n > 2 ? n : n - 1);
  }
  return pairs;
}

/// Whether every pair of switches that share a link are neighbours in a grid of these dimensions, and none
/// are missing.
bool fits(const Grid& grid, const std::vector<Pair>& pairs) {
  if (pairs.size() != link_pairs(grid.dimensions, grid.wraps)) return false;
  return std::all_of(pairs.begin(), pairs.end(), [&](const Pair& pair) {
    const std::vector<int> a = grid.coordinates(pair.first);
    const std::vector<int> b = grid.coordinates(pair.second);
    int steps = 0;
    for (std::size_t d = 0; d < a.size(); ++d) {
      const int apart = std::abs(a[d] - b[d]);
      const int n = grid.dimensions[d];
      steps += grid.wraps ? std::min(apart, n - apart) : apart;
    }
    return steps == 1;
  });
}

/// Tries every ordered way to write `rest` as a product of at least two factors.
bool search(Grid& grid, int rest, const std::vector<Pair>& pairs) {
  if (rest == 1) {
    if (grid.dimensions.size() < 2) return false;
    for (const bool wraps : {true, false}) {
      grid.wraps = wraps;
      if (fits(grid, pairs)) return true;
    }
    return false;
  }
  for (int n = 2; n <= rest; ++n) {
    if (rest % n != 0) continue;
    grid.dimensions.push_back(n);
    if (search(grid, rest / n, pairs)) return true;
    grid.dimensions.pop_back();
  }
  return false;
}

}  // namespace

std::vector<int> Grid::coordinates(std::int32_t switch_number) const {
  std::vector<int> coordinates;
  coordinates.reserve(dimensions.size());
  for (const int n : dimensions) {
    coordinates.push_back(switch_number % n);
    switch_number /= n;
  }
  return coordinates;
}

std::size_t Grid::first_difference(std::int32_t a, std::int32_t b) const {
  std::size_t d = 0;
  for (; d < dimensions.size() && a % dimensions[d] == b % dimensions[d]; ++d) {
    a /= dimensions[d];
    b /= dimensions[d];
  }
  return d;
}

Grid find_grid(const std::vector<Vertex>& vertices, const std::vector<Link>& links) {
  std::vector<std::int32_t> number(vertices.size(), -1);
  std::int32_t switches = 0;
  VertexKind kind = VertexKind::leaf;
  for (std::size_t v = 0; v < vertices.size(); ++v) {
    if (!is_network_switch(vertices[v].kind)) continue;
    if (switches > 0 && vertices[v].kind != kind) return {};  // tiers: no grid
    kind = vertices[v].kind;
    number[v] = switches++;
  }
  std::vector<Pair> pairs;
  for (const Link& link : links) {
    const std::int32_t a = number[static_cast<std::size_t>(link.from)];
    const std::int32_t b = number[static_cast<std::size_t>(link.to)];
    if (a >= 0 && b > a) pairs.emplace_back(a, b);
  }
  // A grid of d dimensions has at most d links a switch, and d at most log2 of the switches.
  if (switches < 4 || pairs.size() > static_cast<std::size_t>(switches) * 17) return {};
  std::sort(pairs.begin(), pairs.end());
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  Grid grid;
  if (!search(grid, switches, pairs)) return {};
  return grid;
}

}  // namespace orrery
