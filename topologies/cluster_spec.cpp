#include "topologies/cluster_spec.hpp"

#include <algorithm>

#include "topologies/fabric_checks.hpp"
#include "topologies/fabric_layout.hpp"

namespace orrery {
namespace {

constexpr int kMostNodes = 1'000'000;
constexpr int kMostClusterGpus = 16'000'000;

/// Sets nodes and gpus from what the cluster asks for. A given number drives out the other one of the preset.
void read_size(const SpecReader& value, const SpecReader& reader, ClusterSpec& cluster) {
  const bool preset_sized = !cluster.preset.empty();
  const bool given_nodes = value.is_object() && value.has("nodes");
  const bool given_gpus = value.is_object() && value.has("gpus");
  const bool by_gpus = given_gpus || (preset_sized && !given_nodes && reader.has("gpus"));
  const int per_node = cluster.node.gpus;
  if (!by_gpus && !reader.has("nodes")) {
    reader.refuse_message("says neither \"nodes\" nor \"gpus\"; expected one of them");
    return;
  }
  if (!by_gpus) {
    cluster.nodes = static_cast<int>(reader.at("nodes").integer(1, kMostNodes));
    cluster.gpus = cluster.nodes * per_node;
    return;
  }
  const SpecReader gpus = reader.at("gpus");
  cluster.gpus = static_cast<int>(gpus.integer(1, kMostClusterGpus));
  cluster.nodes = cluster.gpus < per_node ? 1 : cluster.gpus / per_node;
  if (cluster.gpus > per_node && cluster.gpus % per_node != 0) {
    const int below = cluster.nodes * per_node;
    gpus.refuse("whole nodes of " + std::to_string(per_node) + ": " + std::to_string(below) + " or " +
                    std::to_string(below + per_node),
                true);
    cluster.gpus = below;
  } else if (given_nodes) {
    const auto nodes = static_cast<int>(reader.at("nodes").integer(1, kMostNodes));
    if (nodes != cluster.nodes) {
      gpus.refuse(std::to_string(nodes * per_node) + ", the GPUs of " + std::to_string(nodes) + " nodes of " +
                      std::to_string(per_node) + ", or \"nodes\" left out",
                  true);
    }
  }
}

/// A preset says how every tier of the whole machine is oversubscribed; fewer nodes may have fewer tiers.
void keep_ratios_in_use(ClusterSpec& cluster) {
  std::vector<double>& ratios = cluster.fabric.oversubscription;
  if (ratios.empty() || cluster.origins.of("fabric.oversubscription") == "given") return;
  const int tiers = cluster.fabric.is_clos() ? tiers_of_tree(cluster) : 0;
  const auto in_use = static_cast<size_t>(std::max(0, tiers - 1));
  if (ratios.size() > in_use) ratios.resize(in_use);
}

}  // namespace

int ClusterSpec::nics_per_node() const {
  const int used = gpus_per_node();
  if (used == node.gpus || node.nics.count == 0) return node.nics.count;
  return nic_of_gpu(used - 1, node.gpus, node.nics.count) + std::max(1, node.nics.count / node.gpus);
}

ClusterSpec read_cluster_spec(const SpecReader& value) {
  ClusterSpec cluster;
  Provenance provenance(cluster.origins);
  const size_t problems_before = value.problems().list().size();
  const Json whole = provenance.expand(value, "topologies/presets/clusters", "", &cluster.preset);
  if (value.problems().list().size() > problems_before) return cluster;
  const SpecReader reader(whole, value.pointer(), value.problems());
  reader.only({"schema", "node", "nodes", "gpus", "fabric", "storage", "price", "power", "reliability",
               "sources", "note"});
  if (reader.has("schema")) reader.at("schema").choice({"orrery.cluster/1", "orrery.experiment/1"});
  if (reader.has("node")) {
    cluster.node = read_node(reader.at("node"), provenance, "node");
  } else {
    reader.at("node").refuse("a node preset's name or an object");
  }
  read_size(value, reader, cluster);

  const Json empty = Json::object();
  cluster.fabric =
      read_fabric(reader.has("fabric") ? reader.at("fabric")
                                       : SpecReader(empty, reader.pointer() + "/fabric", reader.problems()),
                  cluster.node, cluster.nodes, provenance, "fabric");
  if (reader.has("storage")) cluster.storage = read_storage(reader.at("storage"), provenance, "storage");
  if (reader.has("price")) cluster.price = read_price(reader.at("price"));
  if (reader.has("power")) cluster.power = read_power(reader.at("power"));
  if (reader.has("reliability")) cluster.reliability = read_reliability(reader.at("reliability"));

  if (value.problems().list().size() == problems_before) keep_ratios_in_use(cluster);
  check_fabric(cluster, reader.pointer(), value.problems());
  return cluster;
}

}  // namespace orrery
