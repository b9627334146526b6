#include "sim/network/reachability.hpp"

#include <algorithm>
#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/strong_components.hpp>
#include <map>
#include <utility>
#include <vector>

#include "sim/base/index.hpp"

namespace orrery {
namespace {

using Numbers = std::vector<std::int32_t>;

void make_set(Numbers& numbers) {
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
}

void add_all(Numbers& to, const Numbers& from) { to.insert(to.end(), from.begin(), from.end()); }

/// The strongly connected parts of the switches between nodes, and those of what forwards inside nodes. A
/// route crosses parts inside nodes, then parts of switches, then parts inside nodes.
class ForwardingParts {
 public:
  explicit ForwardingParts(const Topology& topology) : topology_(topology) {
    using Graph = boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS>;
    const std::size_t vertices = topology.vertices().size();
    Graph graph(vertices);
    for_each_link([&](const Link& link) {
      if (forwards(link.from) && forwards(link.to) && is_switch(link.from) == is_switch(link.to))
        boost::add_edge(index_of(link.from), index_of(link.to), graph);
    });
    part_.resize(vertices);
    // Tarjan's numbers: what a part leads to has a lower number.
    const auto parts = static_cast<std::size_t>(boost::strong_components(
        graph, boost::make_iterator_property_map(part_.begin(), boost::get(boost::vertex_index, graph))));
    next_.resize(parts);
    entered_.resize(parts);
    left_.resize(parts);
    of_switches_.assign(parts, false);
    join_parts();
  }

  bool forwards(VertexId v) const { return kind(v) != VertexKind::gpu && kind(v) != VertexKind::storage; }
  bool is_switch(VertexId v) const { return is_network_switch(kind(v)); }
  std::int32_t of(VertexId v) const { return part_[index_of(v)]; }
  std::size_t count() const { return next_.size(); }
  bool of_switches(std::int32_t part) const { return of_switches_[index_of(part)]; }
  /// Parts of the same kind that a part leads to at once.
  const Numbers& next(std::int32_t part) const { return next_[index_of(part)]; }
  /// Parts of switches that a part inside nodes leads into, or is led to from.
  const Numbers& entered(std::int32_t part) const { return entered_[index_of(part)]; }
  const Numbers& left(std::int32_t part) const { return left_[index_of(part)]; }

  /// Marks a part and all of its kind that it leads to.
  void mark(std::int32_t part, std::vector<bool>& marked) const {
    Numbers pending = {part};
    while (!pending.empty()) {
      const std::int32_t at = pending.back();
      pending.pop_back();
      if (marked[index_of(at)]) continue;
      marked[index_of(at)] = true;
      add_all(pending, next(at));
    }
  }

 private:
  VertexKind kind(VertexId v) const { return topology_.vertices()[index_of(v)].kind; }

  template <typename Action>
  void for_each_link(const Action& action) const {
    for (std::size_t l = 0; l < topology_.links().size(); ++l) {
      if (topology_.usable(static_cast<LinkId>(l))) action(topology_.links()[l]);
    }
  }

  void join_parts() {
    for (std::size_t v = 0; v < part_.size(); ++v) {
      if (is_switch(static_cast<VertexId>(v))) of_switches_[index_of(part_[v])] = true;
    }
    std::vector<Numbers> before(count());
    for_each_link([&](const Link& link) {
      if (!forwards(link.from) || !forwards(link.to) || of(link.from) == of(link.to)) return;
      const bool enters = is_switch(link.to);
      if (is_switch(link.from) == enters) {
        next_[index_of(of(link.from))].push_back(of(link.to));
        before[index_of(of(link.to))].push_back(of(link.from));
      } else if (enters) {
        entered_[index_of(of(link.from))].push_back(of(link.to));
      } else {
        left_[index_of(of(link.to))].push_back(of(link.from));
      }
    });
    for (std::size_t part = 0; part < count(); ++part) {
      make_set(next_[part]);
      if (of_switches_[part]) continue;
      for (const std::int32_t later : next_[part]) add_all(entered_[part], entered_[index_of(later)]);
      make_set(entered_[part]);
    }
    for (std::size_t part = count(); part-- > 0;) {
      if (of_switches_[part]) continue;
      for (const std::int32_t earlier : before[part]) add_all(left_[part], left_[index_of(earlier)]);
      make_set(left_[part]);
    }
  }

  const Topology& topology_;
  Numbers part_;
  std::vector<Numbers> next_, entered_, left_;
  std::vector<bool> of_switches_;
};

/// GPUs sorted by the parts that they enter and are reached from. What one node has to itself is kept apart,
/// so that all nodes of a fabric make one class.
class PairFinder {
 public:
  explicit PairFinder(const Topology& topology)
      : topology_(topology), parts_(topology), gpus_(static_cast<std::size_t>(topology.gpu_count())) {
    touch_parts();
    find_shared_parts();
    find_classes();
    join_classes();
  }

