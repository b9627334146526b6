#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/memory_bound/traffic.hpp"

namespace orrery::kernels {

/// One measurement of the benchmark: an operator in traffic.hpp on a shape.
struct MemoryCase {
  const OperatorTraffic* traffic = nullptr;
  OperatorShape shape;

  double bytes() const { return operator_bytes(*traffic, shape); }
};

/// More than this is no layer's size, and less would not show the plateau.
inline constexpr double kMostBytes = 1.5 * (1 << 30);

/// Shapes of an operator's family, most telling first: the sizes of a micro-batch's activations, then larger
/// and smaller ones down to a few hundred kB, where latency and not bandwidth decides.
inline std::vector<OperatorShape> family_shapes(const OperatorTraffic& traffic) {
  const std::string_view name = traffic.name;
  if (traffic.kind == "loss") {
    return {{4096, 32000}, {2048, 128256}, {1024, 50304}, {1024, 152064}, {8192, 32000},
            {4096, 50304}, {256, 128256},  {128, 32000},  {16, 32000},    {1024, 128256}};
  }
  if (traffic.kind == "permute") {
    return {{8192, 4096, 2}, {4096, 7168, 8}, {16384, 2048, 8}, {4096, 4096, 2}, {16384, 4096, 1},
            {1024, 4096, 4}, {256, 1024, 2},  {2048, 2048, 4},  {8192, 2880, 4}};
  }
  if (traffic.kind == "optimizer") {  // tensors x parameters of each
    return {{8, 1 << 22},  {64, 1 << 19}, {1, 1 << 24}, {512, 1 << 16}, {4, 1 << 20}, {1, 1 << 20},
            {16, 1 << 14}, {2, 1 << 24},  {1, 1 << 26}, {4, 1 << 14},   {1, 1 << 27}};
  }
  if (name == "softmax") {  // queries x heads and keys
    return {{32768, 2048}, {32768, 4096}, {16384, 1024}, {65536, 2048},
            {8192, 8192},  {4096, 16384}, {1024, 1024},  {128, 1024}};
  }
  return {{8192, 4096},  {4096, 8192},  {16384, 4096}, {2048, 4096}, {65536, 4096}, {4096, 2048},
          {1024, 1024},  {8192, 5120},  {4096, 12288}, {256, 1024},  {4096, 1024},  {128, 1024},
          {2048, 16384}, {16384, 8192}, {32768, 1024}, {1024, 4096}, {512, 2048},   {8192, 16384}};
}

/// Every operator's first shape, then every operator's second, ...: a short budget still sees all of them.
/// @param names  of the operators wanted
inline std::vector<MemoryCase> memory_grid(const std::vector<std::string>& names, std::size_t most_shapes) {
  std::vector<MemoryCase> cases;
  for (std::size_t place = 0; place < most_shapes; ++place) {
    bool any = false;
    for (const OperatorTraffic& traffic : kOperatorTraffic) {
      if (std::find(names.begin(), names.end(), traffic.name) == names.end()) continue;
      const std::vector<OperatorShape> shapes = family_shapes(traffic);
      if (place >= shapes.size()) continue;
      any = true;
      const MemoryCase added{&traffic, shapes[place]};
      if (added.bytes() <= kMostBytes) cases.push_back(added);
    }
    if (!any) break;
  }
  return cases;
}

/// Small shapes for the comparison with the reference: a power of two, one that leaves threads idle, the
/// widest.
inline std::vector<OperatorShape> check_shapes(const OperatorTraffic& traffic) {
  if (traffic.kind == "loss") return {{4, 32000}, {3, 50304}, {2, 152064}};
  if (traffic.kind == "permute")
    return {{64, 1024, 1}, {100, 2560, 2}, {40, 4096, 8}, {10, 7168, 4}, {3, 16384, 2}};
  if (traffic.kind == "optimizer") return {{1, 8}, {3, 40000}, {64, 1024}};
  if (traffic.name == "softmax") return {{1024, 1024}, {100, 2560}, {64, 16384}};
  return {{64, 1024}, {128, 2560}, {64, 128}, {64, 16384}};
}

/// Names of all operators, each once, in the table's order.
inline std::vector<std::string> operator_names() {
  std::vector<std::string> names;
  for (const OperatorTraffic& traffic : kOperatorTraffic) {
    if (names.empty() || names.back() != traffic.name) names.emplace_back(traffic.name);
  }
  return names;
}

}  // namespace orrery::kernels
