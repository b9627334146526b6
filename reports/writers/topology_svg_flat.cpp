#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "reports/writers/topology_picture.hpp"
#include "sim/base/index.hpp"

namespace orrery {
namespace {

using Point = std::pair<double, double>;

Point on_circle(Point centre, double radius, size_t place, size_t places) {
  const double angle = 2.0 * std::numbers::pi * static_cast<double>(place) / static_cast<double>(places) -
                       std::numbers::pi / 2;
  return {centre.first + radius * std::cos(angle), centre.second + radius * std::sin(angle)};
}

std::vector<VertexId> switches_of(const Topology& topology) {
  std::vector<VertexId> switches;
  for (size_t v = 0; v < topology.vertices().size(); ++v) {
    if (is_network_switch(topology.vertices()[v].kind)) switches.push_back(static_cast<VertexId>(v));
  }
  return switches;
}

/// Failed switches and cables that a drawing leaves out, by name; empty if there are none.
std::string failures_left_out(const Topology& topology, const std::vector<int>& drawn) {
  std::vector<std::string> names;
  for (size_t v = 0; v < drawn.size(); ++v) {
    if (drawn[v] < 0 && topology.failed(static_cast<VertexId>(v))) names.push_back(topology.vertices()[v].id);
  }
  if (names.empty()) return "";
  constexpr size_t kShown = 4;
  const size_t more = names.size() > kShown ? names.size() - kShown : 0;
  names.resize(std::min(names.size(), kShown));
  return fmt::format("failed, not in the picture: {}{}", fmt::join(names, ", "),
                     more > 0 ? fmt::format(" and {} more", more) : "");
}

/// A corner of a lattice, the third dimension drawn backwards; further ones are counted in words alone.
class Lattice {
 public:
  Lattice(const TopologyAnswer& answer, const std::vector<int>& dimensions)
      : topology_(answer.topology),
        answer_(answer),
        dimensions_(dimensions),
        switches_(switches_of(topology_)) {
    constexpr std::array<int, 3> kMost = {8, 6, 4};
    for (size_t d = 0; d < dimensions_.size(); ++d)
      shown_.push_back(d < 3 ? std::min(dimensions_[d], kMost[d]) : 1);
  }

  std::pair<double, double> draw(const CableStyle& style, SvgCanvas& canvas, double top) {
    std::vector<int> drawn(topology_.vertices().size(), -1);
    std::vector<Point> centres;
    for (size_t s = 0; s < switches_.size(); ++s) {
      const std::vector<int> place = coordinates(static_cast<int>(s));
      bool inside = true;
      for (size_t d = 0; d < place.size(); ++d) inside = inside && place[d] < shown_[d];
      if (!inside) continue;
      drawn[index_of(switches_[s])] = static_cast<int>(centres.size());
      centres.push_back(centre(place, top));
    }
    draw_wraps(canvas, top);
    std::map<std::pair<int, int>, DrawnCables> cables = cables_between(topology_, drawn);
    for (const auto& [ends, between] : cables) {
      const Point& a = centres[index_of(ends.first)];
      const Point& b = centres[index_of(ends.second)];
      // Rings that close inside the drawing would run through the routers between; their stubs stand for
      // them.
      const bool closes = std::hypot(a.first - b.first, a.second - b.second) > 1.6 * kStep;
      if (closes && between.failed == 0) continue;
      style.draw(canvas, a.first, a.second, b.first, b.second, between);
    }
    for (const VertexId v : switches_) {
      const int item = drawn[index_of(v)];
      if (item < 0) continue;
      const Point& at = centres[index_of(item)];
      const bool failed = topology_.failed(v);
      canvas.circle(at.first, at.second, 13.0, failed ? "#fdeaea" : "#eef2f5",
                    failed ? SvgStroke{kFailedColour, 1.6, true} : SvgStroke{});
      const std::string id = topology_.vertices()[index_of(v)].id;
      const size_t digits = id.find_first_of("0123456789");
      const std::string number = digits == std::string::npos ? id : id.substr(digits, id.find('/') - digits);
      canvas.text(at.first, at.second + 3.5, "middle", 9, number);
    }
    const double height = 60.0 + kStep * (shown_[1] - 1) + depth() * kBack.second * kStep;
    caption(canvas, top + height + 14.0, drawn);
    return {kLeft + kStep * shown_[0] + depth() * kBack.first * kStep + 100.0, height + 60.0};
  }

