#pragma once

#include <algorithm>

#include "sim/network/group_shape.hpp"

namespace orrery::test {

/// `ranks` with per_node in a node, NVSwitches, and one NIC of this rate a rank.
inline GroupShape nvlink_group(int ranks, int per_node, double scale_up_gigabytes, double nic_gigabits,
                               bool multicast) {
  GroupShape shape;
  shape.ranks = ranks;
  shape.ranks_per_domain = std::min(ranks, per_node);
  shape.domains = (ranks + per_node - 1) / per_node;
  shape.nodes = shape.domains;
  shape.scale_up = ScaleUpKind::nvswitch;
  shape.scale_up_bandwidth = gigabytes_per_second(scale_up_gigabytes);
  shape.in_network_reduction = multicast;
  shape.nic_bandwidth = gigabits_per_second(nic_gigabits);
  shape.scale_out_per_rank = gigabits_per_second(nic_gigabits);
  return shape;
}

inline GroupShape hopper_group(int ranks, int per_node = 8) {
  return nvlink_group(ranks, per_node, 450, 400, true);
}
inline GroupShape blackwell_group(int ranks, int per_node = 8) {
  return nvlink_group(ranks, per_node, 900, 400, true);
}
inline GroupShape ampere_group(int ranks, int per_node = 8) {
  return nvlink_group(ranks, per_node, 300, 200, false);
}

}  // namespace orrery::test
