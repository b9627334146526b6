#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "sim/network/grid.hpp"
#include "sim/network/topology.hpp"

namespace orrery {

/// Links of each vertex, in the order in which they were added.
class LinkLists {
 public:
  /// @param by_source lists the links out of each vertex, else those into it
  /// @param skip      links to leave out; empty: none
  LinkLists(std::size_t vertices, std::span<const Link> links, bool by_source, const std::vector<bool>& skip);
  std::span<const LinkId> of(VertexId vertex) const {
    const auto v = static_cast<std::size_t>(vertex);
    return std::span(links_).subspan(first_[v], first_[v + 1] - first_[v]);
  }

 private:
  std::vector<std::size_t> first_;
  std::vector<LinkId> links_;
};

/// What routing needs of one state of the graph, and searches once: usable links by vertex, the ports (NICs)
/// of endpoints, hops to each set of switches that a port hangs off. Private to sim/network. Const members
/// are thread-safe; the graph must not change in its lifetime.
class RoutingTables {
 public:
  RoutingTables(const std::vector<Vertex>& vertices, const std::vector<Link>& links,
                const std::vector<bool>& failed_links);

  std::span<const LinkId> out(VertexId v) const { return out_.of(v); }
  std::span<const LinkId> in(VertexId v) const { return in_.of(v); }
  VertexKind kind(VertexId v) const { return vertices_[static_cast<std::size_t>(v)].kind; }
  int node(VertexId v) const { return vertices_[static_cast<std::size_t>(v)].node; }
  const Link& link(LinkId l) const { return links_[static_cast<std::size_t>(l)]; }
  /// The first usable link from one vertex to another, or -1.
  LinkId link_between(VertexId from, VertexId to) const;

  /// See Topology::nics_of_gpu.
  std::vector<VertexId> nics_of(VertexId gpu) const;
  /// See Topology::own_nics_of_gpu.
  std::span<const VertexId> own_nics_of(VertexId gpu) const;
  /// Where an endpoint meets the network: its NICs, or itself where it is cabled to a switch.
  std::span<const VertexId> ports_of(VertexId endpoint) const;
  /// Links from an endpoint to one of its ports (`outward`) or back: none to itself, one, or two over their
  /// PCIe switch.
  std::vector<LinkId> host_path(VertexId endpoint, VertexId port, bool outward) const;
  /// Links inside a node from one endpoint to another: the direct one, over an NVSwitch, over a PCIe switch,
  /// or (two endpoints of one node) the shortest path over its switches. Empty if there is none.
  std::vector<LinkId> scale_up_path(VertexId from, VertexId to) const;
  /// The first two of scale_up_path(): NVLink alone. A switch between nodes counts as an NVSwitch for GPUs
  /// that are cabled to it beside their NICs.
  std::vector<LinkId> nvlink_path(VertexId from, VertexId to) const;
  /// Between two vertices of one node, over its NVSwitches and PCIe switches alone: the shortest, or empty.
  std::vector<LinkId> path_in_node(VertexId from, VertexId to) const;
  /// NICs of an endpoint's node that lead to the network (`outward`) or from it and are none of its own
  /// ports, as far as it reaches them over the node's switches: in order, from the one whose turn it is for
  /// the flow.
  std::vector<VertexId> other_nics(VertexId endpoint, bool outward, std::uint64_t flow) const;
  /// The NICs of its node that a GPU without ports of its own uses, as many as it was built with; none for
  /// others. They are dealt out of those in use one by one: each is, of the nearest, one that the fewest GPUs
  /// use, of several the first after the GPU's own place.
  std::span<const VertexId> stand_ins(VertexId endpoint) const;
  /// Which of some NICs a flow takes: the k-th the k-th stand-in, and those beyond them the ones that follow.
  std::size_t turn(std::span<const VertexId> nics, VertexId endpoint, std::uint64_t flow) const;

  /// Number of the set of network switches that lead to a port; ports with the same set share it. -1 if
  /// empty.
  std::int32_t destination_class(VertexId port) const { return class_of_[static_cast<std::size_t>(port)]; }
  /// The switches of a class, in the order of the port's links.
  std::span<const VertexId> switches_of(std::int32_t destination_class) const {
    return classes_[static_cast<std::size_t>(destination_class)];
  }
  std::size_t class_count() const { return classes_.size(); }

  /// Hops from every network switch to the nearest switch of a class, over switches alone.
  class Hops {
   public:
    /// -1 if the vertex is no switch or has no path.
    std::int32_t from(VertexId v) const {
      const std::int32_t number = (*numbers_)[static_cast<std::size_t>(v)];
      return number < 0 ? -1 : hops_[static_cast<std::size_t>(number)];
    }

