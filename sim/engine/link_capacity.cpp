#include "sim/engine/link_capacity.hpp"

namespace orrery {
namespace {

bool is_fabric_switch(const Topology& topology, VertexId vertex) {
  return is_network_switch(topology.vertices()[static_cast<size_t>(vertex)].kind);
}

}  // namespace

bool on_fabric(const Topology& topology, LinkId link) {
  const Link& cable = topology.links()[static_cast<size_t>(link)];
  return is_fabric_switch(topology, cable.from) || is_fabric_switch(topology, cable.to);
}

BytesPerSecond payload_rate(const Topology& topology, LinkId link) {
  const BytesPerSecond bandwidth = topology.links()[static_cast<size_t>(link)].bandwidth;
  return on_fabric(topology, link) ? bandwidth * topology.payload_efficiency() : bandwidth;
}

BytesPerSecond link_capacity(const Topology& topology, LinkId link) {
  const Link& cable = topology.links()[static_cast<size_t>(link)];
  const bool sprayed = topology.routing() == Routing::adaptive && is_fabric_switch(topology, cable.from) &&
                       is_fabric_switch(topology, cable.to);
  const BytesPerSecond rate = payload_rate(topology, link);
  return sprayed ? rate * topology.spray_efficiency() : rate;
}

std::vector<double> link_capacities(const Topology& topology) {
  std::vector<double> capacities;
  capacities.reserve(topology.links().size());
  for (size_t link = 0; link < topology.links().size(); ++link) {
    capacities.push_back(link_capacity(topology, static_cast<LinkId>(link)).base());
  }
  return capacities;
}

}  // namespace orrery
