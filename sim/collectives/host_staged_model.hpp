#pragma once

#include <array>
#include <string>
#include <string_view>

#include "sim/base/quantile.hpp"
#include "sim/collectives/collective_model.hpp"

namespace orrery {

/// How a library without GPU transports (MPI, Gloo) moves a GPU's buffer: down to the host, through the
/// host's network stack, up again. SI units.
struct HostStagedConstants {
  std::string library;  ///< "mpi", "gloo"
  std::string source;
  double host_link = 0;                ///< B/s, PCIe per GPU and direction, as the vendor counts
  double copy_efficiency = 1;          ///< share of it that copies reach
  double copy_latency = 0;             ///< s, one copy with its synchronisation
  double segment_bytes = 0;            ///< copies and network overlap in segments; 0: one after the other
  double call_latency = 0;             ///< s
  double message_latency_inside = 0;   ///< s, software of one message between processes of a host
  double message_latency_network = 0;  ///< s, the same between hosts, beside the fabric's latency
  double process_rate = 0;             ///< B/s that one process' network stack carries
  double network_efficiency = 1;       ///< of the NICs
  double shared_memory_rate = 0;       ///< B/s between two processes of a host
  double reduce_rate = 0;              ///< B/s of payload that a process adds up
  bool rings_only = false;             ///< no trees and recursive algorithms for reductions and gathers
  double relative_spread = 0.5;
};

/// One of the algorithms that the library may run.
struct HostStagedCandidate {
  std::string_view algorithm;
  double latency = 0;   ///< s, messages of all steps
  double transfer = 0;  ///< s, bytes through network, shared memory and additions
  double total = 0;     ///< s, with the copies
};
struct HostStagedTable {
  std::array<HostStagedCandidate, 3> candidates;
  int count = 0;
};

/// MPI or Gloo on GPU buffers. With D bytes copied down, U up, W the time of the network algorithm's bytes
/// and k = payload / segment segments (one if the library does not pipeline),
///     t = call + 2 copies' latency + messages + m + (D/c + W + U/c - m) / k,   m = max(D/c, W, U/c)
/// the slowest stage runs all the time, the others fill the pipe once. Reductions: ring, recursive doubling
/// or Rabenseifner's; broadcasts: binomial tree or scatter and gather; all-to-alls: pairwise. The fastest
/// runs. Closed forms: sim/collectives/block_closed_forms.hpp. Holds: no time below the PCIe copies or what
/// must cross the NICs; more bytes are never faster. Thread-safe; allocates nothing.
class HostStagedModel final : public CollectiveModel {
 public:
  /// @throws std::invalid_argument unless every rate is positive, every efficiency in (0, 1], no latency
  /// negative
  explicit HostStagedModel(HostStagedConstants constants);

  CollectiveTime time(CollectiveOp op, Bytes payload, const GroupShape& shape) const override;
  /// Staging buffers are the host's: none on the GPU.
  Bytes buffer_bytes(const GroupShape& /*shape*/) const override { return Bytes(); }
  /// Messages cross the network with the shape's latency; inside a host they are the library's software.
  bool follows_latencies() const override { return true; }
  double profile_error() const override { return kMedianDeviation * constants_.relative_spread; }
  std::string profile_source() const override { return constants_.source; }

  /// Every algorithm for a call of at least two ranks and one byte.
  HostStagedTable table(CollectiveOp op, double payload, const GroupShape& shape) const;

 private:
  HostStagedConstants constants_;
};

}  // namespace orrery