 private:
  static constexpr double kStep = 84.0;
  /// A step along the third dimension: so far to the right and up that no router hides another.
  static constexpr Point kBack = {0.36, 0.22};
  static constexpr double kLeft = 80.0;

  double depth() const { return dimensions_.size() > 2 ? static_cast<double>(shown_[2] - 1) : 0.0; }

  std::vector<int> coordinates(int number) const {
    std::vector<int> place;
    for (const int n : dimensions_) {
      place.push_back(number % n);
      number /= n;
    }
    return place;
  }

  Point centre(const std::vector<int>& place, double top) const {
    const double z = place.size() > 2 ? place[2] : 0.0;
    return {kLeft + kStep * place[0] + z * kBack.first * kStep,
            top + 30.0 + depth() * kBack.second * kStep + kStep * place[1] - z * kBack.second * kStep};
  }

  /// Stubs where a ring leaves the drawing.
  void draw_wraps(SvgCanvas& canvas, double top) const {
    const SvgStroke stub{"#9aa5ad", 1.2, false};
    std::vector<int> place(dimensions_.size(), 0);
    const int planes = dimensions_.size() > 2 ? shown_[2] : 1;
    for (int z = 0; z < planes; ++z) {
      if (place.size() > 2) place[2] = z;
      for (int y = 0; y < shown_[1]; ++y) {
        for (const int x : {0, shown_[0] - 1}) {
          if (dimensions_[0] <= 2 || (x > 0 && shown_[0] == 1)) continue;
          place[0] = x;
          place[1] = y;
          const Point at = centre(place, top);
          const double out = x == 0 ? -26.0 : 26.0;
          canvas.line(at.first, at.second, at.first + out, at.second, stub);
        }
      }
      for (int x = 0; x < shown_[0]; ++x) {
        for (const int y : {0, shown_[1] - 1}) {
          if (dimensions_[1] <= 2) continue;
          place[0] = x;
          place[1] = y;
          const Point at = centre(place, top);
          canvas.line(at.first, at.second, at.first, at.second + (y == 0 ? -26.0 : 26.0), stub);
        }
      }
    }
  }

  void caption(SvgCanvas& canvas, double y, const std::vector<int>& drawn) const {
    const bool whole = std::equal(dimensions_.begin(), dimensions_.end(), shown_.begin());
    canvas.text(24, y, "start", 13,
                fmt::format("{} of routers, GPUs at each: {}; stubs are the way round a ring{}",
                            fmt::join(dimensions_, " x "),
                            topology_.gpu_count() / static_cast<int>(std::max<size_t>(1, switches_.size())),
                            whole ? "" : fmt::format("; a corner of {} is drawn", fmt::join(shown_, " x "))));
    canvas.text(24, y + 18, "start", 12, failures_left_out(topology_, drawn), kFailedColour);
  }

  const Topology& topology_;
  const TopologyAnswer& answer_;
  std::vector<int> dimensions_, shown_;
  std::vector<VertexId> switches_;
};

/// Groups of a dragonfly in a ring, the first one in detail beside it.
class Groups {
 public:
  explicit Groups(const TopologyAnswer& answer) : topology_(answer.topology) {
    for (const VertexId v : switches_of(topology_)) {
      const std::string& id = topology_.vertices()[index_of(v)].id;
      const std::string name = id.substr(0, id.rfind('/'));
      if (groups_.empty() || groups_.back().name != name) groups_.push_back({name, {}});
      groups_.back().switches.push_back(v);
    }
  }

  std::pair<double, double> draw(const CableStyle& style, SvgCanvas& canvas, double top) const {
    const double y = draw_detail(style, canvas, top);
    return {1180.0, std::max(y, draw_ring(style, canvas, top)) - top};
  }

 private:
  struct Group {
    std::string name;
    std::vector<VertexId> switches;
  };
  static constexpr size_t kMostGroups = 24;
  static constexpr size_t kMostSwitches = 32;

