#include "tests/validation/error_budget.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "reports/answers/run_description.hpp"
#include "reports/answers/statistics.hpp"
#include "reports/experiment/experiment.hpp"

namespace orrery {
namespace {

/// A scored row with its experiment read.
struct BudgetRow {
  const ValidationRow* row = nullptr;
  Experiment experiment;
  std::string family;  ///< rows of one source and model
};

std::vector<BudgetRow> scored_rows(const BothEngines& both) {
  std::map<std::string, const RunRecord*> runs;
  for (const RunRecord& run : both.runs) runs[run.id] = &run;
  std::vector<BudgetRow> rows;
  for (const ValidationRow& row : both.estimate.rows) {
    if (!row.scored) continue;
    const RunRecord& run = *runs.at(row.id);
    rows.push_back({&row, read_experiment(run.experiment, run.file),
                    row.source_group + member_or_null(run.experiment, "model").dump()});
  }
  return rows;
}

/// A value's place in the order of a dimension, and its name.
using Value = std::pair<std::int64_t, std::string>;

/// The range of a number between edges: 5 with edges 1, 2, 8 is "3-8", 9 is "> 8".
Value in_range(std::int64_t number, const std::vector<std::int64_t>& edges) {
  std::int64_t least = 0;
  for (const std::int64_t edge : edges) {
    if (number <= edge) {
      const bool single = edge == least + 1 || (least == 0 && edge == 1);
      const std::string name =
          single ? fmt::format("{}", edge)
                 : (least == 0 ? fmt::format("up to {}", edge) : fmt::format("{}-{}", least + 1, edge));
      return {edge, name};
    }
    least = edge;
  }
  return {edges.back() + 1, fmt::format("above {}", edges.back())};
}

std::string recompute_name(const TrainingSpec& training) {
  switch (training.recompute) {
    case Recompute::none:
      return "none";
    case Recompute::selective:
      return "selective";
    case Recompute::full:
      return "full";
  }
  return "";
}

struct Dimension {
  std::string name;
  std::function<Value(const BudgetRow&)> value;
};

std::vector<Dimension> dimensions() {
  const auto number = [](std::string name, std::vector<std::int64_t> edges, auto member) {
    return Dimension{std::move(name), [edges = std::move(edges), member](const BudgetRow& row) {
                       return in_range(member(row.experiment), edges);
                     }};
  };
  const auto text = [](std::string name, auto member) {
    return Dimension{std::move(name), [member](const BudgetRow& row) { return Value{0, member(row)}; }};
  };
  return {
      text("source", [](const BudgetRow& row) { return row.row->source_group; }),
      text("stack", [](const BudgetRow& row) { return row.experiment.software.name; }),
      text("GPU", [](const BudgetRow& row) { return row.row->gpu; }),
      text("precision", [](const BudgetRow& row) { return row.row->precision; }),
      text("model kind", [](const BudgetRow& row) { return row.row->model_kind; }),
      text("parallel kind", [](const BudgetRow& row) { return row.row->parallel; }),
      number("tensor", {1, 2, 4, 8}, [](const Experiment& e) { return e.parallel.tensor; }),
      number("pipeline", {1, 2, 4, 8, 16}, [](const Experiment& e) { return e.parallel.pipeline; }),
      number("data", {1, 8, 64, 512}, [](const Experiment& e) { return e.parallel.data; }),
      number("context", {1, 2, 4}, [](const Experiment& e) { return e.parallel.context; }),
      number("expert", {1, 8, 32}, [](const Experiment& e) { return e.parallel.expert; }),
      number("interleave", {1, 2, 4, 8}, [](const Experiment& e) { return e.parallel.interleave; }),
      number("nodes", {1, 2, 8, 32, 128}, [](const Experiment& e) { return e.cluster.nodes; }),
      number("micro-batch", {1, 2, 4, 8}, [](const Experiment& e) { return e.training.micro_batch; }),
      number("sequence", {512, 2048, 4096, 8192, 32768},
             [](const Experiment& e) { return e.training.seq_length; }),
      number("hidden size", {2048, 4096, 8192, 12288}, [](const Experiment& e) { return e.model.hidden; }),
      text("recompute", [](const BudgetRow& row) { return recompute_name(row.experiment.training); }),
  };
}

std::string percent_of(double fraction) { return fmt::format("{:.1f}", 100.0 * fraction); }
std::string signed_percent_of(double fraction) { return fmt::format("{:+.1f}", 100.0 * fraction); }

std::string budget_line(const Dimension& dimension, const std::vector<BudgetRow>& rows) {
  std::map<Value, std::vector<double>> errors;
  for (const BudgetRow& row : rows) errors[dimension.value(row)].push_back(row.row->error);
  std::string line;
  for (const auto& [value, signed_errors] : errors) {
    std::vector<double> sizes;
    sizes.reserve(signed_errors.size());
    for (const double error : signed_errors) sizes.push_back(std::abs(error));
    line += fmt::format("{}{}: {} / {} ({})", line.empty() ? "" : "; ", value.second,
                        percent_of(*mean(sizes)), signed_percent_of(*mean(signed_errors)), sizes.size());
  }
  return fmt::format("| {} | {} |\n", dimension.name, line);
}

/// The largest terms of a predicted step with their shares.
std::string largest_terms(const Breakdown& breakdown) {
  std::vector<size_t> order(breakdown.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&breakdown](size_t a, size_t b) { return breakdown[a] > breakdown[b]; });
  const double total = std::accumulate(breakdown.begin(), breakdown.end(), 0.0);
  std::string text;
  for (size_t i = 0; i < 4; ++i) {
    const double share = breakdown[order[i]] / total;
    if (share < 0.02) break;
    text += fmt::format("{}{} {:.0f}", text.empty() ? "" : ", ",
                        name_of(static_cast<BreakdownTerm>(order[i])), 100.0 * share);
  }
  return text;
}

}  // namespace

