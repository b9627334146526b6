#include "reports/answers/plan_ranking.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "reports/answers/statistics.hpp"
#include "reports/answers/validation.hpp"

namespace orrery {
namespace {

struct MeasuredPlan {
  double measured_s = 0, predicted_s = 0;
};

/// The plans of a group in the order of their names, runs of one plan averaged.
std::vector<MeasuredPlan> plans_of(const std::vector<const ValidationRow*>& rows) {
  std::map<std::string, std::pair<MeasuredPlan, int>> sums;
  for (const ValidationRow* row : rows) {
    auto& [sum, runs] = sums[row->plan];
    sum.measured_s += row->measured_step_s;
    sum.predicted_s += row->predicted_step_s;
    ++runs;
  }
  std::vector<MeasuredPlan> plans;
  plans.reserve(sums.size());
  for (const auto& [plan, sum] : sums) {
    plans.push_back({sum.first.measured_s / sum.second, sum.first.predicted_s / sum.second});
  }
  return plans;
}

bool differ(double a, double b) { return std::max(a, b) >= (1.0 + kPlansDiffer) * std::min(a, b); }

}  // namespace

PlanRanking rank_plans(const std::vector<const ValidationRow*>& scored) {
  std::map<std::pair<std::string, std::string>, std::vector<const ValidationRow*>> groups;
  for (const ValidationRow* row : scored) groups[{row->source_group, row->workload}].push_back(row);
  PlanRanking ranking;
  double agreeing = 0.0;
  std::vector<double> regrets;
  for (const auto& [key, rows] : groups) {
    const std::vector<MeasuredPlan> plans = plans_of(rows);
    if (plans.size() < 2) continue;
    ++ranking.groups;
    for (size_t i = 0; i < plans.size(); ++i) {
      for (size_t j = i + 1; j < plans.size(); ++j) {
        if (!differ(plans[i].measured_s, plans[j].measured_s)) continue;
        ++ranking.pairs;
        if (plans[i].predicted_s == plans[j].predicted_s) {
          agreeing += 0.5;
        } else if ((plans[i].predicted_s < plans[j].predicted_s) ==
                   (plans[i].measured_s < plans[j].measured_s)) {
          agreeing += 1.0;
        }
      }
    }
    const auto chosen = std::min_element(
        plans.begin(), plans.end(),
        [](const MeasuredPlan& a, const MeasuredPlan& b) { return a.predicted_s < b.predicted_s; });
    const auto best = std::min_element(
        plans.begin(), plans.end(),
        [](const MeasuredPlan& a, const MeasuredPlan& b) { return a.measured_s < b.measured_s; });
    regrets.push_back(chosen->measured_s / best->measured_s - 1.0);
  }
  if (ranking.pairs > 0) ranking.concordance = agreeing / ranking.pairs;
  if (regrets.empty()) return ranking;
  ranking.worst_regret = *std::max_element(regrets.begin(), regrets.end());
  ranking.mean_regret = mean(regrets);
  ranking.median_regret = median(std::move(regrets));
  return ranking;
}

}  // namespace orrery