  double draw_ring(const CableStyle& style, SvgCanvas& canvas, double top) const {
    const size_t shown = std::min(groups_.size(), kMostGroups);
    const Point middle = {840.0, top + 290.0};
    std::vector<int> drawn(topology_.vertices().size(), -1);
    for (size_t g = 0; g < shown; ++g) {
      for (const VertexId v : groups_[g].switches) drawn[index_of(v)] = static_cast<int>(g);
    }
    for (const auto& [ends, cables] : cables_between(topology_, drawn)) {
      const Point a = on_circle(middle, 240.0, index_of(ends.first), shown);
      const Point b = on_circle(middle, 240.0, index_of(ends.second), shown);
      style.draw(canvas, a.first, a.second, b.first, b.second, cables);
    }
    for (size_t g = 0; g < shown; ++g) {
      const Point at = on_circle(middle, 240.0, g, shown);
      const auto is_failed = [&](VertexId v) { return topology_.failed(v); };
      const auto failed = std::count_if(groups_[g].switches.begin(), groups_[g].switches.end(), is_failed);
      canvas.circle(at.first, at.second, 24.0, failed > 0 ? "#fdeaea" : "#eef2f5",
                    failed > 0 ? SvgStroke{kFailedColour, 1.6, true} : SvgStroke{});
      const std::string& name = groups_[g].name;
      canvas.text(at.first, at.second + 1.0, "middle", name.size() > 8 ? 7.5 : 9.0, name);
      canvas.text(
          at.first, at.second + 12.0, "middle", 8,
          failed > 0 ? fmt::format("{} failed", failed) : fmt::format("{} sw.", groups_[g].switches.size()),
          "#5b6770");
    }
    canvas.text(middle.first, top + 578.0, "middle", 13,
                fmt::format("{} groups{}", groups_.size(),
                            groups_.size() > shown ? fmt::format(", {} drawn", shown) : ""));
    return top + 590.0;
  }

  double draw_detail(const CableStyle& style, SvgCanvas& canvas, double top) const {
    const Group& group = groups_.front();
    const size_t shown = std::min(group.switches.size(), kMostSwitches);
    const Point middle = {270.0, top + 290.0};
    std::vector<int> drawn(topology_.vertices().size(), -1);
    for (size_t s = 0; s < shown; ++s) drawn[index_of(group.switches[s])] = static_cast<int>(s);
    for (const auto& [ends, cables] : cables_between(topology_, drawn)) {
      const Point a = on_circle(middle, 200.0, index_of(ends.first), shown);
      const Point b = on_circle(middle, 200.0, index_of(ends.second), shown);
      style.draw(canvas, a.first, a.second, b.first, b.second, cables);
    }
    int hosts = 0;
    int global = 0;
    for (const VertexId v : group.switches) {
      for (const LinkId l : topology_.links_from(v)) {
        const VertexId to = topology_.links()[index_of(l)].to;
        if (!is_network_switch(topology_.vertices()[index_of(to)].kind)) ++hosts;
        const bool inside =
            std::find(group.switches.begin(), group.switches.end(), to) != group.switches.end();
        if (is_network_switch(topology_.vertices()[index_of(to)].kind) && !inside) ++global;
      }
    }
    for (size_t s = 0; s < shown; ++s) {
      const Point at = on_circle(middle, 200.0, s, shown);
      const std::string& id = topology_.vertices()[index_of(group.switches[s])].id;
      const bool failed = topology_.failed(group.switches[s]);
      canvas.circle(at.first, at.second, 17.0, failed ? "#fdeaea" : "#eef2f5",
                    failed ? SvgStroke{kFailedColour, 1.6, true} : SvgStroke{});
      canvas.text(at.first, at.second + 3.0, "middle", 7.5, id.substr(id.rfind('/') + 1));
    }
    canvas.text(
        middle.first, top + 578.0, "middle", 13,
        fmt::format("{}: {} switches{}, {} cables to NICs, {} to other groups", group.name,
                    group.switches.size(),
                    group.switches.size() > shown ? fmt::format(" ({} drawn)", shown) : "", hosts, global));
    return top + 590.0;
  }

  const Topology& topology_;
  std::vector<Group> groups_;
};

}  // namespace

std::pair<double, double> draw_lattice(const TopologyAnswer& answer, const std::vector<int>& dimensions,
                                       const CableStyle& style, SvgCanvas& canvas, double top) {
  return Lattice(answer, dimensions).draw(style, canvas, top);
}

std::pair<double, double> draw_groups(const TopologyAnswer& answer, const CableStyle& style,
                                      SvgCanvas& canvas, double top) {
  return Groups(answer).draw(style, canvas, top);
}

}  // namespace orrery
