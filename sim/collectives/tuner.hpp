#pragma once

#include <array>
#include <cstddef>
#include <optional>

#include "sim/collectives/tuner_constants.hpp"
#include "sim/network/group_shape.hpp"
#include "sim/workload/collective.hpp"

namespace orrery {

/// Why a pair of algorithm and protocol does not run.
enum class TunerRefusal {
  none,
  operation,          ///< the algorithm does not exist for this operation
  protocol,           ///< the algorithm runs in another protocol only
  version,            ///< this version of the library has no such algorithm
  several_nodes,      ///< wants several nodes
  one_node,           ///< wants a single node
  one_gpu_a_node,     ///< wants one GPU a node
  switch_multicast,   ///< wants NVSwitches that reduce (NVLink SHARP)
  nvswitch,           ///< wants NVSwitches
  network_reduction,  ///< wants a CollNet (SHARP) plugin
  group_too_small,    ///< NVLink SHARP wants more than two ranks
  not_asked,          ///< wants symmetric memory windows, which the program must register
  switched_off        ///< by an option
};
/// A phrase for people: "one GPU a node only".
std::string_view reason_of(TunerRefusal refusal);

struct TunerOptions {
  bool network_reduction = false;  ///< a CollNet plugin (SHARP in the network's switches)
  bool nvls = true;                ///< NCCL_NVLS_ENABLE
  bool symmetric = false;          ///< buffers registered as symmetric memory windows
  bool plugin_regions = true;      ///< on EFA, the AWS OFI tuner decides where it has regions
  CpuVendor cpu = CpuVendor::intel;
  int least_channels = 0;                   ///< NCCL_MIN_NCHANNELS (NCCL_MIN_CTAS)
  std::optional<TunerAlgorithm> algorithm;  ///< NCCL_ALGO: no other
  std::optional<WireProtocol> protocol;     ///< NCCL_PROTO: no other
};

/// One line of the library's cost table.
struct TunerCandidate {
  TunerAlgorithm algorithm = TunerAlgorithm::ring;
  WireProtocol protocol = WireProtocol::simple;
  TunerRefusal refusal = TunerRefusal::none;
  double latency = 0;    ///< s
  double bandwidth = 0;  ///< B/s of payload
  double time = 0;       ///< s, latency + payload / bandwidth; 0 if refused
  int channels = 0;

  bool enabled() const { return refusal == TunerRefusal::none; }
};

using TunerTable = std::array<TunerCandidate, static_cast<std::size_t>(kTunerAlgorithms) * kWireProtocols>;

struct TunerChoice {
  TunerAlgorithm algorithm = TunerAlgorithm::ring;
  WireProtocol protocol = WireProtocol::simple;
  int channels = 0;
  double time = 0;         ///< s, the library's own estimate
  bool by_plugin = false;  ///< a tuner plugin's region decided, not the smallest time
  bool possible = true;    ///< false if the options leave nothing that can run
};

/// The library's cost table for one call: every algorithm in every protocol with
///     time = latency + payload / bandwidth
/// as src/graph/tuning.cc has it, or why it cannot run. Pure; allocates nothing; about 0.3 us.
///
/// A "node" of the table is a scale-up domain (an NVL72 rack is one). The search for rings is not repeated:
/// the graph has the architecture's channels at the largest speed of the search's list that the usable
/// scale-up bandwidth allows, and across nodes as much of it as the group's NICs carry; NVLink SHARP has one
/// channel a rank of the node, whose network side runs at the list's speed below a NIC's rate. With these,
/// the observed choices follow (tests/unit/collectives_algorithms).
/// CollNet's gathers take ppn x min(intra, .9 inter) of a graph of one channel a rank.
/// Not modelled: aggregated operations, latencies of the graph itself, CPUs other than x86, a CollNet graph's
/// own search for all-reduces (the rings' is taken), plain trees (their .85), mixed GPUs, paths too long for
/// LL128, registered user buffers, tuner plugins other than AWS OFI's, limits that a communicator sets
/// (NCCL_MAX_CTAS).
/// Source: data/nccl_model.md sections 1 to 6.
/// @param payload bytes > 0 in nccl-tests' convention   @param shape at least two ranks
TunerTable tuner_table(const TunerConstants& constants, CollectiveOp op, double payload,
                       const GroupShape& shape, const TunerOptions& options = {});

/// The smallest time among the enabled pairs, or what a plugin's region says.
TunerChoice choose(const TunerConstants& constants, CollectiveOp op, double payload, const GroupShape& shape,
                   const TunerOptions& options = {});
/// The same from a table that is there already.
TunerChoice choose_from(const TunerTable& table, const TunerConstants& constants, CollectiveOp op,
                        double payload, const GroupShape& shape, const TunerOptions& options = {});

}  // namespace orrery
