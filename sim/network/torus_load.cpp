#include "sim/network/torus_load.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdlib>

namespace orrery {
namespace {

class TorusLoads {
 public:
  TorusLoads(const std::vector<int>& sizes, int nodes)
      : sizes_(sizes), loads_(2 * sizes.size() * static_cast<std::size_t>(nodes), 0.0) {}

  void add(int from, int to, bool lowest_first) {
    std::vector<std::size_t> order(sizes_.size());
    for (std::size_t d = 0; d < order.size(); ++d) order[d] = d;
    if (lowest_first) return walk(from, to, order, true, 1.0);
    walk(from, to, order, false, 0.5);
    std::reverse(order.begin(), order.end());
    walk(from, to, order, false, 0.5);
  }
  double most() const { return *std::max_element(loads_.begin(), loads_.end()); }

 private:
  void walk(int at, int to, const std::vector<std::size_t>& order, bool one_way, double weight) {
    for (const std::size_t dimension : order) {
      int stride = 1;
      for (std::size_t d = 0; d < dimension; ++d) stride *= sizes_[d];
      const int size = sizes_[dimension];
      const int place = at / stride % size;
      const int ahead = (to / stride % size - place + size) % size;
      if (ahead == 0) continue;
      const int first = at - place * stride;  // of the ring
      const bool tie = size > 2 && 2 * ahead == size && !one_way;
      const double part = tie ? weight / 2 : weight;
      const auto load = [&](int place_of_router, bool forwards) -> double& {
        const int router = first + place_of_router * stride;
        return loads_[2 * (static_cast<std::size_t>(router) * sizes_.size() + dimension) +
                      (forwards ? 0 : 1)];
      };
      if (tie || 2 * ahead <= size) {
        for (int i = 0; i < ahead; ++i) load((place + i) % size, true) += part;
      }
      if (tie || 2 * ahead > size) {
        for (int i = 0; i < size - ahead; ++i) load((place - i + size) % size, false) += part;
      }
      at = first + (place + ahead) % size * stride;
    }
  }

  const std::vector<int>& sizes_;
  std::vector<double> loads_;  // by router, dimension and direction of the cables that leave it
};

/// The constant distance between neighbours of an open ring, either way around, zero if there is none.
int stride_of(std::span<const int> nodes) {
  const int stride = nodes.size() > 1 ? nodes[1] - nodes[0] : 0;
  for (std::size_t i = 2; i < nodes.size(); ++i) {
    if (nodes[i] - nodes[i - 1] != stride) return 0;
  }
  return std::abs(stride);
}

}  // namespace

std::vector<int> sibling_shifts(std::span<const int> nodes, int all, int siblings) {
  const int stride = stride_of(nodes);
  if (stride == 0) return {};
  // Ranks count in mixed radix: siblings begin at the nodes of one stride, and strides at multiples of it.
  const int apart = siblings > 0 ? siblings : stride;
  const auto [first, last] = std::minmax(nodes.front(), nodes.back());
  const int base = first / apart * apart;
  if (last - first + base + apart > all) return {};
  std::vector<int> shifts;
  shifts.reserve(static_cast<std::size_t>(apart));
  for (int sibling = 0; sibling < apart; ++sibling) shifts.push_back(base + sibling - first);
  return shifts;
}

double fullest_cable(const std::vector<int>& sizes, std::span<const int> nodes, bool lowest_first,
                     int siblings) {
  int all = 1;
  for (const int size : sizes) all *= size;
  TorusLoads loads(sizes, all);
  std::vector<int> shifts = sibling_shifts(nodes, all, siblings);
  if (shifts.empty()) shifts = {0};
  for (const int shift : shifts) {
    for (std::size_t i = 0; i < nodes.size(); ++i)
      loads.add(nodes[i] + shift, nodes[(i + 1) % nodes.size()] + shift, lowest_first);
  }
  return loads.most();
}

}  // namespace orrery
