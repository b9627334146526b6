#pragma once

#include <optional>
#include <string>
#include <vector>

#include "reports/answers/collective_library.hpp"
#include "sim/base/evidence.hpp"
#include "sim/base/json_reader.hpp"
#include "sim/base/quantity.hpp"
#include "sim/collectives/tuner.hpp"
#include "topologies/cluster_spec.hpp"

namespace orrery {

/// What `orrery collective` is asked for.
struct CollectiveQuestion {
  std::string op = "all_reduce";      ///< a CollectiveOp's name, or dispatch or combine
  int ranks = 0;                      ///< 0: all GPUs
  int ranks_per_node = 0;             ///< 0: all of a node's
  int gpus_per_thread = 1;            ///< that one thread of the host drives, as nccl-tests -g
  std::optional<int> calls_in_a_row;  ///< timed together, as nccl-tests -n; none: its 20
  std::vector<double> sizes;  ///< bytes, nccl-tests' convention; of dispatch and combine a rank's own tokens
  std::string library;        ///< empty: rccl on AMD's architectures, else nccl
  std::string version;        ///< NCCL's
  std::string algorithm;      ///< forced; empty: the library chooses
  std::string calibration;    ///< name or file of a profile that holds collectives; may be empty
  bool explain = false;
  std::optional<int> top_k, experts;  ///< of dispatch and combine: 8 of 256
  bool low_latency = false;
};

/// An algorithm that was considered for one size.
struct CollectiveCandidate {
  std::string algorithm, protocol;
  std::string reason;  ///< why it cannot run; empty: it can
  Seconds time;        ///< the library's own estimate
  int channels = 0;
  bool chosen = false;
};

struct CollectiveAnswerRow {
  double bytes = 0;
  double count = 0;  ///< nccl-tests' count of 4-byte elements
  Seconds time;
  double algorithm_bandwidth = 0, bus_bandwidth = 0;  ///< B/s
  std::string algorithm, protocol;                    ///< that run, by the library's own table
  /// What the time was fitted as: an algorithm and protocol, or "curve" where it was measured as it ran.
  std::string timed_as;
  int channels = 0;
  Evidence evidence = Evidence::assumed;
  double relative_spread = 0;
  std::string why;                              ///< one sentence
  std::vector<CollectiveCandidate> candidates;  ///< with explain
};

struct CollectiveAnswer {
  std::string op, gpu, cluster;
  int ranks = 1, nodes = 1, domains = 1, ranks_per_node = 1, gpus_per_thread = 1;
  std::optional<int> calls_in_a_row;
  std::string library, version, source;
  std::string tuner_source;  ///< of the algorithm's choice; empty where no tuner is known
  double profile_error = 0;
  std::string forced;
  std::vector<CollectiveAnswerRow> rows;
  std::vector<std::string> notes;
  ClusterSpec resolved;
  std::string cluster_hash;
};

/// Names that --op takes.
const std::vector<std::string>& collective_op_names();
/// Names that --algorithm takes for a library.
std::vector<std::string> collective_algorithm_names(const std::string& library);

/// Sizes of "A:B" (doubling), "A:B:factor" or "A,B,C". Problems name --sizes.
std::vector<double> read_sizes(const std::string& text, std::vector<InputProblem>& problems);

/// The cluster that a command line names (read_cluster_argument), read and checked.
struct CollectiveCluster {
  ClusterSpec spec;
  std::optional<ClusterShape> usual;  ///< without the latencies that it gives itself, if it gives any
  std::string hash;                   ///< of its text
};
/// @throws InputError
CollectiveCluster read_collective_cluster(const std::string& argument,
                                          const std::vector<std::string>& settings);

/// Times of one collective over sizes. Ranks are the first GPUs of the first nodes; other groups are taken to
/// use the rest of each node at the same time.
/// @throws InputError naming the option that cannot be met
CollectiveAnswer answer_collective(const CollectiveCluster& cluster, const CollectiveQuestion& question);

}  // namespace orrery
