#pragma once

#include "models/step_plan.hpp"

namespace orrery {

/// What passes over a layer take the host to launch and the GPU to run: how far the first is ahead of the
/// second. The default is a host that is never ahead.
struct HostLead {
  Seconds host_forward, forward;
  Seconds host_backward, backward;
  int launches = 0;  ///< of a layer's forward, collectives with them

  /// Layers whose forward the host has launched and the GPU has not run when the forward passes of a stage
  /// are all launched.
  ///
  /// Host and GPU begin together; over n layers in a row the host gains n (1 - host / GPU). Without a
  /// pipeline nothing stops it between micro-batches (the step's end does), so that a later one begins with
  /// what those before it have gained in both their passes; with one, what a stage receives stops it: only
  /// the first stage launches the forwards that fill the pipeline in a row. In the first step its GPU waits
  /// with the second micro-batch's send for a next stage that sets up its own first message (PyTorch creates
  /// a communicator at its first use), and what the host launches of the later ones meanwhile queues up;
  /// blocks once reserved stay so. No more waits than a stream queues.
  /// @param layers    of the stage
  /// @param in_a_row  forward passes of micro-batches that nothing stops the host between
  /// @param before    micro-batches, forward and backward, that the host was not stopped after
  double layers_queued(double layers, double in_a_row, double before) const;
};

/// The mean layer's; a pass that the host holds up, or one whose launches block, leaves no lead.
HostLead host_lead(const LayerCosts& costs);

}  // namespace orrery
