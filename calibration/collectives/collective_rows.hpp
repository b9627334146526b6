#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sim/base/json_reader.hpp"
#include "sim/network/group_shape.hpp"
#include "sim/workload/collective.hpp"

namespace orrery {

/// One measured collective call (a line of calibration/data/collectives.jsonl).
struct CollectiveRow {
  CollectiveOp op = CollectiveOp::all_reduce;
  int ranks = 1;
  int nodes = 1;
  int gpus_per_node = 1;  ///< that took part
  double bytes = 0;       ///< nccl-tests' size
  double seconds = 0;
  std::string gpu, fabric, tool, algorithm, note, source;
};

/// What a fabric text means (calibration/data/collective_fabrics.json).
struct MeasuredFabric {
  std::string text;
  NicProtocol protocol = NicProtocol::infiniband;
  int nics_per_node = 1;
  double nic_rate = 0;  ///< B/s
  int gpus_per_node = 1;
  int gpus_per_domain = 1;
};

struct MeasuredGpu {
  std::string name;
  double scale_up_bandwidth = 0;  ///< B/s per direction
  std::string
      pairs_from;  ///< whose send-receive pairs stand for its own, which nobody measured; may be empty
};

struct MeasuredMachines {
  std::vector<std::string> one_domain;  ///< fabric texts whose nodes share one NVLink domain
  std::vector<MeasuredFabric> fabrics;
  std::vector<MeasuredGpu> gpus;
};

/// One line. What lines of kernels/ leave out follows: GPUs a node from ranks and nodes, no fabric,
/// nccl-tests. "send_recv" is send_receive. Problems go to the reader.
CollectiveRow collective_row(const SpecReader& line);

/// All rows of a file; pairs that exchange at once count as groups of two ranks. @throws InputError naming
/// file and line
std::vector<CollectiveRow> read_collective_rows(const std::filesystem::path& file);
/// @throws InputError
MeasuredMachines read_measured_machines(const std::filesystem::path& file);

/// Why a row is not fitted, or empty: degraded or forced settings, outdated plugins, floors without a size,
/// start-up of the tool inside the time, in-network reduction, hardware that is not named, tables known to be
/// off (XLA's all-reduce on hosts with eight GPUs runs without NVLink SHARP; L40S).
std::string reason_unused(const CollectiveRow& row);

/// True if all ranks shared one NVLink domain.
bool inside_one_domain(const CollectiveRow& row, const MeasuredMachines& machines);
/// The group of a row that crosses domains, or nothing if its fabric is not known.
std::optional<GroupShape> shape_across(const CollectiveRow& row, const MeasuredMachines& machines);

}  // namespace orrery