  UnreachablePairs find() const {
    UnreachablePairs found;
    std::int64_t ordered = 0;
    for (std::size_t a = 0; a < gpus_.size(); ++a) {
      const std::int64_t of_class = lost_[index_of(class_of_[a])];
      if (of_class == 0) continue;
      std::int64_t lost = of_class;
      for (const std::int32_t b : near(a)) {
        if (index_of(b) != a && apart(a, index_of(b)) && !is_lost(a, index_of(b))) --lost;
      }
      if (lost > 0 && found.first < 0) {
        found.first = static_cast<int>(a);
        for (std::size_t b = 0; b < gpus_.size() && found.second < 0; ++b) {
          if (b != a && is_lost(a, b)) found.second = static_cast<int>(b);
        }
      }
      ordered += lost;
    }
    found.pairs = ordered / 2;
    return found;
  }

 private:
  struct Gpu {
    Numbers out, in;                ///< parts that it enters and is reached from
    Numbers inside_out, inside_in;  ///< of these, those of its node alone
    Numbers direct_out, direct_in;  ///< GPUs with a link of their own
  };

  VertexKind kind(VertexId v) const { return topology_.vertices()[index_of(v)].kind; }
  const Link& link(LinkId l) const { return topology_.links()[index_of(l)]; }

  void touch_parts() {
    for (std::size_t g = 0; g < gpus_.size(); ++g) {
      Gpu& gpu = gpus_[g];
      const VertexId own = topology_.gpu(static_cast<int>(g));
      for (const LinkId l : topology_.links_from(own)) {
        const VertexId to = link(l).to;
        if (kind(to) == VertexKind::gpu) gpu.direct_out.push_back(topology_.gpu_index(to));
        if (!parts_.forwards(to)) continue;
        gpu.out.push_back(parts_.of(to));
        if (!parts_.is_switch(to)) add_all(gpu.out, later_inside(parts_.of(to)));
        add_all(gpu.out, parts_.entered(parts_.of(to)));
      }
      for (const LinkId l : topology_.links_to(own)) {
        const VertexId from = link(l).from;
        if (kind(from) == VertexKind::gpu) gpu.direct_in.push_back(topology_.gpu_index(from));
        if (!parts_.forwards(from)) continue;
        gpu.in.push_back(parts_.of(from));
        add_all(gpu.in, parts_.left(parts_.of(from)));
      }
      if (topology_.pxn()) add_neighbours(g);
      for (Numbers* set : {&gpu.out, &gpu.in, &gpu.direct_out, &gpu.direct_in}) make_set(*set);
    }
  }

  /// Parts inside nodes that one leads to; none but itself where every street has two directions.
  Numbers later_inside(std::int32_t part) const {
    Numbers later = parts_.next(part);
    for (std::size_t i = 0; i < later.size(); ++i) {
      for (const std::int32_t each : parts_.next(later[i])) {
        if (std::find(later.begin(), later.end(), each) == later.end()) later.push_back(each);
      }
    }
    return later;
  }

  /// PXN: the switches of GPUs of the node that NVLink leads to.
  void add_neighbours(std::size_t g) {
    const VertexId own = topology_.gpu(static_cast<int>(g));
    const std::span<const VertexId> own_ports = topology_.ports_of(own);
    const bool has_nic = !own_ports.empty() && own_ports.front() != own;
    const auto add = [&](VertexId other) {
      if (kind(other) != VertexKind::gpu || other == own) return;
      if (topology_.vertices()[index_of(other)].node != topology_.vertices()[index_of(own)].node) return;
      for (const VertexId port : topology_.ports_of(other)) {
        for (const LinkId l : topology_.links_from(port)) {
          if (parts_.is_switch(link(l).to)) gpus_[g].out.push_back(parts_.of(link(l).to));
        }
      }
    };
    for (const LinkId l : topology_.links_from(own)) {
      const VertexId to = link(l).to;
      add(to);
      if (kind(to) != VertexKind::nvswitch && !(has_nic && kind(to) == VertexKind::leaf)) continue;
      for (const LinkId second : topology_.links_from(to)) add(link(second).to);
    }
  }

  void find_shared_parts() {
    constexpr int kNobody = -2;
    constexpr int kSeveral = -3;
    std::vector<int> node(parts_.count(), kNobody);
    for (std::size_t g = 0; g < gpus_.size(); ++g) {
      const int own = topology_.node_of_gpu(static_cast<int>(g));
      for (const Numbers* set : {&gpus_[g].out, &gpus_[g].in}) {
        for (const std::int32_t part : *set) {
          int& known = node[index_of(part)];
          known = known == kNobody || known == own ? own : kSeveral;
        }
      }
    }
    members_.resize(parts_.count());
    senders_.resize(parts_.count());
    for (std::size_t g = 0; g < gpus_.size(); ++g) {
      Gpu& gpu = gpus_[g];
      const auto move_inside = [&](Numbers& all, Numbers& inside) {
        const auto of_node = [&](std::int32_t part) {
          return !parts_.of_switches(part) && node[index_of(part)] != kSeveral;
        };
        std::copy_if(all.begin(), all.end(), std::back_inserter(inside), of_node);
        all.erase(std::remove_if(all.begin(), all.end(), of_node), all.end());
      };
      move_inside(gpu.out, gpu.inside_out);
      move_inside(gpu.in, gpu.inside_in);
      for (const std::int32_t part : gpu.inside_in)
        members_[index_of(part)].push_back(static_cast<std::int32_t>(g));
      for (const std::int32_t part : gpu.inside_out)
        senders_[index_of(part)].push_back(static_cast<std::int32_t>(g));
    }
  }

