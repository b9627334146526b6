#include "sim/engine/nic_traffic.hpp"

#include <numeric>

#include "sim/engine/ring_crossings.hpp"
#include "sim/engine/weight_sums.hpp"

namespace orrery {
namespace {

/// Numbers the links of GPUs and NICs, and adds up what a communication puts on them.
class NicLinks {
 public:
  explicit NicLinks(const ClusterShape& cluster)
      : cluster_(cluster),
        shares_nics_(cluster.nics_per_node < cluster.gpus_per_node),
        first_nic_(2 * cluster.gpus) {}

  std::vector<double> capacities() const {
    // A GPU with NICs of its own uses them alike: with its own link they are one.
    const BytesPerSecond nic = cluster_.nic_bandwidth * cluster_.payload_efficiency;
    BytesPerSecond of_gpu = cluster_.host_link;
    if (!shares_nics_) of_gpu = min(of_gpu, nic * nics_of_gpu());
    std::vector<double> result(static_cast<size_t>(first_nic_), of_gpu.base());
    result.resize(static_cast<size_t>(first_nic_) + static_cast<size_t>(nic_links()),
                  min(nic, cluster_.slot_of_nic()).base());
    return result;
  }

  /// Loads of all groups together, by rising link.
  std::vector<LinkLoad> loads_of(const Communication& communication) {
    if (communication.storage != StorageUse::none) return {};
    for (const std::vector<int>& group : communication.groups) add_group(communication, group);
    return sums_.take<LinkLoad>();
  }

 private:
  enum Direction { kOut, kIn };

  int nic_links() const {
    return shares_nics_ ? 2 * (cluster_.gpus / cluster_.gpus_per_node) * cluster_.nics_per_node : 0;
  }
  /// Of the GPU that has fewest, where each has one at least.
  int nics_of_gpu() const { return cluster_.nics_per_node / cluster_.gpus_per_node; }
  int domain_of(int gpu) const { return gpu / cluster_.gpus_per_domain; }

  void add_group(const Communication& communication, const std::vector<int>& group) {
    if (group.size() < 2) return;
    const auto add_path = [this](int from, int to, double weight) {
      add(leaves_over(from, to), kOut, weight);
      add(to, kIn, weight);
    };
    if (communication.op == CollectiveOp::send_receive) {
      if (domain_of(group[0]) != domain_of(group[1])) add_path(group[0], group[1], 1.0);
      return;
    }
    auto domains = members_by_domain(group, [this](int gpu) { return domain_of(gpu); });
    if (communication.op != CollectiveOp::all_to_all) {
      const auto nic_of_node = [this](int gpu) {
        return gpu / cluster_.gpus_per_node * cluster_.nics_per_node + nic_of(gpu);
      };
      if (shares_nics_) {
        for (std::vector<int>& members : domains) members = ring_ends(members, nic_of_node);
      }
      for_each_ring_crossing(communication, group.size(), domains, domains, add_path);
      return;
    }
    for (const std::vector<int>& members : domains) add_all_to_all(group, members);
  }

  /// What the members in one domain send to those of a group in others, and what they receive.
  void add_all_to_all(const std::vector<int>& group, const std::vector<int>& members) {
    const double each = 1.0 / static_cast<double>(group.size() - 1);
    for (const int gpu : members) add(gpu, kIn, each * static_cast<double>(group.size() - members.size()));
    // By place in a node: receivers whose traffic leaves over the same neighbour.
    std::vector<int> receivers(static_cast<size_t>(cluster_.gpus_per_node), 0);
    const auto count = [&](const std::vector<int>& gpus, int by) {
      for (const int gpu : gpus) receivers[static_cast<size_t>(gpu % cluster_.gpus_per_node)] += by;
    };
    count(group, 1);
    count(members, -1);
    for (const int gpu : members) {
      if (!leaves_over_neighbours()) {
        add(gpu, kOut, each * static_cast<double>(group.size() - members.size()));
        continue;
      }
      const int first = gpu - gpu % cluster_.gpus_per_node;
      for (size_t place = 0; place < receivers.size(); ++place) {
        const int neighbour = same_nic(gpu, static_cast<int>(place)) ? gpu : first + static_cast<int>(place);
        add(neighbour, kOut, each * receivers[place]);
      }
    }
  }

  int nic_of(int gpu) const {
    return nic_of_gpu(gpu % cluster_.gpus_per_node, cluster_.gpus_per_node, cluster_.nics_per_node);
  }
  bool same_nic(int a, int b) const { return nic_of(a) == nic_of(b); }

  /// PXN: only on rails is a neighbour's NIC nearer to the receiver.
  bool leaves_over_neighbours() const { return cluster_.pxn && cluster_.rail_optimized; }

  /// The GPU over whose NIC a message leaves: with PXN the one beside the sender whose NIC has the number of
  /// the receiver's, as long as both nodes meet at that NIC's leaf.
  int leaves_over(int from, int to) const {
    const int from_node = from / cluster_.gpus_per_node;
    const int to_node = to / cluster_.gpus_per_node;
    const bool one_leaf = cluster_.nodes_per_leaf == 0 ||
                          from_node / cluster_.nodes_per_leaf == to_node / cluster_.nodes_per_leaf;
    if (!leaves_over_neighbours() || !one_leaf || same_nic(from, to)) return from;
    return from_node * cluster_.gpus_per_node + to % cluster_.gpus_per_node;
  }

  void add(int gpu, Direction direction, double weight) {
    if (weight <= 0.0) return;
    sums_.add(2 * gpu + direction, weight);
    if (!shares_nics_) return;
    const int node = gpu / cluster_.gpus_per_node;
    const int nic = node * cluster_.nics_per_node + nic_of(gpu);
    sums_.add(first_nic_ + 2 * nic + direction, weight);
  }

  const ClusterShape& cluster_;
  bool shares_nics_;
  int first_nic_;
  WeightSums sums_;  // by link, empty outside loads_of()
};

}  // namespace

Traffic nic_traffic(const WorkloadGraph& graph, const ClusterShape& cluster) {
  NicLinks links(cluster);
  Traffic traffic;
  traffic.capacity = links.capacities();
  traffic.stands_for.resize(traffic.capacity.size());
  std::iota(traffic.stands_for.begin(), traffic.stands_for.end(), LinkId{0});
  traffic.flows.resize(graph.communications.size());
  traffic.footprints.resize(graph.communications.size());
  for (size_t i = 0; i < graph.communications.size(); ++i) {
    const Communication& communication = graph.communications[i];
    if (communication.groups.empty()) continue;
    traffic.footprints[i] = links.loads_of(communication);
    traffic.flows[i] = flow_of(communication, !traffic.footprints[i].empty());
  }
  return traffic;
}

}  // namespace orrery
