#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "reports/answers/comparable_prediction.hpp"
#include "reports/answers/scale_points.hpp"

namespace orrery {

struct ScaleOptions {
  PredictOptions predict;
  ScalingKind kind = ScalingKind::weak;
  std::vector<int> gpus;  ///< points in the order of the answer; the first that is legal is the reference
  int threads = 1;
  std::function<void(int done, int total)> progress;  ///< called from one thread at a time; may be empty
  const std::atomic<bool>* stop =
      nullptr;  ///< set by a signal handler: finish the points in work, then return
};

/// What one term costs a point against the reference.
struct TermLoss {
  BreakdownTerm term = BreakdownTerm::other;
  double delta_s = 0;  ///< seconds of the step beyond the reference's for the same tokens a GPU
  double loss = 0;     ///< the same as a share of the point's step: the losses add up to 1 - efficiency
  std::string reason;  ///< in plain words; empty for a loss of less than a thousandth
};

struct ScalingPoint {
  int gpus = 0;
  std::int64_t global_batch = 0;
  std::string reason;        ///< of a refusal; empty for a point that was predicted
  std::vector<int> nearest;  ///< of a refusal
  std::optional<ComparablePrediction> answer;
  double efficiency = 0;  ///< tokens/s per GPU over the reference's
  std::array<double, 2> efficiency_interval{};
  std::vector<TermLoss> losses;  ///< every term

  bool fits() const { return !answer || answer->prediction.fits(); }
};

/// The answer to `scale` (contract section 3.2).
struct Scaling {  // NOLINT(bugprone-exception-escape): moving ordered JSON allocates nothing
  ScalingKind kind = ScalingKind::weak;
  EngineKind engine = EngineKind::simulate;
  bool full_scope = false;
  Tier tier = Tier::measured;
  std::string name;
  int reference_gpus = 0;
  std::vector<ScalingPoint> points;
  std::vector<std::string> warnings;  ///< of the predictions, each once
  bool interrupted = false;
  ResolvedExperiment experiment;  ///< as given, before it was resized

  bool fits() const;
};

/// Loss of every term of a point against a reference.
///
/// With x the seconds of a term in a step of T tokens on N GPUs, the GPU-seconds a token are x N / T, so that
///     delta = x - x0 * (T N0) / (T0 N),    loss = delta / step,    sum of losses = 1 - efficiency.
std::vector<TermLoss> losses_against(const ComparablePrediction& reference,
                                     const ComparablePrediction& point);

/// Predicts the experiment at every number of GPUs. Same answer at any number of threads. A number that the
/// plan, the batch or the fabric rules out is a refused point with its reason.
/// @throws InputError if every point is refused
Scaling scale(const Experiment& experiment, const ScaleOptions& options);

}  // namespace orrery
