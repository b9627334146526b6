#include "topologies/cluster.hpp"

namespace orrery {

Cluster cluster_from_json(const SpecReader& value) {
  const size_t problems_before = value.problems().list().size();
  Cluster cluster;
  cluster.spec = read_cluster_spec(value);
  cluster.device = device_spec(cluster.spec);
  if (value.problems().list().size() == problems_before) cluster.shape = cluster_shape(cluster.spec);
  return cluster;
}

}  // namespace orrery
