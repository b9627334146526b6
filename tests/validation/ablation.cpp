#include "tests/validation/ablation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>
#include <thread>

#include "reports/answers/statistics.hpp"

namespace orrery {
namespace {

constexpr double kMoved = 1e-3;

double mape_of(const std::vector<const ValidationRow*>& rows) {
  double sum = 0;
  for (const ValidationRow* row : rows) sum += std::abs(row->error);
  return rows.empty() ? 0.0 : sum / static_cast<double>(rows.size());
}

std::map<std::string, std::vector<const ValidationRow*>> by_source(const Validation& validation) {
  std::map<std::string, std::vector<const ValidationRow*>> groups;
  for (const ValidationRow& row : validation.rows) {
    if (!row.scored) continue;
    groups[row.source_group].push_back(&row);
    groups[""].push_back(&row);
  }
  return groups;
}

Ablation compare(Effect effect, const Validation& with, const Validation& without) {
  Ablation result;
  result.effect = effect;
  result.engine = with.engine;
  for (size_t i = 0; i < with.rows.size(); ++i) {
    if (!with.rows[i].scored) continue;
    if (!without.rows[i].scored) throw std::logic_error(without.rows[i].id + ": " + without.rows[i].reason);
    const double change = without.rows[i].predicted_step_s / with.rows[i].predicted_step_s - 1.0;
    if (std::abs(change) >= kMoved) ++result.moved;
  }
  const auto before = by_source(with);
  const auto after = by_source(without);
  std::vector<double> rises;
  for (const auto& [source, rows] : before) {
    const double rise = mape_of(after.at(source)) - mape_of(rows);
    if (source.empty()) {
      result.rise = rise;
      continue;
    }
    rises.push_back(rise);
    if (result.source.empty() || rise > result.largest_rise) {
      result.largest_rise = rise;
      result.source = source;
    }
  }
  result.rise_by_source = mean(rises).value_or(0.0);
  return result;
}

std::string points(double fraction) { return fmt::format("{:+.2f}", 100.0 * fraction); }

}  // namespace

std::vector<Ablation> ablate_shipped_runs(bool simulations, int part, int parts) {
  const std::vector<RunRecord> runs =
      select_runs(read_runs({}), {.ids = {}, .confidences = {"high", "medium"}, .sources = {}});
  ValidateOptions options;
  options.threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const auto without = [&options](EngineKind engine, std::optional<Effect> effect) {
    PredictOptions way = options.predict;
    way.engine = engine;
    way.without = effect;
    return way;
  };
  std::vector<Effect> estimated;
  std::vector<PredictOptions> ways = {without(EngineKind::estimate, std::nullopt)};
  for (int i = 0; i < kEffects; ++i) {
    const auto effect = static_cast<Effect>(i);
    if (effect == Effect::contention || i % parts != part) continue;
    estimated.push_back(effect);
    ways.push_back(without(EngineKind::estimate, effect));
  }
  const std::vector<Validation> validations = validate_ways(runs, options, ways);
  std::vector<Ablation> ablations;
  for (size_t i = 0; i < estimated.size(); ++i) {
    ablations.push_back(compare(estimated[i], validations.front(), validations[i + 1]));
  }
  if (!simulations) return ablations;
  const auto place = std::find_if(ablations.begin(), ablations.end(), [](const Ablation& ablation) {
    return ablation.effect > Effect::contention;
  });
  const std::vector<Validation> simulated = validate_ways(
      runs, options,
      {without(EngineKind::simulate, std::nullopt), without(EngineKind::simulate, Effect::contention)});
  ablations.insert(place, compare(Effect::contention, simulated[0], simulated[1]));
  return ablations;
}

std::string ablation_line(const Ablation& ablation) {
  return fmt::format("| {} | {} | {} | {} | {} ({}) |\n", name_of(ablation.effect), ablation.moved,
                     points(ablation.rise_by_source), points(ablation.rise), ablation.source,
                     points(ablation.largest_rise));
}

std::string ablation_table(const std::vector<Ablation>& ablations) {
  std::vector<Ablation> ordered = ablations;
  std::stable_sort(ordered.begin(), ordered.end(),
                   [](const Ablation& a, const Ablation& b) { return a.rise_by_source > b.rise_by_source; });
  std::string text =
      "| without | rows it moves | MAPE rises by, mean over sources | over all rows | most in |\n"
      "|---|---|---|---|---|\n";
  for (const Ablation& ablation : ordered) text += ablation_line(ablation);
  return text;
}

}  // namespace orrery
