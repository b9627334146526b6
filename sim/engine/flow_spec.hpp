#pragma once

namespace orrery {

/// A communication as the executor sees it.
struct FlowSpec {
  double wire_bytes = 0.0;
  double rate_bound = 0.0;  ///< wire bytes over the uncontended transfer time, B/s; 0 if nothing flows
};

}  // namespace orrery
