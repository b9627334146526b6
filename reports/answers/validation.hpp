#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "reports/answers/effects.hpp"
#include "reports/answers/plan_ranking.hpp"
#include "reports/answers/predict_options.hpp"
#include "reports/answers/prediction.hpp"
#include "reports/experiment/resolved.hpp"

namespace orrery {

/// One measured run, predicted or refused.
struct ValidationRow {
  std::string id, source_group;
  std::string gpu = "unknown";  ///< unknown where the cluster itself is refused
  std::string precision = "unknown";
  std::string model_kind;      ///< "dense", "moe", "encoder" or "lora"
  std::string parallel;        ///< degrees above one, "tensor+pipeline+data"; "single" for one GPU
  std::string workload, plan;  ///< workload_key, plan_key
  bool scored = false;
  std::string reason;  ///< of a refusal: the first problem
  double measured_step_s = 0;
  double predicted_step_s = 0;
  std::array<double, 2> interval_s{};
  double error = 0;
  Breakdown breakdown{};  ///< of the prediction: seconds by term
  /// At tier measured, where the validation is of a tier that learns from step times.
  std::optional<double> error_at_measured;
  std::optional<double> measured_mfu;  ///< from the measured step time, for the null model
  std::optional<double> null_error;
  std::optional<double> peak_memory_error;
  bool fits = true;            ///< in the GPU's memory, as predicted
  bool memory_of_gpu = false;  ///< of everything on the GPU; otherwise of the framework's allocator

  bool inside_interval() const {
    return measured_step_s >= interval_s[0] && measured_step_s <= interval_s[1];
  }
};

/// Errors over a group of rows. Statistics are over the scored rows, absent where there are none.
struct ValidationSummary {
  std::string by, group;  ///< "gpu", "h100-sxm-80gb"
  int rows = 0, scored = 0;
  std::optional<double> mape;    ///< mean of |error|
  std::optional<double> median;  ///< of |error|
  std::optional<double> p90;     ///< of |error|
  std::optional<double> bias;    ///< mean of the signed error
  std::optional<double> worst;   ///< the signed error of largest size
  std::optional<double> interval_coverage;
  /// Spearman's correlation of predicted and measured step times within each source, averaged over the
  /// sources by rows.
  std::optional<double> rank_correlation;
  PlanRanking plans;
  std::optional<double> null_mape;  ///< over the scored rows that have a null model
  int memory_rows = 0;              ///< with a published peak
  std::optional<double> memory_mape, memory_bias;
  std::optional<double> measured_mape, measured_bias;  ///< at tier measured, as ValidationRow has it
};

struct RefusalCount {
  std::string reason;
  int rows = 0;
};

/// The answer to `validate` (contract sections 3.2 and 4).
struct Validation {
  Tier tier = Tier::measured;
  LeaveOut leave_out = LeaveOut::family;
  EngineKind engine = EngineKind::estimate;
  std::optional<Effect> without;  ///< the effect that was switched off
  std::vector<ValidationRow> rows;
  std::vector<ValidationSummary> summary;
  std::vector<RefusalCount> refusals;  ///< most frequent first
  bool interrupted = false;            ///< rows that were not reached are left out
  std::vector<InputHash> inputs;       ///< the files of runs
};

/// The null model: each row's step time as if it ran at the median MFU of the other rows with its source, GPU
/// and precision. Sets `null_error` of the scored rows that have such rows. A row of the same MFU has error
/// 0, so null step = measured step x measured MFU / median MFU.
void score_null_model(std::vector<ValidationRow>& rows);

/// Summary lines: all, then by source, gpu, precision, model_kind and parallel, groups in alphabetical order.
std::vector<ValidationSummary> summarize(const std::vector<ValidationRow>& rows);
/// Refused rows counted by reason, most frequent first, then alphabetical.
std::vector<RefusalCount> count_refusals(const std::vector<ValidationRow>& rows);

}  // namespace orrery
