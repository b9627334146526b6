#pragma once

#include <vector>

#include "sim/network/topology.hpp"

namespace orrery {

/// Whether a link is a cable of the fabric: one end is a switch of it. The others are inside a node.
bool on_fabric(const Topology& topology, LinkId link);

/// What a cable carries of payload at its line rate: its bandwidth, on cables of the fabric times the payload
/// efficiency.
BytesPerSecond payload_rate(const Topology& topology, LinkId link);

/// What all flows together get of a link: its payload rate, between switches under adaptive routing times the
/// spray efficiency, because packets that are sprayed over many cables do not fill each at all times. From a
/// NIC to its switch there is one way. Every engine shares this capacity.
BytesPerSecond link_capacity(const Topology& topology, LinkId link);
/// By link, B/s.
std::vector<double> link_capacities(const Topology& topology);

}  // namespace orrery
