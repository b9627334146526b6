#include "reports/writers/traffic_writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "reports/experiment/version.hpp"
#include "reports/writers/json_text.hpp"
#include "reports/writers/text_table.hpp"
#include "sim/base/unit_text.hpp"

namespace orrery {
namespace {

constexpr size_t kLinksShown = 10;

const std::string& id_of(const TrafficAnswer& answer, VertexId vertex) {
  return answer.topology.vertices()[static_cast<size_t>(vertex)].id;
}

std::string_view routing_name(Routing routing) {
  switch (routing) {
    case Routing::ecmp:
      return "ecmp";
    case Routing::adaptive:
      return "adaptive";
    case Routing::fixed:
      break;
  }
  return "static";
}

Json spread_json(const Spread& spread) {
  return {{"p5", spread.p5}, {"p50", spread.p50}, {"p95", spread.p95}};
}

std::string cluster_name(const TrafficAnswer& answer) {
  return answer.cluster.preset.empty() ? "the given cluster" : answer.cluster.preset;
}

/// Links that bind first: those longest at their capacity, then the most used, then by number.
std::vector<size_t> binding_order(const TrafficAnswer& answer) {
  const std::vector<LinkTraffic>& links = answer.times.links;
  std::vector<size_t> order(links.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (links[a].busy_s != links[b].busy_s) return links[a].busy_s > links[b].busy_s;
    return links[a].mean_use > links[b].mean_use;
  });
  return order;
}

Json link_json(const TrafficAnswer& answer, const LinkTraffic& link) {
  const Link& cable = answer.topology.links()[static_cast<size_t>(link.link)];
  return {{"from", id_of(answer, cable.from)},
          {"to", id_of(answer, cable.to)},
          {"bytes", link.bytes},
          {"mean_use", link.mean_use},
          {"busy_s", link.busy_s}};
}

}  // namespace

Json traffic_json(const TrafficAnswer& answer) {
  Json links = Json::array();
  for (const LinkTraffic& link : answer.times.links) links.push_back(link_json(answer, link));
  Json json = {{"schema", "orrery.traffic/1"},
               {"cluster", resolved_cluster_json(answer.cluster)},
               {"routing", std::string(routing_name(answer.topology.routing()))},
               {"transport",
                {{"payload_efficiency", answer.topology.payload_efficiency()},
                 {"spray_efficiency", answer.topology.spray_efficiency()},
                 {"ramp_s", answer.topology.ramp().base()}}},
               {"completion", answer.request.acknowledged ? "acknowledged" : "received"},
               {"tolerance", answer.request.tolerance},
               {"seed", answer.request.seed},
               {"flows", answer.lines.size()},
               {"mean_s", answer.mean_s},
               {"p50_s", answer.p50_s},
               {"p99_s", answer.p99_s},
               {"max_s", answer.max_s},
               {"span_s", answer.times.span_s},
               {"collisions", answer.times.collisions},
               {"completion_s", answer.times.completion_s},
               {"links", std::move(links)}};
  if (answer.mean_over_seeds) {
    json["seeds"] = {{"count", answer.request.seeds},
                     {"mean_s", spread_json(*answer.mean_over_seeds)},
                     {"max_s", spread_json(*answer.max_over_seeds)}};
  }
  json["warnings"] = answer.warnings;
  json["inputs"] = {{"cluster", answer.cluster_hash}, {"flows", answer.flows_hash}};
  json["run"] = {{"solves", answer.times.solves}, {"version", version()}};
  return json;
}

