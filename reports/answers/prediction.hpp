#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/estimate.hpp"
#include "models/loop_plan.hpp"
#include "models/memory.hpp"
#include "models/parallel_plan.hpp"
#include "reports/answers/memory_assumptions.hpp"
#include "reports/experiment/experiment.hpp"
#include "reports/experiment/resolved.hpp"
#include "sim/engine/link_use.hpp"
#include "sim/timeline/step_timeline.hpp"
#include "sim/workload/workload_graph.hpp"

namespace orrery {

enum class EngineKind { estimate, simulate };
/// What an answer may rest on (design section 5); each has what those before it have.
enum class Tier { datasheet, measured, stack, site };
std::string_view name_of(EngineKind engine);
std::string_view name_of(Tier tier);

/// The calibration that an answer rests on.
struct CalibrationUse {
  std::string profile, source;
  double compute_error = 0;  ///< cross-validated median error of kernel times (fraction)
  double collective_error = 0;
  /// Tier stack and site: the profile of the software stack, its factors that are not one, the runs it was
  /// learned from and its cross-validated error; the same of the site.
  std::string stack, stack_factors, site_factors;
  int stack_runs = 0, site_runs = 0;
  std::optional<double> stack_error, site_error;
  bool interval_from_residuals = false;  ///< the interval rests on cross-validated residuals of the tier
  std::string hash;                      ///< of the kernel profile; empty where no measurement is used
};

/// Graph and timeline of a simulated step, for traces.
struct SimulatedStep {
  WorkloadGraph graph;
  StepTimeline timeline;
};

/// On which nodes of the shared fabric a neighbour runs.
enum class BesidePlacement {
  after,     ///< those after the job's own
  alternate  ///< every second one
};
std::string_view name_of(BesidePlacement placement);

/// The job beside which a step was simulated, and what either costs the other.
struct BesideUse {
  std::string name;
  int gpus = 0;
  BesidePlacement placement = BesidePlacement::after;
  Seconds step_alone, step_together;            ///< on the shared fabric
  Seconds neighbour_alone, neighbour_together;  ///< the neighbour's own step
  /// Of these mean steps, what waits for checkpoints.
  Seconds checkpoint_alone, checkpoint_together;
  Seconds neighbour_checkpoint_alone, neighbour_checkpoint_together;
  std::vector<std::string> binding;  ///< classes of links that cost this job more than alone
  double slowdown() const { return step_together / step_alone; }
  double neighbour_slowdown() const { return neighbour_together / neighbour_alone; }
};

/// All steps of a training, each as long as the one predicted.
struct WholeTraining {
  double tokens = 0;
  double steps = 0;  ///< whole ones: the last may have fewer tokens to go
};

/// The answer to `predict` (contract section 3.1).
struct Prediction {
  std::string name;
  EngineKind engine = EngineKind::simulate;
  bool full_scope = false;
  Tier tier = Tier::measured;
  bool contended = false;
  int gpus = 0;
  std::string gpu;  ///< name of the GPU
  Precision precision = Precision::bf16;

  Seconds step_time;
  std::array<Seconds, 2> interval;  ///< central 80 %, see spread_interval
  double spread = 0;                ///< sd of ln(step time) that the times of kernels and collectives leave
  double samples_per_s = 0, tokens_per_s = 0;
  std::optional<WholeTraining> whole_training;  ///< with training.tokens
  std::optional<double> dollars_per_hour;       ///< of the cluster, with cluster.price
  Flops model_flops, hardware_flops;            ///< of one step, all GPUs
  double mfu = 0, hfu = 0;
  Breakdown breakdown{};  ///< seconds by term; sums to step_time
  std::array<Evidence, kBreakdownTerms> term_evidence{};
  Evidence evidence = Evidence::assumed;
  std::vector<CommunicationTotal> communication;
  std::vector<LinkClassUse> links;  ///< with engine simulate only
  std::optional<BesideUse> beside;

  std::shared_ptr<const LoopPlan> loop;  ///< what surrounds the step; null: nothing

  MemoryUse memory;
  Bytes memory_capacity;
  std::vector<MemoryAssumption> memory_assumptions;  ///< with echo: what the verdict rests on, not given
  bool fits() const { return memory.peak <= memory_capacity; }

  ParallelPlan plan;
  std::int64_t micro_batches = 0;
  CalibrationUse calibration;
  std::optional<MeasuredRun> measured;
  std::optional<double> error;  ///< predicted / measured - 1 on step time
  std::vector<std::string> warnings;
  std::int64_t tasks = 0;

  ResolvedExperiment experiment;
  std::shared_ptr<const SimulatedStep> simulated;  ///< with engine simulate only

  double model_tflops_per_gpu() const { return model_flops.base() / step_time.base() / gpus / 1e12; }
  double hardware_tflops_per_gpu() const { return hardware_flops.base() / step_time.base() / gpus / 1e12; }
};

}  // namespace orrery
