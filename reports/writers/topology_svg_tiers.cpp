#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "reports/writers/topology_picture.hpp"
#include "sim/base/index.hpp"

namespace orrery {
namespace {

constexpr size_t kMostInRow = 20;
constexpr size_t kMostNodes = 10;
constexpr double kWidth = 1280.0;
constexpr double kLeft = 150.0;  // beside the captions
constexpr double kRowHeight = 150.0;

std::string part_name(VertexKind kind, bool several) {
  switch (kind) {
    case VertexKind::gpu:
      return several ? "GPUs" : "GPU";
    case VertexKind::nic:
      return several ? "NICs" : "NIC";
    case VertexKind::nvswitch:
      return several ? "NVSwitches" : "NVSwitch";
    case VertexKind::pcie_switch:
      return several ? "PCIe switches" : "PCIe switch";
    case VertexKind::leaf:
      return several ? "leaves" : "leaf";
    default:
      return std::string(name_of(kind)) + (several ? "s" : "");
  }
}

/// Something drawn in a row: a switch, or a node with all that is in it.
struct Item {
  std::string name, below;
  size_t number = 0;  ///< among those that could be drawn
  bool failed = false;
};

struct Row {
  std::string caption, second;
  std::vector<Item> items;
  size_t there_are = 0;
};

class Tiers {
 public:
  explicit Tiers(const TopologyAnswer& answer)
      : topology_(answer.topology), answer_(answer), drawn_(topology_.vertices().size(), -1) {}

  std::pair<double, double> draw(const CableStyle& style, SvgCanvas& canvas, double top) {
    if (topology_.count(VertexKind::leaf) + topology_.count(VertexKind::spine) > 0) {
      add_nodes();
      add_storage();
      for (const VertexKind kind : {VertexKind::leaf, VertexKind::spine, VertexKind::core})
        add_switches(kind);
    } else {
      for (const VertexKind kind :
           {VertexKind::nic, VertexKind::pcie_switch, VertexKind::gpu, VertexKind::nvswitch}) {
        add_part(kind);
      }
    }
    std::reverse(rows_.begin(), rows_.end());
    place(top);
    for (const auto& [ends, cables] : cables_between(topology_, drawn_)) {
      const auto& [ax, ay] = centres_[index_of(ends.first)];
      const auto& [bx, by] = centres_[index_of(ends.second)];
      const double half = ay == by ? 0.0 : kBoxHeight / 2;
      const double down = ay < by ? half : -half;
      style.draw(canvas, ax, ay + down, bx, by - down, cables);
    }
    draw_rows(canvas, top);
    return {kWidth, kRowHeight * static_cast<double>(rows_.size()) - 60.0};
  }

 private:
  static constexpr double kBoxHeight = 40.0;

  int new_item(Row& row, Item item) {
    row.items.push_back(std::move(item));
    return items_++;
  }

  /// Nodes: the first few, the last few and those with something failed.
  void add_nodes() {
    const int nodes = answer_.cluster.nodes;
    std::set<int> shown;
    for (int node = 0; node < nodes; ++node) {
      const int first = static_cast<int>(kMostNodes) - static_cast<int>(kMostNodes) / 3;
      if (nodes <= static_cast<int>(kMostNodes) || node < first ||
          node >= nodes - static_cast<int>(kMostNodes) / 3)
        shown.insert(node);
    }
    for (size_t l = 0; l < topology_.links().size() && shown.size() < kMostNodes + 3; ++l) {
      if (topology_.usable(static_cast<LinkId>(l))) continue;
      const int node = topology_.vertices()[index_of(topology_.links()[l].from)].node;
      if (node >= 0) shown.insert(node);
    }
    Row row;
    row.there_are = static_cast<size_t>(nodes);
    const int nics = answer_.cluster.nics_per_node();
    row.caption = fmt::format("{} node{}", nodes, nodes == 1 ? "" : "s");
    row.second = fmt::format("{} GPUs, {} NICs each", answer_.cluster.gpus_per_node(), nics);
    const int domain = answer_.cluster.fabric.domain_nodes;
    std::map<int, int> item_of;
    for (const int node : shown) {
      Item item{fmt::format("node{}", node), fmt::format("{} GPUs", answer_.cluster.gpus_per_node()),
                static_cast<size_t>(node), false};
      if (domain > 1) item.below = fmt::format("domain {}", node / domain);
      item_of[node] = new_item(row, std::move(item));
    }
    for (size_t v = 0; v < drawn_.size(); ++v) {
      const Vertex& vertex = topology_.vertices()[v];
      const auto item = item_of.find(vertex.node);
      if (item != item_of.end() && !is_network_switch(vertex.kind)) drawn_[v] = item->second;
    }
    rows_.push_back(std::move(row));
  }

