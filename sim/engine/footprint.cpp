#include "sim/engine/footprint.hpp"

#include <algorithm>
#include <numeric>
#include <set>
#include <span>
#include <stdexcept>
#include <string>

#include "sim/engine/ring_crossings.hpp"
#include "sim/network/storage_shape.hpp"

namespace orrery {

namespace {

bool inside_domain(VertexKind kind) {
  return kind == VertexKind::gpu || kind == VertexKind::nvswitch || kind == VertexKind::pcie_switch;
}

/// Number of the scale-up domain of every GPU: GPUs that reach one another without a NIC.
std::vector<int> scale_up_domains(const Topology& topology) {
  const auto vertices = topology.vertices();
  std::vector<size_t> parent(vertices.size());
  std::iota(parent.begin(), parent.end(), size_t{0});
  const auto root = [&parent](size_t vertex) {
    while (parent[vertex] != vertex) {
      parent[vertex] = parent[parent[vertex]];
      vertex = parent[vertex];
    }
    return vertex;
  };
  for (const Link& link : topology.links()) {
    const auto from = static_cast<size_t>(link.from);
    const auto to = static_cast<size_t>(link.to);
    if (inside_domain(vertices[from].kind) && inside_domain(vertices[to].kind)) {
      parent[root(std::max(from, to))] = root(std::min(from, to));
    }
  }
  std::vector<int> domain(static_cast<size_t>(topology.gpu_count()));
  for (int gpu = 0; gpu < topology.gpu_count(); ++gpu) {
    domain[static_cast<size_t>(gpu)] = static_cast<int>(root(static_cast<size_t>(topology.gpu(gpu))));
  }
  return domain;
}

}  // namespace

Bytes wire_bytes(CollectiveOp op, Bytes payload, int ranks) {
  if (ranks < 2) {
    return Bytes(0);
  }
  const double share = static_cast<double>(ranks - 1) / ranks;
  switch (op) {
    case CollectiveOp::all_reduce:
      return 2.0 * share * payload;
    case CollectiveOp::reduce_scatter:
    case CollectiveOp::all_gather:
    case CollectiveOp::all_to_all:
      return share * payload;
    case CollectiveOp::broadcast:
    case CollectiveOp::send_receive:
      break;
  }
  return payload;
}

FootprintBuilder::FootprintBuilder(const Topology& topology)
    : FootprintBuilder(topology, std::make_shared<Trunks>(topology)) {}

FootprintBuilder::FootprintBuilder(const Topology& topology, std::shared_ptr<Trunks> trunks)
    : topology_(topology), domain_of_gpu_(scale_up_domains(topology)), trunks_(std::move(trunks)) {
  nics_of_gpu_.reserve(domain_of_gpu_.size());
  for (int gpu = 0; gpu < topology.gpu_count(); ++gpu) {
    nics_of_gpu_.push_back(std::max<std::uint64_t>(1, topology.nics_of_gpu(gpu).size()));
  }
}

std::vector<LinkLoad> FootprintBuilder::footprint(const Communication& communication) {
  for (const Members& group : communication.groups) {
    add_group(communication, group);
  }
  return put_together(take_parts());
}

std::vector<LinkLoad> FootprintBuilder::footprint_of_group(const Communication& communication, size_t group) {
  add_group(communication, communication.groups[group]);
  return put_together(take_parts());
}

FootprintBuilder::Parts FootprintBuilder::parts(const Communication& communication) {
  for (const Members& group : communication.groups) {
    add_group(communication, group);
  }
  return take_parts();
}

std::vector<LinkLoad> FootprintBuilder::put_together(const Parts& parts) {
  if (parts.trunks.empty()) {
    return parts.links;
  }
  for (const LinkLoad& load : parts.links) {
    on_links_.add(load.link, load.weight);
  }
  for (const auto& [trunk, weight] : parts.trunks) {
    for (const RouteLink& link : trunks_->links_of(trunk)) {
      on_links_.add(link.link, weight * link.share);
    }
  }
  return on_links_.take<LinkLoad>();
}

FootprintBuilder::Parts FootprintBuilder::take_parts() {
  return {on_links_.take<LinkLoad>(), on_trunks_.take<std::pair<std::int32_t, double>>()};
}

void FootprintBuilder::add_group(const Communication& communication, const Members& group) {
  if (communication.storage != StorageUse::none) {
    for (const int gpu : group) {
      add_storage_path(gpu, communication.storage == StorageUse::read);
    }
    return;
  }
  if (group.size() < 2) {
    return;
  }
  if (communication.op == CollectiveOp::send_receive) {
    add_path(group[0], group[1], 1.0);
  } else if (communication.op == CollectiveOp::all_to_all) {
    const double to_each = 1.0 / static_cast<double>(group.size() - 1);
    for (const int from : group) {
      for (const int to : group) {
        add_path(from, to, to_each);
      }
    }
  } else {
    add_ring(communication, group);
  }
}

void FootprintBuilder::add_ring(const Communication& communication, const Members& group) {
  const std::vector<Members> domains =
      members_by_domain(group, [this](int gpu) { return domain_of_gpu_.at(static_cast<size_t>(gpu)); });
  const auto n = static_cast<double>(group.size());
  const bool in_switch = is_two_level(communication) && communication.op == CollectiveOp::all_reduce &&
                         communication.algorithm.substr(0, 4) == "nvls";
  const std::vector<Members> entries = ring_ends(domains);
  std::vector<Members> exits = entries;
  for (size_t i = 0; i < domains.size(); ++i) {
    const Members& members = domains[i];
    const auto count = static_cast<double>(members.size());
    const double within = in_switch ? std::min(1.0, (1.0 + 1.0 / count) * n / (2.0 * (n - 1.0))) : 1.0;
    if (domains.size() > 1 && leaves_where_it_passes_on(members)) {
      const double sent = is_two_level(communication) ? n / (n - 1.0) : 1.0;
      exits[i] = add_rings_through_domain(members, entries[i], sent);
    } else {
      add_ring_in_domain(members, within, is_open_ring(communication));
    }
  }
  for_each_ring_crossing(communication, group.size(), exits, entries,
                         [this](int from, int to, double weight) { add_path(from, to, weight); });
}

/// Whether the link over which a member passes on to its neighbour is the one to its NIC: over PCIe.
bool FootprintBuilder::leaves_where_it_passes_on(const Members& members) const {
  if (members.size() < 2) return false;
  const std::vector<LinkId> route = topology_.route(members[0], members[1]);
  const VertexId first = topology_.links()[static_cast<size_t>(route.front())].to;
  return topology_.vertices()[static_cast<size_t>(first)].kind == VertexKind::pcie_switch;
}

/// Of rings that enter a domain at `entries`, the members that they come to last: others than they enter at,
/// so that they send once from each. Together the entries again, each ring ending at the one before its own,
/// as far as these are different; else the last member that uses the NIC of the entry, or the last of all.
FootprintBuilder::Members FootprintBuilder::lasts_of_rings(const Members& members,
                                                           const Members& entries) const {
  const size_t rings = entries.size();
  const auto place_of = [&](int gpu) { return std::find(members.begin(), members.end(), gpu); };
  std::vector<size_t> by_place(rings);
  std::iota(by_place.begin(), by_place.end(), size_t{0});
  std::stable_sort(by_place.begin(), by_place.end(),
                   [&](size_t a, size_t b) { return place_of(entries[a]) < place_of(entries[b]); });
  std::ptrdiff_t most = 0;  // rings that enter at one member
  for (const int entry : entries) most = std::max(most, std::count(entries.begin(), entries.end(), entry));
  Members lasts(rings);
  for (size_t i = 0; i < rings; ++i) {
    const int entry = entries[by_place[i]];
    int last = entries[by_place[(i + rings - static_cast<size_t>(most)) % rings]];
    if (last == entry) {
      Members others = members;
      std::rotate(others.begin(), std::find(others.begin(), others.end(), entry), others.end());
      const std::span<const VertexId> of_entry = topology_.ports_of(topology_.gpu(entry));
      const auto sharing = std::find_if(others.rbegin(), others.rend() - 1, [&](int gpu) {
        const std::span<const VertexId> ports = topology_.ports_of(topology_.gpu(gpu));
        return std::equal(ports.begin(), ports.end(), of_entry.begin(), of_entry.end());
      });
      last = sharing == others.rend() - 1 ? others.back() : *sharing;
    }
    lasts[by_place[i]] = last;
  }
  return lasts;
}

/// Loads of rings that pass through a domain in which a GPU has one link for its neighbours and its NIC: a
/// ring sends once from each member, so that the last one sends to the NIC alone, and the first one receives
/// from it alone.
/// @returns of each ring, the member at which it leaves: where another ring ends at its entry, that one, so
///          that it stays on its rail
FootprintBuilder::Members FootprintBuilder::add_rings_through_domain(const Members& members,
                                                                     const Members& entries, double weight) {
  const size_t count = members.size();
  if (entries == members) {
    // Each hop is the one that is missing in one of the rings.
    add_ring_in_domain(members, weight * static_cast<double>(count - 1) / static_cast<double>(count), false);
    return members;
  }
  Members exits = lasts_of_rings(members, entries);
  const size_t rings = entries.size();
  for (size_t ring = 0; ring < rings; ++ring) {
    Members order = members;
    std::rotate(order.begin(), std::find(order.begin(), order.end(), entries[ring]), order.end());
    const auto last = std::find(order.begin(), order.end(), exits[ring]);
    std::rotate(last, last + 1, order.end());
    for (size_t i = 0; i + 1 < count; ++i) {
      add_path(order[i], order[i + 1], weight / static_cast<double>(rings));
    }
  }
  for (size_t ring = 0; ring < rings; ++ring) {
    for (size_t other = 0; other < rings && exits[ring] != entries[ring]; ++other) {
      if (exits[other] == entries[ring] && exits[other] != entries[other])
        std::swap(exits[ring], exits[other]);
    }
  }
  return exits;
}

/// How many rings start at each member of a domain where each NIC in use has one: at the member whose own it
/// is, else at the first that sends through it.
std::vector<size_t> FootprintBuilder::rings_at(const Members& members) const {
  std::vector<size_t> rings(members.size(), 0);
  std::set<VertexId> taken;
  for (const bool own : {true, false}) {
    for (size_t place = 0; place < members.size(); ++place) {
      const std::span<const VertexId> built = topology_.own_nics_of_gpu(members[place]);
      for (const VertexId nic : topology_.ports_of(topology_.gpu(members[place]))) {
        if (own && std::find(built.begin(), built.end(), nic) == built.end()) continue;
        if (taken.insert(nic).second) ++rings[place];
      }
    }
  }
  return rings;
}

/// Whether fewer NICs are left to the members of a domain than they were built with, but some.
bool FootprintBuilder::has_lost_nics(const Members& members, const std::vector<size_t>& rings) const {
  std::set<VertexId> built;
  for (const int gpu : members) {
    const std::span<const VertexId> own = topology_.own_nics_of_gpu(gpu);
    built.insert(own.begin(), own.end());
  }
  const size_t left = std::accumulate(rings.begin(), rings.end(), size_t{0});
  return left > 0 && left < built.size();
}

/// The members of each domain at which rings enter and leave it, once a ring.
std::vector<FootprintBuilder::Members> FootprintBuilder::ring_ends(
    const std::vector<Members>& domains) const {
  std::vector<std::vector<size_t>> rings;
  std::vector<Members> ends = domains;
  size_t worst = domains.size();  // the domain that has lost the most, and fewest are left
  for (size_t i = 0; i < domains.size(); ++i) {
    rings.push_back(rings_at(domains[i]));
    if (!has_lost_nics(domains[i], rings[i])) continue;
    ends[i].clear();
    for (size_t place = 0; place < domains[i].size(); ++place)
      ends[i].insert(ends[i].end(), rings[i][place], domains[i][place]);
    if (worst == domains.size() || ends[i].size() < ends[worst].size()) worst = i;
  }
  if (worst == domains.size()) {
    const auto ports_of = [this](int gpu) { return topology_.ports_of(topology_.gpu(gpu)); };
    const auto has_one_nic = [&](int gpu) { return ports_of(gpu).size() == 1; };
    for (Members& members : ends) {
      if (std::all_of(members.begin(), members.end(), has_one_nic))
        members = orrery::ring_ends(members, [&](int gpu) { return ports_of(gpu).front(); });
    }
    return ends;
  }
  // Ring r meets members of one place in their domains, so that it stays on its rail, or a spare one.
  for (size_t i = 0; i < domains.size(); ++i) {
    if (i == worst || domains[i].size() != domains[worst].size()) continue;
    Members spare;
    for (size_t place = 0; place < domains[i].size(); ++place) {
      const size_t own = rings[i][place];
      const size_t used = rings[worst][place];
      if (own > used) spare.insert(spare.end(), own - used, domains[i][place]);
    }
    auto next_spare = spare.begin();
    Members of_rings;
    for (size_t place = 0; place < domains[i].size(); ++place) {
      for (size_t ring = 0; ring < rings[worst][place]; ++ring) {
        if (ring < rings[i][place]) {
          of_rings.push_back(domains[i][place]);
        } else if (next_spare != spare.end()) {
          of_rings.push_back(*next_spare++);
        }
      }
    }
    if (!of_rings.empty()) ends[i] = std::move(of_rings);
  }
  return ends;
}

void FootprintBuilder::add_ring_in_domain(const Members& members, double weight, bool open) {
  const size_t count = members.size();
  if (count < 2) {
    return;
  }
  const size_t hops = open ? count - 1 : count;
  if (!has_own_links(members)) {
    for (size_t i = 0; i < hops; ++i) {
      add_path(members[i], members[(i + 1) % count], weight);
    }
    return;
  }
  const double of_each_pair = weight * static_cast<double>(hops) / static_cast<double>(count * (count - 1));
  for (const int from : members) {
    for (const int to : members) {
      add_path(from, to, of_each_pair);
    }
  }
}

bool FootprintBuilder::has_own_links(const Members& members) const {
  for (const int from : members) {
    for (const int to : members) {
      if (from != to && topology_.route(from, to).size() != 1) {
        return false;
      }
    }
  }
  return true;
}

void FootprintBuilder::add_path(int from_gpu, int to_gpu, double weight) {
  if (from_gpu == to_gpu) {
    return;
  }
  const auto from = static_cast<size_t>(from_gpu);
  const auto to = static_cast<size_t>(to_gpu);
  const bool in_one_domain = domain_of_gpu_.at(from) == domain_of_gpu_.at(to);
  const std::uint64_t flows = in_one_domain ? 1 : std::max(nics_of_gpu_[from], nics_of_gpu_[to]);
  const double part = weight / static_cast<double>(flows);
  for (std::uint64_t flow = 0; flow < flows; ++flow) {
    add_flow(topology_.gpu(from_gpu), topology_.gpu(to_gpu), flow, part);
  }
}

/// @throws std::runtime_error if the GPU's node has no storage
void FootprintBuilder::add_storage_path(int gpu, bool read) {
  const VertexId storage = storage_endpoint(topology_, topology_.node_of_gpu(gpu));
  if (storage < 0) {
    throw std::runtime_error("no storage for GPU " + std::to_string(gpu));
  }
  const std::uint64_t flows = nics_of_gpu_.at(static_cast<size_t>(gpu));
  for (std::uint64_t flow = 0; flow < flows; ++flow) {
    const VertexId end = topology_.gpu(gpu);
    add_flow(read ? storage : end, read ? end : storage, flow, 1.0 / static_cast<double>(flows));
  }
}

void FootprintBuilder::add_flow(VertexId from, VertexId to, std::uint64_t flow, double weight) {
  const Trunks::Way& way = trunks_->way(from, to, flow);
  for (const RouteLink& link : way.own) on_links_.add(link.link, weight * link.share);
  if (way.trunk >= 0) on_trunks_.add(way.trunk, weight);
}

}  // namespace orrery
