#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/json_reader.hpp"
#include "sim/collectives/one_thread.hpp"
#include "sim/network/group_shape.hpp"
#include "sim/workload/collective.hpp"

namespace orrery {

/// One measured collective call (a line of calibration/data/collectives.jsonl).
struct CollectiveRow {
  CollectiveOp op = CollectiveOp::all_reduce;
  int ranks = 1;
  int nodes = 1;
  int gpus_per_node = 1;                 ///< that took part
  int gpus_per_thread = 1;               ///< driven by one thread of the host (nccl-tests -g)
  bool thread_inferred = false;          ///< that is not the source's word, but ours
  double calls_in_a_row = kCallsInARow;  ///< that were timed together
  bool copies_payload = false;           ///< in the timed program, before the call
  double bytes = 0;                      ///< nccl-tests' size
  double seconds = 0;
  std::string gpu, fabric, tool, library_version, algorithm, note, source;
};

/// What a fabric text means (calibration/data/collective_fabrics.json).
struct MeasuredFabric {
  std::string text;
  NicProtocol protocol = NicProtocol::infiniband;
  int nics_per_node = 1;
  double nic_rate = 0;            ///< B/s
  double payload_efficiency = 1;  ///< of its protocol: share of the line rate left for payload
  int gpus_per_node = 1;
  int gpus_per_domain = 1;
  double host_link = 0;  ///< B/s between a GPU and its NIC where that is less; 0: no limit
};

struct MeasuredGpu {
  std::string name;
  double scale_up_bandwidth = 0;  ///< B/s per direction
  double copy_bandwidth = 0;      ///< B/s of its memory, read and written; 0: not known
  std::string generation;         ///< GPUs of one generation predict one another
  int gpus_per_domain = 8;
  int gpus_per_host = 0;  ///< of a domain over several hosts; 0: one host
  int mesh_gpus = 0;      ///< GPUs that are linked pair by pair instead of by a switch; 0: a switch
  bool in_network_reduction = false;
  bool profile = true;  ///< false: its rows help its generation, no profile is written
  std::string
      pairs_from;  ///< whose send-receive pairs stand for its own, which nobody measured; may be empty
};

struct MeasuredMachines {
  /// @throws std::invalid_argument for a GPU that is not listed
  const MeasuredGpu& gpu(std::string_view name) const;
  std::vector<std::string> one_domain;  ///< fabric texts whose nodes share one NVLink domain
  std::vector<MeasuredFabric> fabrics;
  std::vector<MeasuredGpu> gpus;
};

/// One line. What lines of kernels/ leave out follows: GPUs a node from ranks and nodes, no fabric,
/// nccl-tests. "send_recv" is send_receive. Problems go to the reader.
CollectiveRow collective_row(const SpecReader& line);

/// Rows of a file, and how many were passed over for which reason: another operation (DeepEP's expert
/// exchange) or no payload or no time stated.
struct CollectiveRows {
  std::vector<CollectiveRow> rows;
  std::map<std::string, int> passed_over;
};
/// All rows of a file; pairs that exchange at once count as groups of two ranks. @throws InputError naming
/// file and line
CollectiveRows read_collective_rows(const std::filesystem::path& file);
/// @throws InputError
MeasuredMachines read_measured_machines(const std::filesystem::path& file);

/// Why a row is neither fitted nor scored, or empty: printed in another source too, degraded or forced
/// settings, floors without a size, start-up of the tool inside the time, in-network reduction, hardware or
/// operation that is not named, a host that its note calls slow, a broken one (L40S: 2 GB/s over PCIe).
std::string reason_unused(const CollectiveRow& row);
/// GPUs that reach their NIC through the host: MeasuredFabric::host_link says how fast.
inline constexpr std::string_view kNotAligned = "GPU and NIC not aligned";
/// Why a row that is scored is not fitted, or empty: set-ups that nobody should expect (outdated plugins of
/// EFA by their note or an NCCL of 2021, and kNotAligned).
std::string reason_not_fitted(const CollectiveRow& row);

/// True if the launches of a thread with several GPUs may show in the time: below 64 MiB, which take longer
/// than the launches of eight GPUs do. Such rows are scored with them (sim/collectives/one_thread.hpp), and
/// neither curves nor a user's own profile are fitted to them.
bool is_held_up_by_launches(const CollectiveRow& row);

/// The same of a call that was timed among fewer than kCallsInARow: it holds its start.
bool holds_its_start(const CollectiveRow& row);

/// Takes out of the row's time the copy of its input that the timed program makes first: XLA's all-reduce
/// works in place (openxla/xla xla/hlo/analysis/alias_info.cc, all-reduce-start) and must not change its
/// argument.
/// @throws std::invalid_argument if the GPU's copy_bandwidth is not known
void take_copy_out(CollectiveRow& row, const MeasuredMachines& machines);

/// True if all ranks shared one NVLink domain.
bool inside_one_domain(const CollectiveRow& row, const MeasuredMachines& machines);
/// The group of a row that crosses domains, or nothing if its fabric is not known.
std::optional<GroupShape> shape_across(const CollectiveRow& row, const MeasuredMachines& machines);

}  // namespace orrery
