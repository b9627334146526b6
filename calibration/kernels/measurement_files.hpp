#pragma once

#include <map>
#include <string>
#include <vector>

#include "calibration/kernels/kernel_rules.hpp"
#include "calibration/kernels/measurements.hpp"

namespace orrery {

/// A line that another folder's code reads: its place ("collectives.jsonl:7") and what it says.
struct MeasurementLine {  // NOLINT(bugprone-exception-escape): moving ordered JSON allocates nothing
  std::string place;
  Json json;
};

/// All lines of some files, in their order, by what they measure. GPU names are presets'; lines of hardware
/// that has none (kernel_rules.json names it) are counted and left out.
struct MeasurementSet {
  std::vector<std::string> files;
  std::vector<GemmMeasurement> gemm;
  std::vector<AttentionMeasurement> attention;
  std::vector<MemoryMeasurement> memory;
  std::vector<LaunchMeasurement> launch;
  std::vector<CopyMeasurement> copy;
  std::vector<OverlapMeasurement> overlap;
  std::vector<MeasurementLine> collectives;
  std::map<std::string, int> lines_of_gpu;  ///< all kinds together
  std::map<std::string, int> passed_over;   ///< lines that are not fitted, by reason
  std::map<std::string, int> odd_keys;      ///< "cusal (causal?)": keys that nothing reads but look like one
};

/// Reads files and folders (a folder stands for its *.jsonl, sorted by name). Lines that are measured runs
/// (contract section 4) are passed over.
/// @param gpus  names of all GPU presets
/// @throws InputError with every line that cannot be read: an unknown op or GPU (nearest name first), a
///         missing key, a time that is not positive, a file that is not there; a folder without *.jsonl
MeasurementSet read_measurements(const std::vector<std::string>& files_and_folders,
                                 const std::vector<std::string>& gpus, const KernelRules& rules);

}  // namespace orrery
