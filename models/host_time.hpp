#pragma once

#include "models/layer_operators.hpp"
#include "models/software_stack.hpp"

namespace orrery {

/// Host time of a pass: its launches, its collectives, and what the framework adds a layer and its experts.
///
/// Graphs over parts of a layer take the launches and collectives of these parts off the host, and of what
/// the framework spends on a layer the share of the plain kernels among them; each start of a graph costs
/// per_graph. Where launches block, each of them (a collective and a graph, too) takes per_blocked_launch
/// more. Exchanges beside another micro-batch's kernels cut the layer into pieces that the host joins
/// (per_overlapped_pass), whatever graphs cover.
/// @param per_layer  the framework's share a layer, of this kind of pass
Seconds host_time(const LayerPass& pass, const SoftwareStack& stack, Seconds per_layer);

/// The part of a pass's host time that follows its wait for token counts (LayerPass::host_wait): collectives,
/// launches and experts from there on, and all that cutting the layer up takes: its first piece alone starts
/// before. Zero without a wait.
///
/// The host cannot run ahead of the GPU over such a wait. With `before` and `after` it, kernels G and host H,
/// a pass among others of its kind takes
///     max(G, H, H_after + G_before):
/// the GPU stands still until the experts' kernels come, and the host starts the rest while they run.
Seconds host_time_after_wait(const LayerPass& pass, const SoftwareStack& stack);

/// Host time of the check before one collective (software.checked_collectives), zero where nothing checks or
/// nobody else is in the group:
///     per_check + per_checked_rank x (ranks - 2), over several nodes + per_checked_node x (nodes + 1).
/// Source: PyTorch, torch/csrc/distributed/c10d/ProcessGroupWrapper.cpp, runCollectiveChecks: a barrier
/// that rank 0 watches (a message from each rank, then one to each), then two Gloo gathers of what is about
/// to run (gloo/allgather.cc: a ring, ranks - 1 steps, of which one a node leaves it). Sends between two
/// ranks are not checked.
Seconds check_time(CollectiveOp op, const GroupShape& shape, const SoftwareStack& stack);

}  // namespace orrery