  void find_classes() {
    std::map<std::pair<Numbers, Numbers>, std::int32_t> known;
    for (const Gpu& gpu : gpus_) {
      const auto [found, is_new] =
          known.try_emplace(std::pair(gpu.out, gpu.in), static_cast<std::int32_t>(size_.size()));
      if (is_new) {
        size_.push_back(0);
        sets_.emplace_back(gpu.out, gpu.in);
      }
      class_of_.push_back(found->second);
      ++size_[index_of(found->second)];
    }
  }

  void join_classes() {
    std::vector<Numbers> classes_in(parts_.count());
    for (std::size_t c = 0; c < sets_.size(); ++c) {
      for (const std::int32_t part : sets_[c].second)
        classes_in[index_of(part)].push_back(static_cast<std::int32_t>(c));
    }
    joined_.assign(sets_.size(), std::vector<bool>(sets_.size(), false));
    std::map<Numbers, std::size_t> first_with;  // classes that enter the same parts
    for (std::size_t c = 0; c < sets_.size(); ++c) {
      const auto [same, is_new] = first_with.try_emplace(sets_[c].first, c);
      if (!is_new) {
        joined_[c] = joined_[same->second];
        continue;
      }
      std::vector<bool> marked(parts_.count(), false);
      for (const std::int32_t part : sets_[c].first) {
        if (parts_.of_switches(part)) {
          parts_.mark(part, marked);
        } else {
          marked[index_of(part)] = true;
        }
      }
      for (std::size_t part = 0; part < marked.size(); ++part) {
        if (!marked[part]) continue;
        for (const std::int32_t other : classes_in[part]) joined_[c][index_of(other)] = true;
      }
    }
    lost_.assign(sets_.size(), 0);
    for (std::size_t c = 0; c < sets_.size(); ++c) {
      for (std::size_t d = 0; d < sets_.size(); ++d) {
        if (!joined_[c][d] || !joined_[d][c]) lost_[c] += size_[d] - (c == d ? 1 : 0);
      }
    }
  }

  /// Whether the classes of two GPUs are not joined in both directions.
  bool apart(std::size_t a, std::size_t b) const {
    const std::size_t c = index_of(class_of_[a]);
    const std::size_t d = index_of(class_of_[b]);
    return !joined_[c][d] || !joined_[d][c];
  }

  /// GPUs with a way to or from one inside its node, or a link.
  Numbers near(std::size_t a) const {
    const Gpu& gpu = gpus_[a];
    Numbers all = gpu.direct_out;
    add_all(all, gpu.direct_in);
    for (const std::int32_t part : gpu.inside_out) add_all(all, members_[index_of(part)]);
    for (const std::int32_t part : gpu.inside_in) add_all(all, senders_[index_of(part)]);
    make_set(all);
    return all;
  }

  bool is_lost(std::size_t a, std::size_t b) const { return !leads(a, b) || !leads(b, a); }

  bool leads(std::size_t a, std::size_t b) const {
    if (joined_[index_of(class_of_[a])][index_of(class_of_[b])]) return true;
    const Gpu& from = gpus_[a];
    const Gpu& to = gpus_[b];
    if (std::binary_search(from.direct_out.begin(), from.direct_out.end(), static_cast<std::int32_t>(b)))
      return true;
    const auto common = [&](std::int32_t part) {
      return std::binary_search(to.inside_in.begin(), to.inside_in.end(), part);
    };
    return std::any_of(from.inside_out.begin(), from.inside_out.end(), common);
  }

  const Topology& topology_;
  ForwardingParts parts_;
  std::vector<Gpu> gpus_;
  std::vector<Numbers> members_, senders_;  ///< GPUs that parts of one node lead to, and that enter them
  Numbers class_of_;                        ///< of each GPU
  std::vector<std::int64_t> size_;          ///< GPUs of a class
  std::vector<std::pair<Numbers, Numbers>> sets_;
  std::vector<std::vector<bool>> joined_;  ///< from class to class
  std::vector<std::int64_t> lost_;         ///< GPUs that those of a class are not joined with, by class
};

}  // namespace

UnreachablePairs find_unreachable(const Topology& topology) { return PairFinder(topology).find(); }

}  // namespace orrery
