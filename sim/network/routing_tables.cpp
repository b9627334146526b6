#include "sim/network/routing_tables.hpp"

#include <algorithm>

#include "sim/base/index.hpp"

namespace orrery {
namespace {

/// Links kept in the memory of adaptive shares: 16 bytes each, 64 MiB in all.
constexpr std::size_t kMostKeptLinks = std::size_t{1} << 22;

}  // namespace

LinkLists::LinkLists(std::size_t vertices, std::span<const Link> links, bool by_source,
                     const std::vector<bool>& skip)
    : first_(vertices + 1, 0) {
  const auto owner = [&](std::size_t l) { return index_of(by_source ? links[l].from : links[l].to); };
  const auto skipped = [&](std::size_t l) { return !skip.empty() && skip[l]; };
  for (std::size_t l = 0; l < links.size(); ++l) {
    if (!skipped(l)) ++first_[owner(l) + 1];
  }
  for (std::size_t v = 0; v < vertices; ++v) first_[v + 1] += first_[v];
  links_.resize(first_.back());
  std::vector<std::size_t> next(first_.begin(), first_.end() - 1);
  for (std::size_t l = 0; l < links.size(); ++l) {
    if (!skipped(l)) links_[next[owner(l)]++] = static_cast<LinkId>(l);
  }
}

RoutingTables::RoutingTables(const std::vector<Vertex>& vertices, const std::vector<Link>& links,
                             const std::vector<bool>& failed_links)
    : vertices_(vertices),
      links_(links),
      out_(vertices.size(), links, true, failed_links),
      in_(vertices.size(), links, false, failed_links),
      switch_numbers_(vertices.size(), -1),
      transit_states_(vertices.size(), -1),
      first_port_(vertices.size() + 1, 0),
      first_own_nic_(vertices.size() + 1, 0),
      class_of_(vertices.size(), -1),
      node_gpus_(vertices.size()) {
  std::map<int, std::vector<VertexId>> by_node;
  for (std::size_t v = 0; v < vertices.size(); ++v) {
    const VertexKind kind = vertices[v].kind;
    if (is_network_switch(kind)) {
      switch_numbers_[v] = switches_++;
      network_switches_.push_back(static_cast<VertexId>(v));
    }
    if (kind != VertexKind::gpu && kind != VertexKind::storage) {
      transit_states_[v] = states_;
      states_ += 2;
    }
    if (kind == VertexKind::nic && vertices[v].node >= 0)
      nics_by_node_[vertices[v].node].push_back(static_cast<VertexId>(v));
    if (kind == VertexKind::gpu) by_node[vertices[v].node].push_back(static_cast<VertexId>(v));
  }
  first_into_switch_.reserve(index_of(switches_) + 1);
  for (std::size_t v = 0; v < vertices.size(); ++v) {
    if (switch_numbers_[v] < 0) continue;
    first_into_switch_.push_back(into_switch_.size());
    for (const LinkId l : in(static_cast<VertexId>(v))) {
      const std::int32_t from = switch_numbers_[index_of(link(l).from)];
      if (from >= 0) into_switch_.push_back(from);
    }
  }
  first_into_switch_.push_back(into_switch_.size());
  for (const auto& [node, gpus] : by_node) {
    const std::size_t begin = gpus_by_node_.size();
    gpus_by_node_.insert(gpus_by_node_.end(), gpus.begin(), gpus.end());
    for (const VertexId gpu : gpus) node_gpus_[index_of(gpu)] = {begin, gpus_by_node_.size()};
  }
  const bool any_failed = std::find(failed_links.begin(), failed_links.end(), true) != failed_links.end();
  find_ports(any_failed ? LinkLists(vertices.size(), links, true, {}) : out_);
  find_classes();
  find_stand_ins();
  uneven_tiers_ = has_uneven_tiers(failed_links);
  hops_to_.resize(classes_.size());
  grid_ = find_grid(vertices, links);
}

LinkId RoutingTables::link_between(VertexId from, VertexId to) const {
  for (const LinkId l : out(from)) {
    if (link(l).to == to) return l;
  }
  return -1;
}

bool RoutingTables::leads_to_network(VertexId v) const {
  const auto ends_at_switch = [&](LinkId l) { return is_network_switch(kind(link(l).to)); };
  const std::span<const LinkId> links = out(v);
  return std::any_of(links.begin(), links.end(), ends_at_switch);
}

bool RoutingTables::reaches(VertexId endpoint, VertexId port) const {
  return leads_to_network(port) && !host_path(endpoint, port, true).empty() &&
         !host_path(endpoint, port, false).empty();
}

void RoutingTables::add_nics_of_gpu(VertexId gpu, const LinkLists& all_out) {
  const std::size_t begin = ports_.size();
  VertexId pcie = -1;
  for (const LinkId l : all_out.of(gpu)) {
    const VertexId to = link(l).to;
    if (kind(to) == VertexKind::nic) ports_.push_back(to);
    if (kind(to) == VertexKind::pcie_switch && pcie < 0) pcie = to;
  }
  const auto keep_as_own = [&] {
    own_nics_.insert(own_nics_.end(), ports_.begin() + static_cast<std::ptrdiff_t>(begin), ports_.end());
  };
  const auto drop_failed = [&] {
    if (&all_out == &out_) return;
    const auto failed = [&](VertexId nic) { return !reaches(gpu, nic); };
    ports_.erase(std::remove_if(ports_.begin() + static_cast<std::ptrdiff_t>(begin), ports_.end(), failed),
                 ports_.end());
  };
  if (ports_.size() > begin || pcie < 0) {
    keep_as_own();
    return drop_failed();
  }
  std::vector<VertexId> nics;
  std::size_t gpus = 0;
  std::size_t number = 0;
  for (const LinkId l : all_out.of(pcie)) {
    const VertexId to = link(l).to;
    if (to == gpu) number = gpus;
    if (kind(to) == VertexKind::gpu) ++gpus;
    if (kind(to) == VertexKind::nic) nics.push_back(to);
  }
  if (nics.empty()) return;
  const std::size_t first = gpus < 2 ? 0 : number * nics.size() / gpus;
  const std::size_t end = gpus < 2 ? nics.size() : std::max(first + 1, (number + 1) * nics.size() / gpus);
  ports_.insert(ports_.end(), nics.begin() + static_cast<std::ptrdiff_t>(first),
                nics.begin() + static_cast<std::ptrdiff_t>(end));
  keep_as_own();
  drop_failed();
  if (ports_.size() > begin) return;
  ports_.insert(ports_.end(), nics.begin(), nics.end());
  drop_failed();
}

void RoutingTables::add_ports_of_storage(VertexId storage) {
  if (leads_to_network(storage)) return ports_.push_back(storage);
  for (const LinkId l : out(storage)) {
    const VertexId to = link(l).to;
    if (kind(to) == VertexKind::nic && reaches(storage, to)) ports_.push_back(to);
    if (kind(to) != VertexKind::pcie_switch) continue;
    for (const LinkId second : out(to)) {
      const VertexId nic = link(second).to;
      if (kind(nic) == VertexKind::nic && reaches(storage, nic)) ports_.push_back(nic);
    }
  }
}

void RoutingTables::find_ports(const LinkLists& all_out) {
  for (std::size_t v = 0; v < vertices_.size(); ++v) {
    const auto vertex = static_cast<VertexId>(v);
    if (kind(vertex) == VertexKind::gpu) {
      add_nics_of_gpu(vertex, all_out);
      if (ports_.size() == first_port_[v] && leads_to_network(vertex)) ports_.push_back(vertex);
    } else if (kind(vertex) == VertexKind::storage) {
      add_ports_of_storage(vertex);
    }
    first_port_[v + 1] = ports_.size();
    first_own_nic_[v + 1] = own_nics_.size();
  }
}

void RoutingTables::find_classes() {
  std::map<std::vector<VertexId>, std::int32_t> known;
  for (const VertexId port : ports_) add_class(port, known);
  // A NIC whose own GPUs have lost it still serves others of its node.
  for (const auto& [node, nics] : nics_by_node_) {
    for (const VertexId nic : nics) add_class(nic, known);
  }
}

void RoutingTables::add_class(VertexId port, std::map<std::vector<VertexId>, std::int32_t>& known) {
  if (class_of_[index_of(port)] >= 0) return;
  std::vector<VertexId> switches;
  for (const LinkId l : in(port)) {
    const VertexId from = link(l).from;
    if (is_network_switch(kind(from)) && std::find(switches.begin(), switches.end(), from) == switches.end())
      switches.push_back(from);
  }
  if (switches.empty()) return;
  const auto [place, is_new] = known.emplace(switches, static_cast<std::int32_t>(classes_.size()));
  if (is_new) classes_.push_back(switches);
  class_of_[index_of(port)] = place->second;
}

void RoutingTables::find_stand_ins() {
  for (std::size_t i = 0; i < gpus_by_node_.size();) {
    const std::span<const VertexId> gpus = gpus_beside(gpus_by_node_[i]);
    i += gpus.size();
    const auto nics = nics_by_node_.find(node(gpus.front()));
    const auto has_none = [this](VertexId gpu) { return ports_of(gpu).empty(); };
    if (nics != nics_by_node_.end() && std::any_of(gpus.begin(), gpus.end(), has_none))
      deal_stand_ins(gpus, nics->second);
  }
}

void RoutingTables::deal_stand_ins(std::span<const VertexId> gpus, const std::vector<VertexId>& nics) {
  std::map<VertexId, double> users;
  for (const VertexId gpu : gpus) {
    const std::span<const VertexId> ports = ports_of(gpu);
    for (const VertexId port : ports) users[port] += 1.0 / static_cast<double>(ports.size());
  }
  for (std::size_t place = 0; place < gpus.size(); ++place) {
    const VertexId gpu = gpus[place];
    if (!ports_of(gpu).empty()) continue;
    const std::size_t own = place * nics.size() / gpus.size();
    const std::size_t built = std::max<std::size_t>(1, own_nics_of(gpu).size());
    for (std::size_t k = 0; k < built; ++k) {
      VertexId best = -1;
      std::pair<std::size_t, double> least;
      for (std::size_t i = 1; i <= nics.size(); ++i) {
        const VertexId nic = nics[(own + i) % nics.size()];
        if (!leads_to_network(nic) || destination_class(nic) < 0) continue;
        // Where no switches of the node lead there NVLink may (PXN): farthest, and all alike.
        const std::size_t hops = path_in_node(gpu, nic).size();
        const std::pair cost(hops == 0 ? vertices_.size() : hops, users[nic]);
        if (best >= 0 && !(cost < least)) continue;
        best = nic;
        least = cost;
      }
      if (best < 0) return;
      stand_ins_[gpu].push_back(best);
      users[best] += 1.0 / static_cast<double>(built);
    }
  }
}

std::span<const VertexId> RoutingTables::stand_ins(VertexId endpoint) const {
  const auto found = stand_ins_.find(endpoint);
  return found == stand_ins_.end() ? std::span<const VertexId>() : found->second;
}

std::size_t RoutingTables::turn(std::span<const VertexId> nics, VertexId endpoint, std::uint64_t flow) const {
  const std::span<const VertexId> dealt = stand_ins(endpoint);
  if (dealt.empty()) return flow % nics.size();
  const auto first = std::find(nics.begin(), nics.end(), dealt[flow % dealt.size()]);
  const auto place =
      first == nics.end() ? std::uint64_t{0} : static_cast<std::uint64_t>(first - nics.begin());
  return (place + flow / dealt.size()) % nics.size();
}

std::span<const VertexId> RoutingTables::ports_of(VertexId endpoint) const {
  const std::size_t begin = first_port_[index_of(endpoint)];
  return std::span(ports_).subspan(begin, first_port_[index_of(endpoint) + 1] - begin);
}

std::span<const VertexId> RoutingTables::own_nics_of(VertexId gpu) const {
  const std::size_t begin = first_own_nic_[index_of(gpu)];
  return std::span(own_nics_).subspan(begin, first_own_nic_[index_of(gpu) + 1] - begin);
}

std::vector<VertexId> RoutingTables::nics_of(VertexId gpu) const {
  const std::span<const VertexId> ports = ports_of(gpu);
  if (ports.size() == 1 && ports.front() == gpu) return {};
  return {ports.begin(), ports.end()};
}

std::span<const VertexId> RoutingTables::gpus_beside(VertexId gpu) const {
  const auto [begin, end] = node_gpus_[index_of(gpu)];
  return std::span(gpus_by_node_).subspan(begin, end - begin);
}

std::vector<LinkId> RoutingTables::two_hops(VertexId from, VertexId to, VertexKind middle) const {
  for (const LinkId first : out(from)) {
    if (kind(link(first).to) != middle) continue;
    if (const LinkId second = link_between(link(first).to, to); second >= 0) return {first, second};
  }
  return {};
}

std::vector<LinkId> RoutingTables::host_path(VertexId endpoint, VertexId port, bool outward) const {
  if (endpoint == port) return {};
  const VertexId from = outward ? endpoint : port;
  const VertexId to = outward ? port : endpoint;
  if (const LinkId direct = link_between(from, to); direct >= 0) return {direct};
  return two_hops(from, to, VertexKind::pcie_switch);
}

std::vector<LinkId> RoutingTables::nvlink_path(VertexId from, VertexId to) const {
  if (const LinkId direct = link_between(from, to); direct >= 0) return {direct};
  if (std::vector<LinkId> path = two_hops(from, to, VertexKind::nvswitch); !path.empty()) return path;
  // In a graph by hand the NVSwitch of several nodes is a switch outside nodes that GPUs with NICs hang off.
  const std::span<const VertexId> ports = ports_of(from);
  if (ports.empty() || ports.front() == from) return {};
  return two_hops(from, to, VertexKind::leaf);
}

std::vector<LinkId> RoutingTables::scale_up_path(VertexId from, VertexId to) const {
  if (std::vector<LinkId> path = nvlink_path(from, to); !path.empty()) return path;
  if (std::vector<LinkId> path = two_hops(from, to, VertexKind::pcie_switch); !path.empty()) return path;
  const int node = vertices_[index_of(from)].node;
  if (node < 0 || node != vertices_[index_of(to)].node) return {};
  return path_in_node(from, to);
}

std::vector<VertexId> RoutingTables::other_nics(VertexId endpoint, bool outward, std::uint64_t flow) const {
  std::vector<VertexId> nics;
  const auto of_node = nics_by_node_.find(node(endpoint));
  if (of_node == nics_by_node_.end()) return nics;
  const std::span<const VertexId> own = ports_of(endpoint);
  for (const VertexId nic : of_node->second) {
    if (std::find(own.begin(), own.end(), nic) != own.end()) continue;
    if (outward ? !leads_to_network(nic) : destination_class(nic) < 0) continue;
    if (!(outward ? path_in_node(endpoint, nic) : path_in_node(nic, endpoint)).empty()) nics.push_back(nic);
  }
  if (nics.empty()) return nics;
  std::rotate(nics.begin(), nics.begin() + static_cast<std::ptrdiff_t>(turn(nics, endpoint, flow)),
              nics.end());
  return nics;
}

std::vector<LinkId> RoutingTables::path_in_node(VertexId from, VertexId to) const {
  // A node has a few dozen vertices: lists do.
  const int node = vertices_[index_of(from)].node;
  std::vector<std::pair<VertexId, LinkId>> reached = {{from, -1}};  // with the link that led there
  for (std::size_t i = 0; i < reached.size(); ++i) {
    for (const LinkId l : out(reached[i].first)) {
      const VertexId next = link(l).to;
      const bool forwards = kind(next) == VertexKind::nvswitch || kind(next) == VertexKind::pcie_switch;
      if (next != to && (!forwards || vertices_[index_of(next)].node != node)) continue;
      const auto seen = [&](const auto& each) { return each.first == next; };
      if (std::any_of(reached.begin(), reached.end(), seen)) continue;
      reached.emplace_back(next, l);
    }
  }
  std::vector<LinkId> path;
  for (VertexId at = to; at != from;) {
    const auto step =
        std::find_if(reached.begin(), reached.end(), [&](const auto& each) { return each.first == at; });
    if (step == reached.end()) return {};
    path.push_back(step->second);
    at = link(step->second).from;
  }
  std::reverse(path.begin(), path.end());
  return path;
}

const RoutingTables::Hops& RoutingTables::hops_to(std::int32_t destination_class) const {
  const std::scoped_lock lock(mutex_);
  std::unique_ptr<const Hops>& kept = hops_to_[index_of(destination_class)];
  if (kept) return *kept;
  auto found = std::make_unique<Hops>();
  found->numbers_ = &switch_numbers_;
  found->hops_.assign(index_of(switches_), -1);
  std::vector<std::int32_t> frontier;  // numbers of switches
  for (const VertexId target : classes_[index_of(destination_class)]) {
    frontier.push_back(switch_numbers_[index_of(target)]);
    found->hops_[index_of(frontier.back())] = 0;
  }
  for (std::size_t i = 0; i < frontier.size(); ++i) {
    const std::size_t reached = index_of(frontier[i]);
    const std::int32_t next = found->hops_[reached] + 1;
    for (std::size_t l = first_into_switch_[reached]; l < first_into_switch_[reached + 1]; ++l) {
      std::int32_t& hops = found->hops_[index_of(into_switch_[l])];
      if (hops >= 0) continue;
      hops = next;
      frontier.push_back(into_switch_[l]);
    }
  }
  kept = std::move(found);
  return *kept;
}

bool RoutingTables::has_uneven_tiers(const std::vector<bool>& failed_links) const {
  std::map<std::pair<VertexKind, VertexKind>, BytesPerSecond> of_tier;
  for (std::size_t l = 0; l < links_.size(); ++l) {
    const Link& cable = links_[l];
    if (switch_number(cable.from) < 0 || switch_number(cable.to) < 0) continue;
    const std::pair tier(kind(cable.from), kind(cable.to));
    if (failed_links[l] || of_tier.emplace(tier, cable.bandwidth).first->second != cable.bandwidth)
      return true;
  }
  return false;
}

std::span<const double> RoutingTables::capacity_left_to(std::int32_t destination_class) const {
  if (!uneven_tiers_) return {};
  const Hops& hops = hops_to(destination_class);
  const std::scoped_lock lock(mutex_);
  const auto [place, is_new] = capacity_left_to_.try_emplace(destination_class);
  std::vector<double>& left = place->second;
  if (!is_new) return left;
  left.assign(network_switches_.size(), 0.0);
  std::vector<VertexId> nearest_first;
  for (const VertexId v : network_switches_) {
    if (hops.from(v) >= 0) nearest_first.push_back(v);
  }
  const auto peers = [&](VertexId v) { return std::pair(hops.from(v), kind(v)); };
  std::stable_sort(nearest_first.begin(), nearest_first.end(),
                   [&](VertexId a, VertexId b) { return peers(a) < peers(b); });
  std::map<VertexId, double> next;  // with what the cables to it carry together
  for (auto begin = nearest_first.begin(); begin != nearest_first.end();) {
    const auto end =
        std::find_if(begin, nearest_first.end(), [&](VertexId v) { return peers(v) != peers(*begin); });
    double best = 0.0;
    for (auto v = begin; v != end; ++v) {
      double& carries = left[index_of(switch_number(*v))];
      if (hops.from(*v) == 0) {
        carries = best = 1.0;
        continue;
      }
      next.clear();
      for (const LinkId l : out(*v)) {
        if (hops.from(link(l).to) != hops.from(*v) - 1) continue;
        next[link(l).to] += link(l).bandwidth.base();
      }
      double most = 0.0;
      for (const auto& [to, cables] : next) most = std::max(most, cables);
      for (const auto& [to, cables] : next)
        carries += std::min(cables, most * left[index_of(switch_number(to))]);
      best = std::max(best, carries);
    }
    for (; begin != end; ++begin) left[index_of(switch_number(*begin))] /= best;
  }
  return left;
}

const RoutingTables::TransitHops& RoutingTables::transit_hops_to(VertexId endpoint) const {
  const std::scoped_lock lock(mutex_);
  std::unique_ptr<const TransitHops>& kept = transit_hops_[endpoint];
  if (kept) return *kept;
  auto found = std::make_unique<TransitHops>();
  found->states_ = &transit_states_;
  found->hops_.assign(index_of(states_), -1);
  std::vector<std::pair<VertexId, bool>> frontier;  // backwards: a vertex and whether it has crossed
  const auto reach = [&](VertexId v, bool crossed, std::int32_t hops) {
    const std::int32_t state = transit_states_[index_of(v)];
    if (state < 0) return;
    std::int32_t& known = found->hops_[index_of(state) + (crossed ? 1 : 0)];
    if (known >= 0) return;
    known = hops;
    frontier.emplace_back(v, crossed);
  };
  for (const LinkId l : in(endpoint)) {
    // A network switch has crossed itself.
    const VertexId from = link(l).from;
    if (!is_network_switch(kind(from))) reach(from, false, 0);
    reach(from, true, 0);
  }
  for (std::size_t i = 0; i < frontier.size(); ++i) {
    const auto [v, crossed] = frontier[i];
    const std::int32_t next = found->from(v, crossed) + 1;
    const bool is_switch = is_network_switch(kind(v));
    for (const LinkId l : in(v)) {
      const VertexId from = link(l).from;
      if (is_network_switch(kind(from))) {
        if (crossed) reach(from, true, next);
      } else {
        reach(from, crossed && !is_switch, next);
      }
    }
  }
  kept = std::move(found);
  return *kept;
}

std::int32_t RoutingTables::hops_between(VertexId from_port, std::int32_t destination_class) const {
  if (destination_class < 0) return -1;
  const Hops& hops = hops_to(destination_class);
  std::int32_t fewest = -1;
  for (const LinkId l : out(from_port)) {
    const std::int32_t there = hops.from(link(l).to);
    if (there >= 0 && (fewest < 0 || there < fewest)) fewest = there;
  }
  return fewest;
}

std::uint64_t RoutingTables::number_on_switch(VertexId network_switch, VertexId port) const {
  std::uint64_t number = 0;
  for (const LinkId l : out(network_switch)) {
    if (link(l).to == port) break;
    if (class_of_[index_of(link(l).to)] >= 0) ++number;
  }
  return number;
}

const RoutingTables::Shares* RoutingTables::known_shares(VertexId first_switch,
                                                         std::int32_t destination_class) const {
  const std::scoped_lock lock(mutex_);
  const auto known = shares_.find({first_switch, destination_class});
  return known == shares_.end() ? nullptr : known->second.get();
}

const RoutingTables::Shares* RoutingTables::keep_shares(VertexId first_switch, std::int32_t destination_class,
                                                        const Shares& shares) const {
  const std::scoped_lock lock(mutex_);
  if (kept_links_ + shares.links.size() > kMostKeptLinks) return nullptr;
  const auto [place, is_new] =
      shares_.emplace(std::pair(first_switch, destination_class), std::make_unique<const Shares>(shares));
  if (is_new) kept_links_ += shares.links.size();
  return place->second.get();
}

}  // namespace orrery
