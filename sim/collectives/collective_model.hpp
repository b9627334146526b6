#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "sim/base/evidence.hpp"
#include "sim/base/quantity.hpp"
#include "sim/network/group_shape.hpp"
#include "sim/workload/collective.hpp"

namespace orrery {

/// Uncontended time of one collective call and how the library runs it.
struct CollectiveTime {
  Seconds latency;                      ///< start-up plus the latency of the algorithm's steps: no byte flows
  Seconds transfer;                     ///< bytes over the rate that the links (and the library) leave
  std::string_view algorithm = "ring";  ///< "ring", "tree", "nvls", "p2p"
  std::string_view protocol = "simple";  ///< "ll", "ll128", "simple"
  int channels = 0;
  double bus_bandwidth =
      0;  ///< B/s in nccl-tests' convention: payload x factor(op, ranks) / (latency + transfer)
  double relative_spread = 0;
  Evidence evidence = Evidence::assumed;

  Seconds total() const { return latency + transfer; }
};

/// The same call where all of it takes `factor` times as long.
inline CollectiveTime slowed(CollectiveTime time, double factor) {
  time.latency *= factor;
  time.transfer *= factor;
  if (factor > 0.0) time.bus_bandwidth /= factor;
  return time;
}

/// How long a collective takes on a group that has the links to itself. Thread-safe.
class CollectiveModel {
 public:
  virtual ~CollectiveModel() = default;
  /// @param payload nccl-tests' size: all_reduce, broadcast, send_receive: bytes of one rank's buffer;
  /// all_gather and reduce_scatter: bytes of the whole (gathered / unscattered) buffer; all_to_all: bytes a
  /// rank sends in all, its own share included. One rank or no bytes cost zero.
  virtual CollectiveTime time(CollectiveOp op, Bytes payload, const GroupShape& shape) const = 0;
  /// Memory that the library keeps on each GPU for a communicator with this shape.
  virtual Bytes buffer_bytes(const GroupShape& shape) const = 0;
  /// Whether time() takes the latencies of the network and inside a domain from the shape. Fitted models hold
  /// for those of the clusters that they were measured on, whatever the shape says.
  virtual bool follows_latencies() const { return false; }
  virtual double profile_error() const = 0;
  /// The same of the part that times this group: inside a domain or across.
  virtual double error_on(const GroupShape&) const { return profile_error(); }
  virtual std::string profile_source() const = 0;
};

/// nccl-tests' bus bandwidth factor: 2(n-1)/n for all_reduce, (n-1)/n for all_gather, reduce_scatter,
/// all_to_all, 1 else.
double bus_factor(CollectiveOp op, int ranks);

}  // namespace orrery
