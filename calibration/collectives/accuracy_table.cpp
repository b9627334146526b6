#include "calibration/collectives/accuracy_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace orrery {
namespace {

constexpr std::array kOps = {CollectiveOp::all_reduce, CollectiveOp::all_gather, CollectiveOp::reduce_scatter,
                             CollectiveOp::all_to_all};
constexpr std::array<std::string_view, 11> kPlaces = {"one node",
                                                      "NVL72 domain",
                                                      "infiniband",
                                                      "roce",
                                                      "efa",
                                                      "efa (outdated plugin)",
                                                      "roce (GPU and NIC not aligned)",
                                                      "ethernet",
                                                      "slingshot",
                                                      "one node (mesh)",
                                                      "roce (cdna)"};

bool is_inside(const ScoredRow& one) { return one.place == "one node" || one.place == "NVL72 domain"; }
bool is_usual(const ScoredRow& one) {
  return (one.place == "infiniband" || one.place == "roce" || one.place == "efa") && one.row.nodes <= 64;
}
bool is_across(const ScoredRow& one) {
  const bool unusual = one.place == "efa (outdated plugin)" || one.place == "roce (GPU and NIC not aligned)";
  return is_usual(one) || (unusual && one.row.nodes <= 64);
}

/// Stated: of the set-up as far as its source states it. Known: times what the row's tool or set-up adds on
/// other rows.
enum class Column { fit, left_out, left_out_stated, left_out_known };

FitErrors errors_in(const CollectiveFits& fits, const std::function<bool(const ScoredRow&)>& selects,
                    Column column) {
  std::vector<double> ratios;
  for (const ScoredRow& one : fits.scored) {
    if (!selects(one)) continue;
    switch (column) {
      case Column::fit:
        ratios.push_back(one.fit);
        break;
      case Column::left_out:
        ratios.push_back(one.left_out);
        break;
      case Column::left_out_stated:
        ratios.push_back(one.stated);
        break;
      case Column::left_out_known:
        ratios.push_back(one.left_out + one.tool);
        break;
    }
  }
  return errors_of(ratios);
}

std::string cell(const CollectiveFits& fits, const std::function<bool(const ScoredRow&)>& selects) {
  const FitErrors fit = errors_in(fits, selects, Column::fit);
  if (fit.rows == 0) return "-";
  const FitErrors left_out = errors_in(fits, selects, Column::left_out);
  return fmt::format("{:.1f} / {:.1f} ({})", 100 * fit.geometric_mean, 100 * left_out.geometric_mean,
                     fit.rows);
}

}  // namespace

std::vector<CollectiveGoal> collective_goals() {
  return {{"one node and NVL72 domain", 0.08, 0.063, 0.08, 0.064, is_inside},
          {"InfiniBand, RoCE, EFA, up to 64 nodes", 0.15, 0.141, 0.141, 0.13, is_across},
          {"the same without outdated plugins", 0.15, 0.121, 0.121, 0.12, is_usual}};
}

FitErrors left_out_errors(const CollectiveFits& fits, const std::function<bool(const ScoredRow&)>& selects) {
  return errors_in(fits, selects, Column::left_out);
}
FitErrors stated_left_out_errors(const CollectiveFits& fits,
                                 const std::function<bool(const ScoredRow&)>& selects) {
  return errors_in(fits, selects, Column::left_out_stated);
}
FitErrors known_left_out_errors(const CollectiveFits& fits,
                                const std::function<bool(const ScoredRow&)>& selects) {
  return errors_in(fits, selects, Column::left_out_known);
}

std::string collective_accuracy_table(const CollectiveFits& fits) {
  for (const ScoredRow& one : fits.scored) {
    if (std::find(kPlaces.begin(), kPlaces.end(), one.place) == kPlaces.end())
      throw std::logic_error("no line of the table is called " + one.place);
  }
  std::string text =
      "| goal | rows | left out, geometric-mean error % | root mean square % | bias % | set-up only as its "
      "source states it % | with the row's own tool or set-up % |\n|---|---|---|---|---|---|---|\n";
  for (const CollectiveGoal& goal : collective_goals()) {
    const FitErrors errors = left_out_errors(fits, goal.selects);
    const FitErrors known = known_left_out_errors(fits, goal.selects);
    const FitErrors stated = stated_left_out_errors(fits, goal.selects);
    text +=
        fmt::format("| {} (goal {:.0f} %) | {} | {:.1f} | {:.1f} | {:+.1f} | {:.1f} | {:.1f} |\n", goal.name,
                    100 * goal.most, errors.rows, 100 * errors.geometric_mean, 100 * errors.root_mean_square,
                    100 * errors.bias, 100 * stated.geometric_mean, 100 * known.geometric_mean);
  }
  text += "\n| fit / left out, % (rows) |";
  for (const CollectiveOp op : kOps) text += fmt::format(" {} |", name_of(op));
  text += " all | left out, own tool or set-up |\n|---|---|---|---|---|---|---|\n";
  for (const std::string_view place : kPlaces) {
    const auto here = [&](const ScoredRow& one) { return one.place == place; };
    text += fmt::format("| {} |", place);
    for (const CollectiveOp op : kOps)
      text += " " + cell(fits, [&](const ScoredRow& one) { return here(one) && one.row.op == op; }) + " |";
    text += fmt::format(" {} | {:.1f} |\n", cell(fits, here),
                        100 * known_left_out_errors(fits, here).geometric_mean);
  }
  text += "\n| rows that are not scored | number |\n|---|---|\n";
  for (const auto& [reason, count] : fits.excepted) text += fmt::format("| {} | {} |\n", reason, count);
  return text;
}

}  // namespace orrery
