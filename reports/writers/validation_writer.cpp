#include "reports/writers/validation_writer.hpp"

#include <fmt/core.h>

#include "reports/experiment/version.hpp"
#include "reports/writers/json_text.hpp"
#include "reports/writers/text_table.hpp"
#include "sim/base/unit_text.hpp"

namespace orrery {
namespace {

Json or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

std::string cell(const std::optional<double>& fraction) { return fraction ? percent(*fraction) : "-"; }
std::string signed_cell(const std::optional<double>& fraction) {
  return fraction ? signed_percent(*fraction) : "-";
}
std::string plain_cell(const std::optional<double>& value) {
  return value ? fmt::format("{:.3f}", *value) : "-";
}

std::string rows_table(const Validation& validation) {
  TextTable table(
      {"run", "GPU", ">measured", ">predicted", ">error", ">null model", ">memory error", "inside"});
  for (const ValidationRow& row : validation.rows) {
    if (!row.scored) continue;
    table.add({row.id, row.gpu, format_quantity(seconds(row.measured_step_s)),
               format_quantity(seconds(row.predicted_step_s)), signed_percent(row.error),
               signed_cell(row.null_error), signed_cell(row.peak_memory_error),
               row.inside_interval() ? "yes" : "no"});
  }
  return table.text();
}

/// Names of the first few rows that were refused for a reason.
std::string refused_for(const Validation& validation, const RefusalCount& refusal) {
  constexpr int kNamed = 3;
  std::string names;
  int named = 0;
  for (const ValidationRow& row : validation.rows) {
    if (row.scored || row.reason != refusal.reason || named == kNamed) continue;
    names += (named++ > 0 ? ", " : "") + row.id;
  }
  const int more = refusal.rows - named;
  return more > 0 ? fmt::format("{} and {} more", names, more) : names;
}

std::string refusals_table(const Validation& validation) {
  if (validation.refusals.empty()) return "";
  TextTable table({">refused rows", "reason", "runs"});
  for (const RefusalCount& refusal : validation.refusals)
    table.add({std::to_string(refusal.rows), refusal.reason, refused_for(validation, refusal)});
  return table.text();
}

std::string summary_table(const Validation& validation) {
  TextTable table({"by", "group", ">rows", ">scored", ">MAPE", ">null MAPE", ">measured MAPE", ">median",
                   ">p90", ">bias", ">worst", ">inside interval", ">rank corr.", ">plan pairs",
                   ">concordance", ">regret"});
  for (const ValidationSummary& line : validation.summary) {
    table.add({line.by, line.group, std::to_string(line.rows), std::to_string(line.scored), cell(line.mape),
               cell(line.null_mape), cell(line.measured_mape), cell(line.median), cell(line.p90),
               signed_cell(line.bias), signed_cell(line.worst), cell(line.interval_coverage),
               plain_cell(line.rank_correlation),
               line.plans.groups > 0 ? std::to_string(line.plans.pairs) : "-",
               plain_cell(line.plans.concordance), cell(line.plans.median_regret)});
  }
  return table.text();
}

/// Errors of the predicted peak over the rows that publish one.
std::string memory_table(const Validation& validation) {
  TextTable table({"memory of", "group", ">rows", ">MAPE", ">bias"});
  bool any = false;
  for (const ValidationSummary& line : validation.summary) {
    if (line.memory_rows == 0 || (line.by != "all" && line.by != "source")) continue;
    table.add({line.by, line.group, std::to_string(line.memory_rows), cell(line.memory_mape),
               signed_cell(line.memory_bias)});
    any = true;
  }
  return any ? table.text() : "";
}

/// What of a stack's profile no row rests on.
std::string left_out(const Validation& validation) {
  if (validation.tier != Tier::stack && validation.tier != Tier::site) return "";
  return validation.leave_out == LeaveOut::source ? ", each row's source left out"
                                                  : ", each row's family left out";
}

Json row_json(const ValidationRow& row) {
  Json json = {{"id", row.id},
               {"source_group", row.source_group},
               {"gpu", row.gpu},
               {"precision", row.precision},
               {"model_kind", row.model_kind},
               {"parallel", row.parallel},
               {"status", row.scored ? "scored" : "refused"},
               {"reason", row.reason}};
  if (!row.scored) return json;
  json["measured_step_s"] = row.measured_step_s;
  json["predicted_step_s"] = row.predicted_step_s;
  json["interval_s"] = row.interval_s;
  json["error"] = row.error;
  json["null_error"] = or_null(row.null_error);
  json["measured_error"] = or_null(row.error_at_measured);
  json["peak_memory_error"] = or_null(row.peak_memory_error);
  json["fits"] = row.fits;
  if (row.peak_memory_error) json["peak_memory_scope"] = row.memory_of_gpu ? "gpu" : "allocator";
  return json;
}

Json summary_json(const ValidationSummary& line) {
  return {{"by", line.by},
          {"group", line.group},
          {"rows", line.rows},
          {"scored", line.scored},
          {"mape", or_null(line.mape)},
          {"median", or_null(line.median)},
          {"p90", or_null(line.p90)},
          {"bias", or_null(line.bias)},
          {"worst", or_null(line.worst)},
          {"interval_coverage", or_null(line.interval_coverage)},
          {"rank_correlation", or_null(line.rank_correlation)},
          {"plan_groups", line.plans.groups},
          {"plan_pairs", line.plans.pairs},
          {"concordance", or_null(line.plans.concordance)},
          {"regret", or_null(line.plans.median_regret)},
          {"mean_regret", or_null(line.plans.mean_regret)},
          {"worst_regret", or_null(line.plans.worst_regret)},
          {"null_mape", or_null(line.null_mape)},
          {"memory_rows", line.memory_rows},
          {"memory_mape", or_null(line.memory_mape)},
          {"memory_bias", or_null(line.memory_bias)},
          {"measured_mape", or_null(line.measured_mape)},
          {"measured_bias", or_null(line.measured_bias)}};
}

std::string number_field(const std::optional<double>& value) { return value ? shortest_number(*value) : ""; }

}  // namespace

std::string validation_text(const Validation& validation) {
  std::string text = fmt::format("validation, engine {}, tier {}{}: nothing is fitted to these rows\n",
                                 name_of(validation.engine), name_of(validation.tier), left_out(validation));
  if (validation.without) {
    text += fmt::format("  without {}: {}; nothing is refitted\n", name_of(*validation.without),
                        effects()[static_cast<size_t>(*validation.without)].without);
  }
  if (validation.interrupted) text += "  warning  interrupted: only the rows that were finished\n";
  return text + rows_table(validation) + refusals_table(validation) + summary_table(validation) +
         memory_table(validation);
}

Json validation_json(const Validation& validation) {
  Json json = {
      {"schema", "orrery.validation/1"},
      {"tier", std::string(name_of(validation.tier))},
      {"engine", std::string(name_of(validation.engine))},
      {"leave_out", validation.leave_out == LeaveOut::source ? "source" : "family"},
      {"without", validation.without ? Json(std::string(name_of(*validation.without))) : Json(nullptr)},
      {"interrupted", validation.interrupted},
      {"rows", Json::array()},
      {"summary", Json::array()},
      {"refusals", Json::array()}};
  for (const ValidationRow& row : validation.rows) json["rows"].push_back(row_json(row));
  for (const ValidationSummary& line : validation.summary) json["summary"].push_back(summary_json(line));
  for (const RefusalCount& refusal : validation.refusals) {
    json["refusals"].push_back({{"reason", refusal.reason}, {"rows", refusal.rows}});
  }
  json["run"] = {{"version", version()}, {"inputs", Json::object()}};
  for (const InputHash& input : validation.inputs) json["run"]["inputs"][input.name] = input.hash;
  return json;
}

std::string validation_csv(const Validation& validation) {
  std::string text =
      "id,source_group,gpu,precision,model_kind,parallel,status,reason,measured_step_s,predicted_step_s,"
      "interval_low_s,interval_high_s,error,null_error,peak_memory_error\n";
  for (const ValidationRow& row : validation.rows) {
    std::string line;
    for (const std::string& field :
         {row.id, row.source_group, row.gpu, row.precision, row.model_kind, row.parallel,
          std::string(row.scored ? "scored" : "refused"), row.reason}) {
      line += csv_field(field) + ",";
    }
    if (row.scored) {
      for (const double value :
           {row.measured_step_s, row.predicted_step_s, row.interval_s[0], row.interval_s[1]}) {
        line += shortest_number(value) + ",";
      }
      line += shortest_number(row.error) + "," + number_field(row.null_error) + "," +
              number_field(row.peak_memory_error);
    } else {
      line += ",,,,,,";
    }
    text += line + "\n";
  }
  return text;
}

}  // namespace orrery
