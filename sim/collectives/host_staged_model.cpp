#include "sim/collectives/host_staged_model.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "sim/collectives/closed_forms.hpp"

namespace orrery {
namespace {

/// The group as host processes see it.
struct Processes {
  double ranks, nodes, per_node;
  double alpha;       ///< s, a message of a ring or tree that crosses hosts where there are several
  double inside;      ///< B/s between two processes of a host
  double one_stream;  ///< B/s of a single process into the network, alone on its host
  double each;        ///< B/s into the network of each process when all of a host send
  double exchange;    ///< the same when each sends to all others

  Processes(const HostStagedConstants& constants, const GroupShape& shape)
      : ranks(shape.ranks), nodes(shape.nodes), per_node(std::ceil(ranks / nodes)) {
    const double rate = shape.scale_out_per_rank.base();
    const double nic = shape.nic_bandwidth.base() > 0.0 ? shape.nic_bandwidth.base() : rate;
    inside = constants.shared_memory_rate;
    alpha = constants.message_latency_inside;
    each = exchange = inside;
    one_stream = inside;
    if (nodes > 1.0) {
      alpha = constants.message_latency_network + shape.network_latency.base();
      each = std::min(constants.process_rate, constants.network_efficiency * rate);
      exchange =
          std::min(constants.process_rate, constants.network_efficiency * shape.exchange_rate().base());
      one_stream =
          std::min(constants.process_rate, constants.network_efficiency * std::min(nic, per_node * rate));
    }
  }

  double levels() const { return tree_depth(static_cast<int>(ranks)); }
  /// Slowest hop of a chain through all ranks.
  double chain_rate() const { return per_node > 1.0 ? std::min(inside, one_stream) : one_stream; }
  /// Time for a payload that is halved (or doubled) step by step, inside the hosts first: (1 - 1/r) of it
  /// moves inside, (1 - 1/N) of the rest across.
  double halving_time(double payload) const {
    return payload * (1.0 - 1.0 / per_node) / inside + payload / per_node * (1.0 - 1.0 / nodes) / each;
  }
  /// The whole payload at each of the steps of recursive doubling.
  double doubling_time(double payload) const {
    const double across = tree_depth(static_cast<int>(nodes));
    return payload * ((levels() - across) / inside + across / each);
  }
};

void add(HostStagedTable& table, std::string_view algorithm, double latency, double transfer) {
  table.candidates[static_cast<size_t>(table.count++)] = {algorithm, latency, transfer, 0.0};
}

HostStagedTable network_table(const HostStagedConstants& constants, CollectiveOp op, double payload,
                              const GroupShape& shape) {
  const Processes group(constants, shape);
  const double n = group.ranks;
  const double others = (n - 1.0) / n;
  const double adding = others * payload / constants.reduce_rate;
  HostStagedTable table;
  switch (op) {
    case CollectiveOp::all_reduce:
      add(table, "ring", 2.0 * (n - 1.0) * group.alpha, 2.0 * others * payload / group.chain_rate() + adding);
      if (constants.rings_only) break;
      add(table, "recursive_doubling", group.levels() * group.alpha,
          group.doubling_time(payload) + group.levels() * payload / constants.reduce_rate);
      add(table, "rabenseifner", 2.0 * group.levels() * group.alpha,
          2.0 * group.halving_time(payload) + adding);
      break;
    case CollectiveOp::reduce_scatter:
    case CollectiveOp::all_gather: {
      const double sums = op == CollectiveOp::reduce_scatter ? adding : 0.0;
      add(table, "ring", (n - 1.0) * group.alpha, others * payload / group.chain_rate() + sums);
      if (constants.rings_only) break;
      add(table, op == CollectiveOp::reduce_scatter ? "recursive_halving" : "recursive_doubling",
          group.levels() * group.alpha, group.halving_time(payload) + sums);
      break;
    }
    case CollectiveOp::broadcast:
      add(table, "binomial_tree", group.levels() * group.alpha, group.doubling_time(payload));
      if (constants.rings_only) break;
      add(table, "scatter_all_gather", (group.levels() + n - 1.0) * group.alpha,
          2.0 * others * payload / group.chain_rate());
      break;
    case CollectiveOp::all_to_all:
      add(table, "pairwise", (n - 1.0) * group.alpha,
          payload * (n - group.per_node) / n / group.exchange +
              payload * (group.per_node - 1.0) / n / group.inside);
      break;
    case CollectiveOp::send_receive:
      add(table, "p2p", group.alpha, payload / group.each);
      break;
  }
  return table;
}

bool is_ratio(double value) { return value > 0.0 && value <= 1.0; }

}  // namespace

HostStagedModel::HostStagedModel(HostStagedConstants constants) : constants_(std::move(constants)) {
  const HostStagedConstants& c = constants_;
  if (!(c.host_link > 0.0) || !(c.process_rate > 0.0) || !(c.shared_memory_rate > 0.0) ||
      !(c.reduce_rate > 0.0)) {
    throw std::invalid_argument("collectives through the host (" + c.library +
                                "): every rate must be above zero");
  }
  if (!is_ratio(c.copy_efficiency) || !is_ratio(c.network_efficiency)) {
    throw std::invalid_argument("collectives through the host (" + c.library +
                                "): every efficiency must lie in (0, 1]");
  }
  if (c.copy_latency < 0.0 || c.call_latency < 0.0 || c.message_latency_inside < 0.0 ||
      c.message_latency_network < 0.0 || c.segment_bytes < 0.0) {
    throw std::invalid_argument("collectives through the host (" + c.library +
                                "): no latency may be negative");
  }
}

HostStagedTable HostStagedModel::table(CollectiveOp op, double payload, const GroupShape& shape) const {
  HostStagedTable table = network_table(constants_, op, payload, shape);
  const double copy_rate = constants_.host_link * constants_.copy_efficiency;
  const double share = 1.0 / shape.ranks;
  const double down = payload * (op == CollectiveOp::all_gather ? share : 1.0) / copy_rate;
  const double up = payload * (op == CollectiveOp::reduce_scatter ? share : 1.0) / copy_rate;
  const double segments =
      constants_.segment_bytes > 0.0 ? std::max(1.0, payload / constants_.segment_bytes) : 1.0;
  for (int i = 0; i < table.count; ++i) {
    HostStagedCandidate& candidate = table.candidates[static_cast<size_t>(i)];
    candidate.latency += constants_.call_latency + 2.0 * constants_.copy_latency;
    const double slowest = std::max({down, candidate.transfer, up});
    candidate.transfer = slowest + (down + candidate.transfer + up - slowest) / segments;
    candidate.total = candidate.latency + candidate.transfer;
  }
  return table;
}

CollectiveTime HostStagedModel::time(CollectiveOp op, Bytes payload, const GroupShape& shape) const {
  CollectiveTime result;
  result.evidence = Evidence::measured;  // nothing to send takes no time
  if (shape.ranks <= 1 || !(payload.base() > 0.0)) return result;
  const HostStagedTable all = table(op, payload.base(), shape);
  const auto best = std::min_element(
      all.candidates.begin(), all.candidates.begin() + all.count,
      [](const HostStagedCandidate& a, const HostStagedCandidate& b) { return a.total < b.total; });
  result.latency = seconds(best->latency);
  result.transfer = seconds(best->transfer);
  result.algorithm = best->algorithm;
  result.protocol = "host_staged";
  result.channels = 1;
  result.bus_bandwidth = payload.base() * bus_factor(op, shape.ranks) / result.total().base();
  result.relative_spread = constants_.relative_spread;
  result.evidence = Evidence::assumed;
  return result;
}

}  // namespace orrery