  /// Shared storage stands beside the nodes: what hangs together without the switches is one system.
  void add_storage() {
    constexpr int kMostStorage = 3;
    int drawn = 0;
    for (size_t v = 0; v < drawn_.size() && drawn < kMostStorage; ++v) {
      const Vertex& vertex = topology_.vertices()[v];
      if (vertex.kind != VertexKind::storage || vertex.node >= 0 || drawn_[v] >= 0) continue;
      const int item = new_item(rows_.front(), {vertex.id, "storage", rows_.front().there_are++, false});
      std::vector<VertexId> system = {static_cast<VertexId>(v)};
      for (size_t i = 0; i < system.size(); ++i) {
        drawn_[index_of(system[i])] = item;
        for (const LinkId l : topology_.links_from(system[i])) {
          const VertexId to = topology_.links()[index_of(l)].to;
          const Vertex& beside = topology_.vertices()[index_of(to)];
          if (drawn_[index_of(to)] < 0 && beside.node < 0 && !is_network_switch(beside.kind))
            system.push_back(to);
        }
      }
      ++drawn;
    }
  }

  /// Switches of a tier: those that what is drawn below is cabled to, the first of each, then the second of
  /// each, and so on; and those that have failed.
  void add_switches(VertexKind kind) {
    std::vector<VertexId> all;
    std::vector<size_t> number(drawn_.size(), 0);
    for (size_t v = 0; v < drawn_.size(); ++v) {
      if (topology_.vertices()[v].kind != kind) continue;
      number[v] = all.size();
      all.push_back(static_cast<VertexId>(v));
    }
    if (all.empty()) return;
    std::set<VertexId> shown;
    if (all.size() <= kMostInRow) {
      shown.insert(all.begin(), all.end());
    } else {
      for (const VertexId v : all) {
        if (topology_.failed(v) && shown.size() < kMostInRow / 4) shown.insert(v);
      }
      add_neighbours(kind, shown);
      for (size_t i = 0; i < all.size() && shown.size() < kMostInRow; ++i) shown.insert(all[i]);
    }
    Row row;
    row.there_are = all.size();
    const auto tier = std::find_if(answer_.fabric.tiers.begin(), answer_.fabric.tiers.end(),
                                   [kind](const SwitchTier& each) { return each.kind == kind; });
    row.caption = fmt::format("{} {}", all.size(), part_name(kind, all.size() != 1));
    row.second = fmt::format("{} ports used each", tier->most_ports);
    for (const VertexId v : shown) {
      const std::string& id = topology_.vertices()[index_of(v)].id;
      drawn_[index_of(v)] = new_item(row, {id, "", number[index_of(v)], topology_.failed(v)});
    }
    rows_.push_back(std::move(row));
  }

  void add_neighbours(VertexKind kind, std::set<VertexId>& shown) const {
    // Of each drawn thing, what of this kind it is cabled to, in order.
    std::map<int, std::vector<VertexId>> beside;
    for (const Link& link : topology_.links()) {
      const int from = drawn_[index_of(link.from)];
      if (from < 0 || topology_.vertices()[index_of(link.to)].kind != kind) continue;
      std::vector<VertexId>& list = beside[from];
      if (std::find(list.begin(), list.end(), link.to) == list.end()) list.push_back(link.to);
    }
    bool more = true;
    for (size_t round = 0; more && shown.size() < kMostInRow; ++round) {
      more = false;
      for (const auto& [item, list] : beside) {
        if (round >= list.size() || shown.size() >= kMostInRow) continue;
        shown.insert(list[round]);
        more = true;
      }
    }
  }

