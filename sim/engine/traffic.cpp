#include "sim/engine/traffic.hpp"

#include "sim/engine/link_capacity.hpp"

namespace orrery {

FlowSpec flow_of(const Communication& communication, bool uses_links) {
  const Bytes wire = communication.storage != StorageUse::none
                         ? communication.payload
                         : wire_bytes(communication.op, communication.payload,
                                      static_cast<int>(communication.groups.front().size()));
  FlowSpec flow;
  flow.wire_bytes = wire.base();
  if (uses_links && wire.base() > 0.0 && communication.transfer.base() > 0.0) {
    flow.rate_bound = (wire / communication.transfer).base();
  }
  return flow;
}

Traffic traffic_of(const WorkloadGraph& graph, const Topology& topology) {
  Traffic traffic;
  traffic.trunks = std::make_shared<Trunks>(topology);
  FootprintBuilder builder(topology, traffic.trunks);
  traffic.capacity = link_capacities(topology);
  std::vector<bool> used(graph.communications.size(), false);
  for (const Task& task : graph.tasks) {
    if (task.kind == TaskKind::communication) {
      used[static_cast<size_t>(task.index)] = true;
    }
  }
  traffic.flows.resize(graph.communications.size());
  std::vector<FootprintBuilder::Parts> parts(graph.communications.size());
  for (size_t i = 0; i < graph.communications.size(); ++i) {
    if (used[i]) {
      parts[i] = builder.parts(graph.communications[i]);
    }
  }
  traffic.stands_for = traffic.trunks->merge_alike(traffic.capacity);
  traffic.footprints.resize(graph.communications.size());
  for (size_t i = 0; i < graph.communications.size(); ++i) {
    const Communication& communication = graph.communications[i];
    if (!used[i] || communication.groups.empty()) {
      continue;
    }
    traffic.footprints[i] = builder.put_together(parts[i]);
    parts[i] = {};
    traffic.flows[i] = flow_of(communication, !traffic.footprints[i].empty());
  }
  return traffic;
}

}  // namespace orrery