   private:
    friend class RoutingTables;
    const std::vector<std::int32_t>* numbers_ = nullptr;
    std::vector<std::int32_t> hops_;
  };
  const Hops& hops_to(std::int32_t destination_class) const;
  /// By switch_number(): what a switch carries towards a class over its shortest paths, of what the best
  /// switch of its kind and distance does: the sum over its next switches of their cables together, less
  /// where the next one has less left than its best peer. So a missing cable two tiers up is felt below it as
  /// it is where it is missing. Empty where every tier's cables are whole and alike, so that all switches are
  /// as good. Cost: the cables between switches, once a class.
  std::span<const double> capacity_left_to(std::int32_t destination_class) const;
  /// Hops from a port to a class, its own links counted; -1 without a path.
  std::int32_t hops_between(VertexId from_port, std::int32_t destination_class) const;
  /// Hops from every vertex that forwards (switches of any kind, NICs) to an endpoint, over those alone. What
  /// has crossed a network switch and left it does not enter another: inside nodes, network, inside nodes.
  class TransitHops {
   public:
    /// @param crossed  a network switch has been passed. -1 if the vertex does not forward or has no path
    std::int32_t from(VertexId v, bool crossed) const {
      const std::int32_t state = (*states_)[static_cast<std::size_t>(v)];
      return state < 0 ? -1 : hops_[static_cast<std::size_t>(state) + (crossed ? 1 : 0)];
    }

   private:
    friend class RoutingTables;
    const std::vector<std::int32_t>* states_ = nullptr;  ///< of each vertex before it has crossed
    std::vector<std::int32_t> hops_;
  };
  const TransitHops& transit_hops_to(VertexId endpoint) const;

  /// Number of a port among the ports on a switch, in the order of the switch's links.
  std::uint64_t number_on_switch(VertexId network_switch, VertexId port) const;

  /// GPUs of the same node, in order; the GPU itself among them.
  std::span<const VertexId> gpus_beside(VertexId gpu) const;
  /// The torus or mesh that the network switches form; no dimensions where they form none.
  const Grid& grid() const { return grid_; }
  /// Of a network switch among these; -1 for other vertices.
  std::int32_t switch_number(VertexId v) const { return switch_numbers_[static_cast<std::size_t>(v)]; }

  /// Memory of the shares of adaptive routing between a first switch and a class.
  struct Shares {
    std::vector<RouteLink> links;
    std::vector<std::pair<VertexId, double>> exits;  ///< switches of the class with what arrives there
  };
  const Shares* known_shares(VertexId first_switch, std::int32_t destination_class) const;
  /// Kept unless the memory for shares is used up. @returns what is kept, or nullptr
  const Shares* keep_shares(VertexId first_switch, std::int32_t destination_class,
                            const Shares& shares) const;

 private:
  void find_ports(const LinkLists& all_out);
  void add_nics_of_gpu(VertexId gpu, const LinkLists& all_out);
  void add_ports_of_storage(VertexId storage);
  void find_classes();
  void find_stand_ins();
  bool has_uneven_tiers(const std::vector<bool>& failed_links) const;
  void deal_stand_ins(std::span<const VertexId> gpus, const std::vector<VertexId>& nics);
  void add_class(VertexId port, std::map<std::vector<VertexId>, std::int32_t>& known);
  bool leads_to_network(VertexId v) const;
  bool reaches(VertexId endpoint, VertexId port) const;
  std::vector<LinkId> two_hops(VertexId from, VertexId to, VertexKind middle) const;

  const std::vector<Vertex>& vertices_;
  const std::vector<Link>& links_;
  LinkLists out_, in_;
  std::vector<std::int32_t> switch_numbers_, transit_states_;
  std::int32_t switches_ = 0;
  std::vector<VertexId> network_switches_;  ///< by number
  bool uneven_tiers_ = false;
  /// Numbers of the switches with links into each, link by link, so that a search reads them in a row: those
  /// into number n from first_into_switch_[n] on.
  std::vector<std::size_t> first_into_switch_;
  std::vector<std::int32_t> into_switch_;
  std::int32_t states_ = 0;
  std::vector<std::size_t> first_port_;  ///< into ports_, a vertex; of its NICs alone where nics_only_
  std::vector<VertexId> ports_;
  std::vector<std::size_t> first_own_nic_;  ///< into own_nics_, a vertex
  std::vector<VertexId> own_nics_;
  std::vector<std::int32_t> class_of_;
  std::vector<std::vector<VertexId>> classes_;
  std::vector<VertexId> gpus_by_node_;
  std::map<int, std::vector<VertexId>> nics_by_node_;           ///< of nodes alone
  std::vector<std::pair<std::size_t, std::size_t>> node_gpus_;  ///< range in gpus_by_node_, a vertex
  std::map<VertexId, std::vector<VertexId>> stand_ins_;         ///< of GPUs without ports
  Grid grid_;

  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<const Hops>> hops_to_;
  mutable std::map<std::int32_t, std::vector<double>> capacity_left_to_;
  mutable std::map<VertexId, std::unique_ptr<const TransitHops>> transit_hops_;
  mutable std::map<std::pair<VertexId, std::int32_t>, std::unique_ptr<const Shares>> shares_;
  mutable std::size_t kept_links_ = 0;
};

}  // namespace orrery
