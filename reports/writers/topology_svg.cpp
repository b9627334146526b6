#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "reports/writers/text_table.hpp"
#include "reports/writers/topology_picture.hpp"
#include "reports/writers/topology_writer.hpp"
#include "sim/base/index.hpp"
#include "sim/base/unit_text.hpp"
#include "sim/network/grid.hpp"

namespace orrery {
namespace {

/// Told apart by people who see few colours too (Okabe and Ito 2008).
const std::vector<std::string>& palette() {
  static const std::vector<std::string> kColours = {"#0072b2", "#009e73", "#e69f00",
                                                    "#cc79a7", "#56b4e9", "#7f7f7f"};
  return kColours;
}

}  // namespace

CableStyle::CableStyle(const Topology& topology) {
  const auto kind = [&](VertexId v) { return topology.vertices()[index_of(v)].kind; };
  const bool lone_node = topology.count(VertexKind::leaf) == 0;
  for (const Link& link : topology.links()) {
    if (lone_node || is_network_switch(kind(link.from)) || is_network_switch(kind(link.to)))
      rates_.push_back(link.bandwidth);
  }
  std::sort(rates_.begin(), rates_.end(), [](BytesPerSecond a, BytesPerSecond b) { return a > b; });
  rates_.erase(std::unique(rates_.begin(), rates_.end()), rates_.end());
}

const std::string& CableStyle::colour(BytesPerSecond rate) const {
  const auto place = std::find(rates_.begin(), rates_.end(), rate);
  return palette()[std::min(static_cast<size_t>(place - rates_.begin()), palette().size() - 1)];
}

void CableStyle::draw(SvgCanvas& canvas, double x1, double y1, double x2, double y2,
                      const DrawnCables& cables) const {
  if (cables.working > 0) {
    const double width = std::min(0.8 + 0.5 * std::log2(static_cast<double>(cables.working)), 5.0);
    canvas.line(x1, y1, x2, y2, {colour(cables.rate), width, false});
  }
  if (cables.failed > 0) {
    const double beside = cables.working > 0 ? 4.0 : 0.0;
    canvas.line(x1 + beside, y1, x2 + beside, y2, {kFailedColour, 1.6, true});
  }
}

double CableStyle::legend(SvgCanvas& canvas, double x, double y) const {
  for (size_t i = 0; i < std::min(rates_.size(), palette().size()); ++i) {
    const bool rest = i + 1 == palette().size() && rates_.size() > palette().size();
    canvas.line(x, y, x + 34.0, y, {palette()[i], 2.5, false});
    canvas.text(x + 42.0, y + 4.0, "start", 12, format_quantity(rates_[i]) + (rest ? " and less" : ""));
    x += 150.0;
  }
  canvas.text(x, y + 4.0, "start", 12, "a cable, one way; wider lines are several", "#5b6770");
  return 20.0;
}

std::map<std::pair<int, int>, DrawnCables> cables_between(const Topology& topology,
                                                          const std::vector<int>& drawn) {
  std::map<std::pair<int, int>, DrawnCables> cables;
  for (size_t l = 0; l < topology.links().size(); ++l) {
    const Link& link = topology.links()[l];
    const int a = drawn[index_of(link.from)];
    const int b = drawn[index_of(link.to)];
    if (a < 0 || b < 0 || a == b) continue;
    DrawnCables& between = cables[std::minmax(a, b)];
    const bool works = topology.usable(static_cast<LinkId>(l));
    if (works && (between.working == 0 || link.bandwidth > between.rate)) between.rate = link.bandwidth;
    ++(works ? between.working : between.failed);
    // The reverse direction of a cable comes next; a link without one counts as a cable too.
    const bool paired = l + 1 < topology.links().size() && topology.links()[l + 1].from == link.to &&
                        topology.links()[l + 1].to == link.from;
    if (paired) ++l;
  }
  return cables;
}

std::string topology_svg(const TopologyAnswer& answer) {
  const Topology& topology = answer.topology;
  const CableStyle style(topology);
  SvgCanvas canvas;
  const std::vector<Vertex> vertices(topology.vertices().begin(), topology.vertices().end());
  const std::vector<Link> links(topology.links().begin(), topology.links().end());
  const Grid grid = find_grid(vertices, links);
  const std::string title = fmt::format("{}: {} node{}, {} GPUs, {}",
                                        answer.cluster.preset.empty() ? "cluster" : answer.cluster.preset,
                                        answer.cluster.nodes, answer.cluster.nodes == 1 ? "" : "s",
                                        topology.gpu_count(), name_of(answer.cluster.fabric.kind));
  canvas.text(24, 34, "start", 20, title);
  std::string facts = fmt::format("{} switches, {} cables", answer.switches(), answer.cables());
  if (answer.full_bisection.base() > 0.0) {
    facts += fmt::format(", bisection {} ({} of full)", format_quantity(answer.bisection),
                         percent(answer.bisection / answer.full_bisection));
  }
  facts += fmt::format(", at most {} switch{} between two GPUs", answer.hops.diameter,
                       answer.hops.diameter == 1 ? "" : "es");
  canvas.text(24, 56, "start", 13, facts, "#5b6770");

  constexpr double kTop = 84.0;
  std::pair<double, double> size;
  if (!grid.empty()) {
    size = draw_lattice(answer, grid.dimensions, style, canvas, kTop);
  } else if (answer.cluster.fabric.is_dragonfly() && topology.count(VertexKind::leaf) > 1) {
    size = draw_groups(answer, style, canvas, kTop);
  } else {
    size = draw_tiers(answer, style, canvas, kTop);
  }
  const double bottom = kTop + size.second + 24.0;
  const double height = bottom + style.legend(canvas, 24.0, bottom) + 12.0;
  return canvas.document(std::max(size.first, 1000.0), height, title);
}

}  // namespace orrery
