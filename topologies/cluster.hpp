#pragma once

#include "topologies/build_topology.hpp"
#include "topologies/cluster_spec.hpp"

namespace orrery {

/// A cluster as the closed forms see it. The graph is not part of it: build_topology(spec) makes it for those
/// who simulate.
struct Cluster {
  ClusterSpec spec;
  ClusterShape shape;
  DeviceSpec device;
};

/// Reads a cluster; problems go to the reader (whose owner calls throw_if_any), the shape is empty if there
/// are any.
Cluster cluster_from_json(const SpecReader& value);

}  // namespace orrery
