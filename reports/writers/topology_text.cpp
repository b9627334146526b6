#include <fmt/format.h>

#include <algorithm>

#include "reports/writers/text_table.hpp"
#include "reports/writers/topology_writer.hpp"
#include "sim/base/index.hpp"
#include "sim/base/unit_text.hpp"

namespace orrery {
namespace {

constexpr size_t kFailuresShown = 5;

/// "400 Gb/s": cables are sold in bits.
std::string bit_rate(BytesPerSecond rate) {
  const double gigabits = rate.base() * 8e-9;
  return fmt::format("{} Gb/s", gigabits >= 100.0 ? fmt::format("{:.0f}", gigabits) : short_number(gigabits));
}

/// Switches of a fabric without tiers are no leaves.
bool is_flat(const TopologyAnswer& answer) {
  return answer.topology.count(VertexKind::spine) + answer.topology.count(VertexKind::core) == 0;
}

std::string kind_word(const TopologyAnswer& answer, VertexKind kind) {
  if (kind == VertexKind::nic) return "NIC";
  if (kind == VertexKind::gpu) return "GPU";
  return kind == VertexKind::leaf && is_flat(answer) ? "switch" : std::string(name_of(kind));
}

std::string plural(const TopologyAnswer& answer, const SwitchTier& tier) {
  std::string word = kind_word(answer, tier.kind);
  if (tier.switches == 1) return word;
  return word == "leaf" ? "leaves" : word + (word == "switch" ? "es" : "s");
}

std::string joined(const std::vector<std::string>& parts, std::string_view by) {
  return fmt::format("{}", fmt::join(parts, by));
}

std::string tiers_line(const TopologyAnswer& answer) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < answer.fabric.tiers.size(); ++i) {
    const SwitchTier& tier = answer.fabric.tiers[i];
    const int radix = answer.cluster.fabric.radix_of(i);
    const std::string ports = tier.least_ports == tier.most_ports
                                  ? std::to_string(tier.most_ports)
                                  : fmt::format("{} to {}", tier.least_ports, tier.most_ports);
    std::string part = fmt::format("{} {}, {}{} ports used", tier.switches, plural(answer, tier), ports,
                                   radix > 0 ? fmt::format(" of {}", radix) : "");
    if (tier.failed > 0) part += fmt::format(" ({} failed)", tier.failed);
    parts.push_back(std::move(part));
  }
  return parts.empty() ? "no switches between nodes" : joined(parts, "; ");
}

std::string cables_line(const TopologyAnswer& answer) {
  std::vector<std::string> parts;
  for (const CableCount& count : answer.fabric.cables) {
    const std::string rate = count.least_rate == count.most_rate
                                 ? bit_rate(count.most_rate)
                                 : bit_rate(count.least_rate) + " to " + bit_rate(count.most_rate);
    std::string part = fmt::format("{} {}-{} of {}", count.cables, kind_word(answer, count.below),
                                   kind_word(answer, count.above), rate);
    if (count.failed > 0) part += fmt::format(" ({} failed)", count.failed);
    parts.push_back(std::move(part));
  }
  return joined(parts, "; ");
}

std::string over(const HopCount& count) {
  switch (count.over) {
    case HopCount::Over::node:
      return "inside a node";
    case HopCount::Over::domain:
      return count.hops == 1 ? "over NVSwitch" : fmt::format("over {} NVSwitches", count.hops);
    case HopCount::Over::network:
      break;
  }
  return fmt::format("over {} switch{}", count.hops, count.hops == 1 ? "" : "es");
}

std::vector<std::string> hop_lines(const TopologyAnswer& answer) {
  std::int64_t pairs = answer.hops.unreachable;
  for (const DistanceRow& row : answer.distances) pairs += row.count.pairs;
  std::vector<std::string> lines;
  // A torus has many distances: the nearest and the farthest tell enough.
  constexpr size_t kShown = 6;
  for (size_t i = 0; i < answer.distances.size(); ++i) {
    if (answer.distances.size() > kShown && i == kShown / 2) {
      lines.push_back(fmt::format("... {} more ...", answer.distances.size() - kShown));
      i = answer.distances.size() - kShown / 2;
    }
    const DistanceRow& row = answer.distances[i];
    lines.push_back(fmt::format("{:<17} {:>7} of pairs{}", over(row.count),
                                percent(static_cast<double>(row.count.pairs) / static_cast<double>(pairs)),
                                row.has_latency ? ", first byte after " + format_quantity(row.latency) : ""));
  }
  if (answer.hops.unreachable > 0) {
    lines.push_back(
        fmt::format("{:<17} {:>7} of pairs", "no path",
                    percent(static_cast<double>(answer.hops.unreachable) / static_cast<double>(pairs))));
  }
  if (lines.empty()) lines.emplace_back("a single GPU");
  if (answer.hops.destinations_sampled < answer.hops.destinations) {
    lines.push_back(fmt::format("(sampled: {} of {} sets of destination switches stand for all)",
                                answer.hops.destinations_sampled, answer.hops.destinations));
  } else if (answer.hops.sampled) {
    lines.emplace_back("(sampled: pairs that first NICs do not join)");
  }
  return lines;
}

std::string bisection_line(const TopologyAnswer& answer) {
  if (answer.topology.gpu_count() < 2) return "a single GPU has none";
  std::string line = format_quantity(answer.bisection) + " one way";
  if (answer.full_bisection.base() > 0.0) {
    const int gpus = answer.topology.gpu_count();
    const int smaller = std::min(answer.bisection_gpus, gpus - answer.bisection_gpus);
    line += fmt::format(", {} of what the NICs{} of {} can send{}",
                        percent(answer.bisection / answer.full_bisection),
                        answer.bisection_in_domain ? " and NVLinks" : "",
                        2 * smaller == gpus ? "one half" : fmt::format("{} of the {} GPUs", smaller, gpus),
                        answer.cluster.fabric.what_if.any() ? " with nothing broken" : "");
  }
  return line;
}

