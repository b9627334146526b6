#include "models/host_time.hpp"

#include <algorithm>

namespace orrery {
namespace {

/// What cutting the layer up for another micro-batch's kernels costs the host.
Seconds overlapping_time(const LayerPass& pass, const SoftwareStack& stack) {
  const bool overlapped = std::ranges::any_of(pass.items, [](const LayerItem& item) {
    const auto* communication = std::get_if<LayerCommunication>(&item);
    return communication != nullptr && communication->beside_other_micro_batch;
  });
  return overlapped ? stack.host.per_overlapped_pass : Seconds(0);
}

}  // namespace

Seconds host_time(const LayerPass& pass, const SoftwareStack& stack, Seconds per_layer) {
  const SoftwareStack::Host& each = stack.host;
  const GraphedPart& graphed = pass.graphed;
  int collectives = 0;
  for (const LayerItem& item : pass.items) {
    if (const auto* c = std::get_if<LayerCommunication>(&item)) collectives += c->count;
  }
  const double share =
      pass.plain_launches > 0 ? 1.0 - static_cast<double>(graphed.plain_launches) / pass.plain_launches : 1.0;
  Seconds host = per_layer * share + each.per_kernel * (pass.launches - graphed.launches) +
                 each.per_collective * (collectives - graphed.collectives) + each.per_graph * graphed.graphs;
  if (stack.blocking_launches) {
    host += each.per_blocked_launch *
            (pass.launches - graphed.launches + collectives - graphed.collectives + graphed.graphs);
  }
  if (pass.experts > 0) {
    const GraphScope& scope = stack.graph_scope;
    if (!scope.moe_router) host += each.per_moe_router;
    if (!scope.moe_preprocess) host += each.per_moe_preprocess;
    host += each.per_moe_experts + each.per_expert * pass.experts;
  }
  return host + overlapping_time(pass, stack);
}

Seconds host_time_after_wait(const LayerPass& pass, const SoftwareStack& stack) {
  if (pass.host_wait < 0) return Seconds(0);
  const SoftwareStack::Host& each = stack.host;
  Seconds host = each.per_moe_experts + each.per_expert * pass.experts + overlapping_time(pass, stack);
  for (size_t i = static_cast<size_t>(pass.host_wait); i < pass.items.size(); ++i) {
    if (const auto* c = std::get_if<LayerCommunication>(&pass.items[i])) {
      host += each.per_collective * c->count;
    } else {
      host += each.per_kernel * launches_of(pass.items[i]);
    }
  }
  return host;
}

Seconds check_time(CollectiveOp op, const GroupShape& shape, const SoftwareStack& stack) {
  if (!stack.checked_collectives || shape.ranks < 2 || op == CollectiveOp::send_receive) return Seconds(0);
  const SoftwareStack::Host& each = stack.host;
  const Seconds inside = each.per_check + each.per_checked_rank * (shape.ranks - 2);
  return shape.nodes > 1 ? inside + each.per_checked_node * (shape.nodes + 1) : inside;
}

}  // namespace orrery