std::string error_budget(const BothEngines& both) {
  const std::vector<BudgetRow> rows = scored_rows(both);
  std::string text = "| dimension | estimate, MAPE / bias in % (rows) of each of its values |\n|---|---|\n";
  for (const Dimension& dimension : dimensions()) text += budget_line(dimension, rows);
  return text;
}

std::string worst_rows_document(const BothEngines& both) {
  const std::vector<BudgetRow> rows = scored_rows(both);
  std::vector<const BudgetRow*> order;
  order.reserve(rows.size());
  for (const BudgetRow& row : rows) order.push_back(&row);
  std::stable_sort(order.begin(), order.end(), [](const BudgetRow* a, const BudgetRow* b) {
    return std::abs(a->row->error) > std::abs(b->row->error);
  });
  order.resize(std::min(order.size(), static_cast<size_t>(kWorstRows)));
  std::string text =
      "# The rows that Orrery predicts worst\n\n"
      "Written by `orrery_update_accuracy docs/accuracy.md`; `tests/validation` holds it to the code. "
      "Estimate, tier\n"
      "`measured`. *Siblings*: median error of the other rows of the same source and model (how many): alone "
      "among\n"
      "them, the row or what its plan does is suspect; with them, the model, its stack or its machine. "
      "*Terms*: shares\n"
      "of the predicted step in %.\n\n"
      "| run | stack | error % | null model % | siblings % | predicted s | terms "
      "|\n|---|---|---|---|---|---|---|\n";
  for (const BudgetRow* worst : order) {
    std::vector<double> siblings;
    for (const BudgetRow& row : rows) {
      if (&row != worst && row.family == worst->family) siblings.push_back(row.row->error);
    }
    const size_t count = siblings.size();
    const std::optional<double> usual = median(std::move(siblings));
    text += fmt::format("| {} | {} | {} | {} | {} | {:.3g} | {} |\n", worst->row->id,
                        worst->experiment.software.name, signed_percent_of(worst->row->error),
                        worst->row->null_error ? signed_percent_of(*worst->row->null_error) : "-",
                        usual ? fmt::format("{} ({})", signed_percent_of(*usual), count) : "-",
                        worst->row->predicted_step_s, largest_terms(worst->row->breakdown));
  }
  return text;
}

}  // namespace orrery
