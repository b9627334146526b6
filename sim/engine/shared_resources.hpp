#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/base/large_array.hpp"
#include "sim/engine/footprint.hpp"

namespace orrery {

/// A constraint that flows share: sum over the flows of weight x rate <= capacity. Stands for all links on
/// which the same communications run in the same proportions (the ring's other links, the other twins' NICs):
/// of those only the tightest can bind.
struct SharedResource {
  double capacity = 0.0;       ///< B/s, for flows counted with ResourceShare::weight
  double unit_capacity = 0.0;  ///< B/s, for flows counted ResourceShare::multiplicity times
  LinkId link = 0;             ///< the tightest one it stands for
};

/// One communication's part of a resource.
struct ResourceShare {
  std::int32_t resource = 0;
  std::int32_t multiplicity = 1;  ///< the weights' proportions in whole numbers, for SimGrid's route lists
  double weight = 0.0;            ///< relative to the resource's first user
};

/// The constraints of a graph's communications, few where the fabric is regular.
///
/// Multiplicities are exact where the weights of a resource's users are in proportions of whole numbers with
/// a common denominator up to 64 and none above 1,024; else they are rounded to 1/512 of the largest.
class SharedResources {
 public:
  /// @param footprints by communication, links rising (FootprintBuilder::footprint)
  /// @param capacity   by link
  SharedResources(const std::vector<std::vector<LinkLoad>>& footprints, std::span<const double> capacity);

  std::span<const SharedResource> resources() const { return resources_; }
  std::span<const ResourceShare> shares_of(std::int32_t communication) const {
    const auto index = static_cast<size_t>(communication);
    return std::span(shares_).subspan(shares_begin_[index], shares_begin_[index + 1] - shares_begin_[index]);
  }
  /// The first of them: without resources that others imply, which max-min rates need not know. Where each
  /// user of a resource is also on one of a few others, and these together carry no more than it does, it
  /// holds when they hold (the uplinks of a pod whose leaves have no more of their own); when it is full so
  /// are they.
  std::span<const ResourceShare> binding_shares_of(std::int32_t communication) const {
    return shares_of(communication).first(binding_shares_[static_cast<size_t>(communication)]);
  }

 private:
  std::vector<SharedResource> resources_;
  LargeArray<ResourceShare> shares_;  // communication by communication
  std::vector<size_t> shares_begin_;
  std::vector<std::uint32_t> binding_shares_;  // by communication: how many
};

}  // namespace orrery
