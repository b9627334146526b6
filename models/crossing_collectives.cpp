#include "models/crossing_collectives.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "models/loop_plan.hpp"

namespace orrery {
namespace {

/// Sums over the calls of one group kind.
struct Sums {
  double exposed_s = 0, latency_s = 0, wire_bytes = 0;
  double most_exposed_s = 0;  ///< of one call's kind: whose algorithm and groups stand for all
  std::array<double, 6> exposed_by_op{};
};

void add_part(const PartCost& part, double times, GroupKind group, Sums& sums, CrossingTraffic& traffic) {
  for (const InlineCommunication& call : part.communications) {
    if (call.group != group || call.exposed <= Seconds(0)) continue;
    const double exposed = call.exposed.base() * times;
    if (!call.crosses_domains) {
      // Another of the kind's groups (slices of experts inside a node): taken out with those that cross, it
      // puts nothing on the network.
      sums.exposed_s += exposed;
      sums.latency_s += exposed;
      continue;
    }
    // What hides beside kernels or attention stays out, bytes and all.
    const double share = call.exposed / (call.each.total() * call.count);
    sums.exposed_s += exposed;
    sums.latency_s += exposed * (call.each.latency / call.each.total());
    sums.wire_bytes += call.payload.base() * bus_factor(call.op, call.ranks) * call.count * share * times;
    sums.exposed_by_op[static_cast<size_t>(call.op)] += exposed;
    if (group != GroupKind::expert) traffic.ranks = call.ranks;
    traffic.evidence = weaker(traffic.evidence, call.each.evidence);
    if (exposed > sums.most_exposed_s) {
      sums.most_exposed_s = exposed;
      if (group == GroupKind::expert) {  // whose groups differ
        traffic.members = call.members;
        traffic.ranks = call.ranks;
      }
      traffic.algorithm = call.each.algorithm;
      traffic.protocol = call.each.protocol;
    }
  }
}

}  // namespace

std::vector<CrossingTraffic> crossing_traffic(const StepPlan& plan) {
  std::vector<CrossingTraffic> result;
  for (const auto& [group, members] :
       {std::pair(GroupKind::tensor, Members::tensor), std::pair(GroupKind::context, Members::context),
        std::pair(GroupKind::expert, Members::expert)}) {
    CrossingTraffic traffic;
    traffic.group = group;
    traffic.members = members;
    traffic.evidence = Evidence::measured;
    Sums sums;
    add_part(plan.costs->embedding, 1, group, sums, traffic);
    add_part(plan.costs->head, 1.0 + plan.costs->mtp_layers, group, sums, traffic);
    add_part(plan.costs->mtp, plan.costs->mtp_layers, group, sums, traffic);
    const std::vector<int>& kinds = plan.costs->kind_of_layer;
    for (size_t kind = 0; kind < plan.costs->kinds.size(); ++kind) {
      const auto layers = std::count(kinds.begin(), kinds.end(), static_cast<int>(kind));
      add_part(plan.costs->kinds[kind].layer, static_cast<double>(layers), group, sums, traffic);
    }
    if (sums.exposed_s <= 0 || sums.wire_bytes <= 0) continue;
    const auto most = std::max_element(sums.exposed_by_op.begin(), sums.exposed_by_op.end());
    traffic.op = static_cast<CollectiveOp>(most - sums.exposed_by_op.begin());
    // A ring of sends loads the links as an all_gather does; send_receive would be one pair.
    if (traffic.op == CollectiveOp::send_receive) traffic.op = CollectiveOp::all_gather;
    traffic.payload_per_s = sums.wire_bytes / bus_factor(traffic.op, traffic.ranks) / sums.exposed_s;
    traffic.latency_share = sums.latency_s / sums.exposed_s;
    result.push_back(traffic);
  }
  return result;
}

bool kinds_of_traffic_meet(const StepPlan& plan) {
  if (plan.stages() > 1 && (plan.reduce_every_micro_batch || plan.placement.chains() > 1)) return true;
  const bool beside = plan.sharded.enabled || plan.reduce_overlapped ||
                      plan.gather_at == GatherAt::next_forward ||
                      (plan.loop && !plan.loop->sync.push.empty());
  return beside && !crossing_traffic(plan).empty();
}

std::vector<SplitStep> split_segment(const Segment& segment, const std::vector<CrossingTraffic>& traffic,
                                     int layers_a_step) {
  std::vector<SplitStep> steps;
  const auto begin_step = [&] {
    SplitStep step;
    step.segment.name = segment.name;
    step.exposed_s.assign(traffic.size(), 0.0);
    steps.push_back(std::move(step));
  };
  begin_step();
  int layers = 0;
  int layer = -1;
  for (const Piece& piece : segment.pieces) {
    const auto crossing = std::find_if(traffic.begin(), traffic.end(),
                                       [&piece](const CrossingTraffic& t) { return t.is(piece.term); });
    if (piece.layer != layer) {
      layer = piece.layer;
      if (layer >= 0 && ++layers > layers_a_step) {
        layers = 1;
        begin_step();
      }
    }
    if (crossing != traffic.end()) {
      steps.back().exposed_s[static_cast<size_t>(crossing - traffic.begin())] += piece.duration.base();
    } else {
      steps.back().segment.pieces.push_back(piece);
      steps.back().segment.duration += piece.duration;
    }
  }
  return steps;
}

int layers_a_step(const StepPlan& plan, int ranks, double most_tasks) {
  double layers = 0;
  for (const VirtualStage& stage : plan.virtual_stages) layers += stage.layers;
  // A layer is one segment and one communication in the forward and again in the backward.
  const double tasks = 4.0 * layers / plan.stages() * plan.micro_batches * ranks;
  return std::max(1, static_cast<int>(std::ceil(tasks / most_tasks)));
}

}  // namespace orrery