std::string traffic_text(const TrafficAnswer& answer) {
  const Topology& topology = answer.topology;
  const bool draws = topology.routing() != Routing::fixed;
  std::string text = fmt::format("{} flows on {}, {} GPUs, routing {}{}\n", answer.lines.size(),
                                 cluster_name(answer), topology.gpu_count(), routing_name(topology.routing()),
                                 draws ? fmt::format(" (seed {})", answer.request.seed) : "");
  for (const std::string& warning : answer.warnings) text += "  warning  " + warning + "\n";
  text += fmt::format("  a flow is complete when {}\n", answer.request.acknowledged
                                                            ? "its last acknowledgement is back at the sender"
                                                            : "its last byte has arrived");
  text += fmt::format("  payload {} of a cable's rate, a sprayed flow {} of that, ramp {}\n",
                      percent(topology.payload_efficiency()), percent(topology.spray_efficiency()),
                      format_quantity(topology.ramp()));
  text += answer.request.tolerance == 0.0
              ? std::string("  rates are found again at every end: exact\n")
              : fmt::format("  after an end, rates stay for up to {} of the age of the youngest flow\n",
                            percent(answer.request.tolerance));
  text += fmt::format("completion  mean {} | median {} | 99 % {} | longest {}\n",
                      format_quantity(Seconds(answer.mean_s)), format_quantity(Seconds(answer.p50_s)),
                      format_quantity(Seconds(answer.p99_s)), format_quantity(Seconds(answer.max_s)));
  if (answer.mean_over_seeds) {
    const auto line = [](const char* what, const Spread& spread) {
      return fmt::format("  {}  5 % {} | 50 % {} | 95 % {}\n", what, format_quantity(Seconds(spread.p5)),
                         format_quantity(Seconds(spread.p50)), format_quantity(Seconds(spread.p95)));
    };
    text += fmt::format("over {} seeds\n", answer.request.seeds);
    text += line("mean   ", *answer.mean_over_seeds) + line("longest", *answer.max_over_seeds);
  }
  text += fmt::format("first start to last completion {}\n", format_quantity(Seconds(answer.times.span_s)));
  text += fmt::format("collisions: {} of {} flows are slower than 0.6 of their speed alone\n",
                      answer.times.collisions, answer.lines.size());
  const std::vector<size_t> order = binding_order(answer);
  const auto full = std::count_if(answer.times.links.begin(), answer.times.links.end(),
                                  [](const LinkTraffic& link) { return link.busy_s > 0.0; });
  text += fmt::format("links: {} carry something, {} reach their capacity; those that bind longest:\n",
                      answer.times.links.size(), full);
  TextTable table({"from", "to", ">bytes", ">mean use", ">at capacity"});
  for (size_t i = 0; i < std::min(order.size(), kLinksShown); ++i) {
    const LinkTraffic& link = answer.times.links[order[i]];
    const Link& cable = topology.links()[static_cast<size_t>(link.link)];
    table.add({id_of(answer, cable.from), id_of(answer, cable.to), format_quantity(Bytes(link.bytes)),
               percent(link.mean_use), format_quantity(Seconds(link.busy_s))});
  }
  return text + table.text();
}

std::string traffic_csv(const TrafficAnswer& answer) {
  std::string text = "flow,from,to,bytes,start_s,completion_s\n";
  for (size_t i = 0; i < answer.lines.size(); ++i) {
    const TrafficFlow& flow = answer.lines[i].flow;
    text += fmt::format("{},{},{},{},{},{}\n", i, csv_field(id_of(answer, flow.from)),
                        csv_field(id_of(answer, flow.to)), flow.bytes.base(), flow.start.base(),
                        answer.times.completion_s[i]);
  }
  return text;
}

Json usage_json(const TrafficAnswer& answer) {
  Json links = Json::array();
  for (size_t i = 0; i < answer.times.links.size(); ++i) {
    const Link& cable = answer.topology.links()[static_cast<size_t>(answer.times.links[i].link)];
    links.push_back({{"from", id_of(answer, cable.from)},
                     {"to", id_of(answer, cable.to)},
                     {"use", answer.times.usage[i]}});
  }
  return {{"schema", "orrery.usage/1"},
          {"part_s", answer.times.span_s / answer.request.usage_parts},
          {"links", std::move(links)}};
}

}  // namespace orrery