std::string oversubscription_line(const TopologyAnswer& answer) {
  std::vector<std::string> parts;
  for (const SwitchTier& tier : answer.fabric.tiers) {
    if (tier.oversubscription <= 0.0) continue;
    std::string part =
        fmt::format("{} {} : 1{}", kind_word(answer, tier.kind), short_number(tier.oversubscription),
                    tier.up.base() > 0.0       ? ""
                    : tier.global.base() > 0.0 ? " (injection over global cables)"
                                               : " (to the other switches)");
    if (tier.worst_oversubscription > tier.oversubscription * 1.0005) {
      part += fmt::format(", worst {} {} : 1", tier.global.base() > 0.0 ? "group" : "switch",
                          short_number(tier.worst_oversubscription));
    }
    parts.push_back(std::move(part));
  }
  return parts.empty() ? "none: no switch leads to another"
                       : joined(parts, "; ") + " (down over up, measured)";
}

std::string paths_line(const PathDiversity& paths) {
  const std::string numbers = paths.least == paths.most
                                  ? std::to_string(paths.most)
                                  : fmt::format("{} to {}, median {}", paths.least, paths.most, paths.median);
  return numbers + " link-disjoint shortest paths between GPUs without a common first switch" +
         (paths.sampled ? fmt::format(" (of {} pairs of switches)", paths.pairs_of_switches) : "");
}

std::string failure_line(const TopologyAnswer& answer, const SingleFailure& failure) {
  const double left = answer.bisection.base() > 0.0 ? failure.bisection_left / answer.bisection : 1.0;
  // One cable of thousands still shows.
  const std::string bisection =
      left < 1.0 ? fmt::format("bisection down to {:.{}f} %", left * 100.0, left > 0.995 ? 3 : 1)
                 : std::string("bisection as before");
  const std::string worst =
      failure.tried < failure.there_are ? fmt::format(", worst of {} tried", failure.tried) : "";
  const std::string detoured =
      failure.gpus_detoured > 0 ? fmt::format(", {} on another NIC", failure.gpus_detoured) : "";
  return fmt::format("one {} of {} ({}{}): {} GPU{} cut off{}, {}", failure.component, failure.there_are,
                     failure.id, worst, failure.gpus_cut_off, failure.gpus_cut_off == 1 ? "" : "s", detoured,
                     bisection);
}

void add(std::string& text, std::string_view name, const std::vector<std::string>& lines) {
  for (size_t i = 0; i < lines.size(); ++i)
    text += fmt::format("  {:<17} {}\n", i == 0 ? name : "", lines[i]);
}

std::string title(const TopologyAnswer& answer) {
  const ClusterSpec& cluster = answer.cluster;
  const std::string gpu = cluster.node.gpu.device.name.empty() ? "" : " " + cluster.node.gpu.device.name;
  return fmt::format("{}: {} node{} of {}{} = {} GPUs, fabric {}, routing {}{}\n",
                     cluster.preset.empty() ? "cluster" : cluster.preset, cluster.nodes,
                     cluster.nodes == 1 ? "" : "s", cluster.gpus_per_node(), gpu, answer.topology.gpu_count(),
                     name_of(cluster.fabric.kind), name_of(answer.topology.routing()),
                     answer.topology.pxn() ? ", PXN" : "");
}

std::string ids_text(const Topology& topology) {
  std::string text = "switches\n";
  const auto is_switch = [&](VertexId v) { return is_network_switch(topology.vertices()[index_of(v)].kind); };
  for (size_t v = 0; v < topology.vertices().size(); ++v) {
    const auto vertex = static_cast<VertexId>(v);
    if (!is_switch(vertex)) continue;
    text += fmt::format("  {}{}\n", topology.vertices()[v].id, topology.failed(vertex) ? "  failed" : "");
  }
  text += "cables\n";
  for (size_t l = 0; l < topology.links().size(); ++l) {
    const Link& link = topology.links()[l];
    if (!is_switch(link.from) && !is_switch(link.to)) continue;
    text += fmt::format("  {} {}  {}{}\n", topology.vertices()[index_of(link.from)].id,
                        topology.vertices()[index_of(link.to)].id, bit_rate(link.bandwidth),
                        topology.usable(static_cast<LinkId>(l)) ? "" : "  failed");
    // The other direction of a duplex cable comes next.
    const bool paired = l + 1 < topology.links().size() && topology.links()[l + 1].from == link.to &&
                        topology.links()[l + 1].to == link.from;
    if (paired) ++l;
  }
  return text;
}

}  // namespace

std::string topology_text(const TopologyAnswer& answer, bool ids) {
  std::string text = title(answer);
  add(text, "tiers", {tiers_line(answer)});
  if (!answer.fabric.cables.empty()) add(text, "cables", {cables_line(answer)});
  add(text, "hops", hop_lines(answer));
  add(text, "bisection", {bisection_line(answer)});
  if (!answer.fabric.tiers.empty()) {
    add(text, "oversubscription", {oversubscription_line(answer)});
    add(text, "paths", {paths_line(answer.paths)});
  }
  std::vector<std::string> failures;
  for (const SingleFailure& failure : answer.failures) {
    if (failures.size() < kFailuresShown) failures.push_back(failure_line(answer, failure));
  }
  add(text, "what fails first", failures);
  for (const std::string& warning : answer.warnings) text += "  warning  " + warning + "\n";
  for (const std::string& assumption : answer.assumptions) text += "  assumed  " + assumption + "\n";
  if (ids) text += ids_text(answer.topology);
  return text;
}

}  // namespace orrery
