#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/evidence.hpp"
#include "sim/base/quantity.hpp"
#include "sim/workload/operator.hpp"

namespace orrery {

/// A name that measured tables use for a GPU, and the preset it means; none if it means no preset's.
struct GpuName {
  std::string name, gpu;
};

/// A GPU that stands for another.
struct StandIn {
  std::string gpu, from;
};

/// Which tables tell an attention kernel's times where that is not simply the table of its own name.
struct AttentionTable {
  std::string gpu;
  AttentionKernel kernel = AttentionKernel::cudnn;
  std::vector<std::string> tables;
  double ramp = 0.0;             ///< expected; final where all rows have one length; 0: as everywhere
  std::optional<double> narrow;  ///< AttentionParameters::narrow, where no row has narrow heads; as `ramp`
  std::string note;
};

/// An attention kernel that takes another's parameters when it has no rows: the same kernel on a relative, or
/// a slower relative on the same GPU.
struct LentAttention {
  std::string gpu;
  AttentionKernel kernel = AttentionKernel::cudnn;
  std::string from_gpu;
  AttentionKernel from_kernel = AttentionKernel::cudnn;
  std::optional<double> efficiency;  ///< factor on the share of the peak; none: the same absolute rate
  std::optional<double> backward;    ///< the same factor of backwards; none: as `efficiency`
  std::optional<double> narrow;      ///< AttentionParameters::narrow, where the slower relative's is another
  Evidence evidence = Evidence::assumed;
  std::string source;
};

/// What memory-bound kernels are taken to reach where nothing of the architecture was measured.
struct MemoryRules {
  double any_share = 1.0;
  Seconds any_launch;
  std::string any_source;
  double by_index = 1.0;  ///< share of kernels that move by an index over that of streaming ones
  std::string by_index_source;
};

/// Whose step-down (sustained.hpp) an architecture has: measured on a GPU, or the geometric mean of others'.
struct StepDownRule {
  std::string architecture, gpu;
  std::vector<std::string> mean_of;
  std::string source;
};

/// What the measured tables do not say about one another (calibration/data/kernel_rules.json).
struct KernelRules {
  std::vector<GpuName> gpu_names;
  std::vector<StandIn> same_chip;      ///< GPUs that carry the chip of a measured one
  std::vector<StandIn> architectures;  ///< `gpu` is an architecture: its nearest measured GPU
  std::vector<std::string> unlike;     ///< architectures that no measured GPU can stand for
  std::string otherwise;               ///< nearest of any other architecture
  std::vector<AttentionTable> attention_tables;
  std::vector<LentAttention> attention_lent;
  MemoryRules memory;
  std::vector<StandIn> burst_of, search_of;  ///< whose burst table, whose search stands for a GPU's
  std::vector<StepDownRule> step_downs;
  std::string step_down_otherwise;  ///< architecture whose step-down the others take
};

/// @throws InputError with every problem of the file
KernelRules read_kernel_rules(const std::string& path);
/// The rules that ship. @throws InputError
KernelRules shipped_kernel_rules();

/// The stand-in's name, or nothing.
std::optional<std::string> stand_in_for(const std::vector<StandIn>& list, std::string_view gpu);
/// The rule for a table's name of a GPU, or nothing.
const GpuName* gpu_name_of(const KernelRules& rules, std::string_view name);

}  // namespace orrery
