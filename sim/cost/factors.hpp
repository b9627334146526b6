#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "sim/workload/collective.hpp"
#include "sim/workload/operator.hpp"

namespace orrery {

/// What a software stack's or a site's profile may correct: each multiplies the times of one physical cause.
enum class Factor : std::uint8_t {
  products,                ///< matrix products: kernels, layouts and clocks in training against a benchmark's
  grouped_products,        ///< products over groups of rows (experts), beside `products`
  attention,               ///< fused and unfused attention
  memory,                  ///< memory-bound kernels, their passes included
  host,                    ///< launches and the framework's own time a layer and step
  tensor_communication,    ///< tensor and context collectives (of overlapped ones: what stays exposed)
  expert_communication,    ///< exchanges of tokens
  data_communication,      ///< gradient reductions and parameter gathers
  data_per_doubling,       ///< of the same, more for each doubling of the nodes of the group: jitter
  pipeline_communication,  ///< sends between stages
};
constexpr int kFactors = 10;

/// "products", ..., in the order of Factor: as profiles write them.
const std::array<std::string_view, kFactors>& factor_names();
std::optional<Factor> factor_named(std::string_view name);

/// Multipliers of times, 1 each by default. A factor multiplies the uncontended time of what it names
/// wherever models price it, before anything overlaps: hidden communication twice as slow may stay hidden.
/// The engine moves no byte faster than its links do, whatever a factor below 1 says.
struct Factors {
  std::array<double, kFactors> value;
  /// Growths like `data_per_doubling`, beside it, that end with the nodes of the runs that taught them.
  struct Growth {
    double per_doubling = 1.0;
    int most_nodes = 1;
    bool operator==(const Growth&) const = default;
  };
  std::vector<Growth> growths;

  Factors() { value.fill(1.0); }
  double operator[](Factor factor) const { return value[static_cast<size_t>(factor)]; }
  double& operator[](Factor factor) { return value[static_cast<size_t>(factor)]; }
  bool operator==(const Factors&) const = default;
  /// Products of both.
  Factors operator*(const Factors& other) const;

  /// Of a kernel's time.
  double on(const Operator& op) const;
  /// Of a collective's (or a send's) time in a group over so many nodes.
  double on(GroupKind group, int nodes) const;
};

}  // namespace orrery
