#include <map>
#include <vector>

#include "reports/experiment/dotted_path.hpp"
#include "reports/experiment/version.hpp"
#include "reports/writers/json_text.hpp"
#include "reports/writers/topology_writer.hpp"
#include "sim/base/index.hpp"

namespace orrery {
namespace {

std::string_view name_of_over(HopCount::Over over) {
  if (over == HopCount::Over::node) return "node";
  return over == HopCount::Over::domain ? "nvlink_domain" : "network";
}

Json tiers_json(const FabricTiers& fabric) {
  Json tiers = Json::array();
  for (const SwitchTier& tier : fabric.tiers) {
    tiers.push_back({{"kind", name_of(tier.kind)},
                     {"switches", tier.switches},
                     {"failed", tier.failed},
                     {"least_ports", tier.least_ports},
                     {"most_ports", tier.most_ports},
                     {"down_bytes_per_s", tier.down.base()},
                     {"up_bytes_per_s", tier.up.base()},
                     {"sideways_bytes_per_s", tier.sideways.base()},
                     {"global_bytes_per_s", tier.global.base()},
                     {"oversubscription", tier.oversubscription},
                     {"worst_oversubscription", tier.worst_oversubscription}});
  }
  return tiers;
}

Json cables_json(const FabricTiers& fabric) {
  Json cables = Json::array();
  for (const CableCount& count : fabric.cables) {
    cables.push_back({{"from", name_of(count.below)},
                      {"to", name_of(count.above)},
                      {"cables", count.cables},
                      {"failed", count.failed},
                      {"least_bytes_per_s", count.least_rate.base()},
                      {"most_bytes_per_s", count.most_rate.base()}});
  }
  return cables;
}

Json distances_json(const TopologyAnswer& answer) {
  Json rows = Json::array();
  for (const DistanceRow& row : answer.distances) {
    Json line = {
        {"over", name_of_over(row.count.over)}, {"hops", row.count.hops}, {"pairs", row.count.pairs}};
    if (row.has_latency) {
      line["example"] = {row.count.from, row.count.to};
      line["latency_s"] = row.latency.base();
    }
    rows.push_back(std::move(line));
  }
  return rows;
}

Json failures_json(const TopologyAnswer& answer) {
  Json rows = Json::array();
  for (const SingleFailure& each : answer.failures) {
    rows.push_back({{"component", each.component},
                    {"id", each.id},
                    {"there_are", each.there_are},
                    {"tried", each.tried},
                    {"gpus_cut_off", each.gpus_cut_off},
                    {"gpus_detoured", each.gpus_detoured},
                    {"bisection_left_bytes_per_s", each.bisection_left.base()}});
  }
  return rows;
}

/// Switches, and cables as `failed_links` takes them.
Json ids_json(const Topology& topology) {
  Json switches = Json::array();
  for (size_t v = 0; v < topology.vertices().size(); ++v) {
    if (is_network_switch(topology.vertices()[v].kind)) switches.push_back(topology.vertices()[v].id);
  }
  Json cables = Json::array();
  // A cable is two links one after the other; what has one direction stands for itself.
  for (size_t l = 0; l < topology.links().size(); ++l) {
    const Link& link = topology.links()[l];
    const Vertex& from = topology.vertices()[index_of(link.from)];
    const Vertex& to = topology.vertices()[index_of(link.to)];
    if (!is_network_switch(from.kind) && !is_network_switch(to.kind)) continue;
    Json cable = {{"link", {from.id, to.id}},
                  {"bytes_per_s", link.bandwidth.base()},
                  {"usable", topology.usable(static_cast<LinkId>(l))}};
    cables.push_back(std::move(cable));
    const bool paired = l + 1 < topology.links().size() && topology.links()[l + 1].from == link.to &&
                        topology.links()[l + 1].to == link.from;
    if (paired) ++l;
  }
  return {{"switches", std::move(switches)}, {"cables", std::move(cables)}};
}

void flatten(const Json& json, const std::string& path, std::string& text) {
  if (json.is_structured()) {
    size_t i = 0;
    for (const auto& item : json.items()) {
      const std::string key = json.is_array() ? std::to_string(i++) : item.key();
      flatten(item.value(), dotted_path(path, key), text);
    }
    return;
  }
  text += csv_field(path) + "," + csv_field(json.is_string() ? json.get<std::string>() : json.dump()) + "\n";
}

}  // namespace

Json topology_json(const TopologyAnswer& answer, bool ids) {
  const Topology& topology = answer.topology;
  Json json = {{"schema", "orrery.topology/1"},
               {"cluster", answer.cluster.preset},
               {"fabric", name_of(answer.cluster.fabric.kind)},
               {"routing", name_of(topology.routing())},
               {"pxn", topology.pxn()},
               {"gpus", topology.gpu_count()},
               {"nodes", answer.cluster.nodes},
               {"switches", answer.switches()},
               {"links", answer.cables()},
               {"nics", topology.count(VertexKind::nic)},
               {"storage", topology.count(VertexKind::storage)},
               {"nvswitch_domains", topology.count(VertexKind::nvswitch)},
               {"diameter_hops", answer.hops.diameter},
               {"unreachable_pairs", answer.hops.unreachable},
               {"hops_sampled", answer.hops.sampled},
               {"hops_destinations", answer.hops.destinations},
               {"hops_destinations_sampled", answer.hops.destinations_sampled},
               {"bisection_bytes_per_s", answer.bisection.base()},
               {"bisection_gpus", answer.bisection_gpus},
               {"full_bisection_bytes_per_s", answer.full_bisection.base()},
               {"oversubscription", answer.fabric.oversubscription()}};
  json["paths"] = {{"min", answer.paths.least},
                   {"median", answer.paths.median},
                   {"max", answer.paths.most},
                   {"sampled", answer.paths.sampled}};
  json["definitions"] = {
      {"links",
       "cables between NICs, GPUs or storage and switches, and among switches; both directions are one"},
      {"diameter_hops",
       "most switches that a message between two GPUs passes; PCIe switches are not counted"},
      {"bisection_bytes_per_s",
       "max-flow from the first bisection_gpus GPUs to the others, one direction, line rate; neither a node "
       "nor "
       "an NVLink domain is cut where that can be"},
      {"full_bisection_bytes_per_s",
       "what the smaller part's NICs (and NVLinks that the cut runs through) send with nothing broken"},
      {"hops_sampled",
       "distances are those to hops_destinations_sampled sets of switches of hops_destinations, which stand "
       "for all"},
      {"oversubscription",
       "capacity down over capacity up of each tier, from the leaf up; in a tier without uplinks, what nodes "
       "inject over what leads to other groups (dragonfly) or to switches of the same tier"},
      {"gpus_cut_off", "GPUs that reach at most half of those that they reached before"},
      {"gpus_detoured",
       "GPUs that have lost their own NICs, or reach at most half of what they reached over these, and go "
       "over "
       "other NICs of the nodes"},
      {"paths", "link-disjoint shortest paths between the first switches of two GPUs that do not share one"}};
  json["tiers"] = tiers_json(answer.fabric);
  json["cables"] = cables_json(answer.fabric);
  json["distances"] = distances_json(answer);
  json["single_failures"] = failures_json(answer);
  json["warnings"] = answer.warnings;
  json["assumptions"] = answer.assumptions;
  if (ids) json["ids"] = ids_json(topology);
  json["resolved"] = resolved_cluster_json(answer.cluster);
  json["cluster_hash"] = answer.cluster_hash;
  json["version"] = version();
  json["run"] = {{"version", version()}, {"inputs", {{"cluster", answer.cluster_hash}}}};
  return json;
}

std::string topology_csv(const TopologyAnswer& answer) {
  Json json = topology_json(answer, false);
  for (const char* key : {"definitions", "warnings", "assumptions", "resolved"}) json.erase(key);
  std::string text = "key,value\n";
  flatten(json, "", text);
  return text;
}

}  // namespace orrery