  /// Of a cluster without switches between nodes: what is inside its first node.
  void add_part(VertexKind kind) {
    Row row;
    for (size_t v = 0; v < drawn_.size(); ++v) {
      const Vertex& vertex = topology_.vertices()[v];
      if (vertex.kind != kind || vertex.node > 0) continue;
      ++row.there_are;
      if (row.items.size() >= kMostInRow) continue;
      const std::string name = vertex.id.substr(vertex.id.find('/') + 1);
      drawn_[v] = new_item(row, {name, "", row.there_are - 1, topology_.failed(static_cast<VertexId>(v))});
    }
    if (row.items.empty()) return;
    row.caption = fmt::format("{} {}", row.there_are, part_name(kind, row.there_are != 1));
    rows_.push_back(std::move(row));
  }

  /// Slots of a row: an item each, and one for what is left out between two.
  static size_t slots(const Row& row) {
    size_t count = 0;
    size_t next = 0;
    for (const Item& item : row.items) {
      count += item.number > next ? 2 : 1;
      next = item.number + 1;
    }
    return count + (row.there_are > next ? 1 : 0);
  }

  void place(double top) {
    // Item numbers run from the last row up; each row knows its first.
    centres_.resize(static_cast<size_t>(items_));
    gaps_.resize(rows_.size());
    size_t first = static_cast<size_t>(items_);
    for (size_t r = 0; r < rows_.size(); ++r) {
      const Row& row = rows_[r];
      first -= row.items.size();
      const double slot = (kWidth - kLeft - 20.0) / static_cast<double>(slots(row));
      const double y = top + kRowHeight * static_cast<double>(r) + kBoxHeight / 2;
      double x = kLeft + slot / 2;
      size_t next = 0;
      for (size_t i = 0; i < row.items.size(); ++i) {
        if (row.items[i].number > next) {
          gaps_[r].emplace_back(x, row.items[i].number - next);
          x += slot;
        }
        centres_[first + i] = {x, y};
        x += slot;
        next = row.items[i].number + 1;
      }
      if (row.there_are > next) gaps_[r].emplace_back(x, row.there_are - next);
    }
  }

  void draw_rows(SvgCanvas& canvas, double top) const {
    size_t first = static_cast<size_t>(items_);
    for (size_t r = 0; r < rows_.size(); ++r) {
      const Row& row = rows_[r];
      first -= row.items.size();
      const double y = top + kRowHeight * static_cast<double>(r);
      const double slot = (kWidth - kLeft - 20.0) / static_cast<double>(slots(row));
      const double width = std::clamp(slot - 6.0, 20.0, 96.0);
      canvas.text(16, y + 17, "start", 14, row.caption);
      canvas.text(16, y + 34, "start", 10.5, row.second, "#5b6770");
      for (const auto& [x, left_out] : gaps_[r]) {
        canvas.text(x, y + 17, "middle", 13, "...", "#5b6770");
        const std::string number = std::to_string(left_out);
        canvas.text(x, y + 32, "middle", 10, slot < 56.0 ? "+" + number : number + " more", "#5b6770");
      }
      for (size_t i = 0; i < row.items.size(); ++i) {
        const Item& item = row.items[i];
        const double x = centres_[first + i].first;
        const SvgStroke outline = item.failed ? SvgStroke{kFailedColour, 1.6, true} : SvgStroke{};
        canvas.box(x - width / 2, y, width, kBoxHeight, item.failed ? "#fdeaea" : "#eef2f5", outline);
        // A digit is about 0.58 of the size wide.
        const double size = std::clamp(width / (0.58 * static_cast<double>(item.name.size())), 6.0, 12.0);
        canvas.text(x, y + (item.below.empty() ? 24 : 17), "middle", size, item.name);
        if (!item.below.empty()) canvas.text(x, y + 32, "middle", 10, item.below, "#5b6770");
      }
    }
  }

  const Topology& topology_;
  const TopologyAnswer& answer_;
  std::vector<int> drawn_;
  std::vector<Row> rows_;
  int items_ = 0;
  std::vector<std::pair<double, double>> centres_;
  std::vector<std::vector<std::pair<double, size_t>>> gaps_;  ///< of each row: where, and how many
};

}  // namespace

std::pair<double, double> draw_tiers(const TopologyAnswer& answer, const CableStyle& style, SvgCanvas& canvas,
                                     double top) {
  return Tiers(answer).draw(style, canvas, top);
}

}  // namespace orrery
