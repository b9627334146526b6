#include <array>
#include <cmath>
#include <map>
#include <string_view>

#include "reports/experiment/dotted_path.hpp"
#include "reports/experiment/spec_json.hpp"
#include "reports/experiment/version.hpp"
#include "reports/writers/json_text.hpp"
#include "reports/writers/loop_writer.hpp"
#include "reports/writers/prediction_writer.hpp"

namespace orrery {
namespace {

/// Counts of bytes are whole numbers in the result.
std::int64_t whole(Bytes value) { return std::llround(value.base()); }

Json breakdown_json(const Prediction& prediction) {
  Json json = Json::object();
  for (int i = 0; i < kBreakdownTerms; ++i) {
    json[std::string(name_of(static_cast<BreakdownTerm>(i)))] = prediction.breakdown[static_cast<size_t>(i)];
  }
  return json;
}

Json or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

/// What the tiers above measured add to `calibration`.
void add_tier_json(const Prediction& prediction, Json& calibration) {
  const CalibrationUse& use = prediction.calibration;
  calibration["interval"] = use.interval_from_residuals ? "cross-validated residuals of the tier"
                                                        : "spread of kernel and collective times";
  if (prediction.tier != Tier::stack && prediction.tier != Tier::site) return;
  calibration["stack"] = {{"profile", use.stack},
                          {"factors", use.stack_factors},
                          {"runs", use.stack_runs},
                          {"cross_validated_error", or_null(use.stack_error)}};
  if (prediction.tier != Tier::site) return;
  calibration["site"] = {
      {"factors", use.site_factors}, {"runs", use.site_runs}, {"left_out_error", or_null(use.site_error)}};
}

Json evidence_json(const Prediction& prediction) {
  Json json = Json::object();
  for (int i = 0; i < kBreakdownTerms; ++i) {
    const auto index = static_cast<size_t>(i);
    json[std::string(name_of(static_cast<BreakdownTerm>(i)))] =
        std::string(name_of(prediction.term_evidence[index]));
  }
  return json;
}

Json communication_json(const Prediction& prediction) {
  Json lines = Json::array();
  for (const CommunicationTotal& line : prediction.communication) {
    lines.push_back({{"group", std::string(name_of(line.group))},
                     {"op", std::string(name_of(line.op))},
                     {"ranks", line.ranks},
                     {"bytes", whole(line.payload)},
                     {"count", line.count},
                     {"total_s", line.total.base()},
                     {"exposed_s", line.exposed.base()},
                     {"algorithm", std::string(line.algorithm)},
                     {"protocol", std::string(line.protocol)},
                     {"bus_bandwidth_bytes_per_s", line.bus_bandwidth()},
                     {"evidence", std::string(name_of(line.evidence))},
                     {"every_steps", line.every}});
  }
  return lines;
}

Json memory_json(const Prediction& prediction) {
  const MemoryUse& memory = prediction.memory;
  Json stages = Json::array();
  for (const Bytes stage : memory.per_stage_peak) stages.push_back(whole(stage));
  Json assumed = Json::array();
  for (const MemoryAssumption& assumption : prediction.memory_assumptions) {
    assumed.push_back({{"key", assumption.key},
                       {"value", assumption.taken},
                       {"otherwise", assumption.otherwise},
                       {"peak_bytes", whole(assumption.peak)},
                       {"fits", assumption.peak <= prediction.memory_capacity}});
  }
  return {{"capacity_bytes", whole(prediction.memory_capacity)},
          {"peak_bytes", whole(memory.peak)},
          {"fits", prediction.fits()},
          {"parameters_bytes", whole(memory.parameters)},
          {"gradients_bytes", whole(memory.gradients)},
          {"optimizer_bytes", whole(memory.optimizer)},
          {"activations_bytes", whole(memory.activations)},
          {"buffers_bytes", whole(memory.buffers)},
          {"allocator_peak_bytes", whole(memory.allocator_peak)},
          {"logged_peak_bytes", whole(memory.logged_peak)},
          {"reserved_bytes", whole(memory.reserved)},
          {"context_bytes", whole(memory.context)},
          {"collective_bytes", whole(memory.collective)},
          {"fullest_stage", memory.fullest_stage},
          {"per_stage_peak_bytes", stages},
          {"assumed", assumed}};
}

/// What the steps of a whole training and the cluster's price come to, where either is given.
void add_bill_json(const Prediction& prediction, Json& json) {
  const double step = prediction.step_time.base();
  const double hours = prediction.whole_training ? prediction.whole_training->steps * step / 3600.0 : 0.0;
  if (prediction.whole_training) {
    json["whole_training"] = {{"tokens", prediction.whole_training->tokens},
                              {"steps", prediction.whole_training->steps},
                              {"days", hours / 24.0}};
  }
  if (prediction.dollars_per_hour) {
    json["cost"] = {{"usd_per_hour", *prediction.dollars_per_hour},
                    {"usd_per_step", *prediction.dollars_per_hour * step / 3600.0}};
    if (prediction.whole_training) json["cost"]["whole_training_usd"] = *prediction.dollars_per_hour * hours;
  }
}

/// Only the simulation knows links: the closed form has none, and its result says so with empty lists.
Json links_json(const Prediction& prediction) {
  Json links = Json::array();
  for (const LinkClassUse& use : prediction.links) {
    links.push_back({{"class", use.name},
                     {"links", use.links},
                     {"bytes", use.bytes},
                     {"mean_use", use.mean_use},
                     {"busiest",
                      {{"from", use.busiest_from},
                       {"to", use.busiest_to},
                       {"bytes", use.busiest_bytes},
                       {"mean_use", use.max_use}}},
                     {"busy_s", use.busy_s},
                     {"held_s", use.held_s},
                     {"binds", use.held_s > 0.0}});
  }
  return links;
}

Json link_use_json(const Prediction& prediction) {
  Json classes = Json::array();
  for (const LinkClassUse& use : prediction.links) {
    classes.push_back({{"class", use.name}, {"mean", use.mean_over_time}, {"max", use.max_over_time}});
  }
  return classes;
}

Json beside_json(const BesideUse& use) {
  return {{"name", use.name},
          {"gpus", use.gpus},
          {"placement", std::string(name_of(use.placement))},
          {"step_time_alone_s", use.step_alone.base()},
          {"step_time_together_s", use.step_together.base()},
          {"slowdown", use.slowdown()},
          {"neighbour_step_time_alone_s", use.neighbour_alone.base()},
          {"neighbour_step_time_together_s", use.neighbour_together.base()},
          {"neighbour_slowdown", use.neighbour_slowdown()},
          {"checkpoint_exposed_alone_s", use.checkpoint_alone.base()},
          {"checkpoint_exposed_together_s", use.checkpoint_together.base()},
          {"neighbour_checkpoint_exposed_alone_s", use.neighbour_checkpoint_alone.base()},
          {"neighbour_checkpoint_exposed_together_s", use.neighbour_checkpoint_together.base()},
          {"binding", use.binding}};
}

/// Columns of what only some experiments have, behind those of all and empty elsewhere: so that the lines of
/// any two predictions fit under one header.
constexpr auto kColumnsOfSome =
    std::to_array<std::string_view>({"plan.bucket",
                                     "plan.shard_group",
                                     "calibration.stack.profile",
                                     "calibration.stack.factors",
                                     "calibration.stack.runs",
                                     "calibration.stack.cross_validated_error",
                                     "calibration.site.factors",
                                     "calibration.site.runs",
                                     "calibration.site.left_out_error",
                                     "measured.step_time_s",
                                     "measured.tokens_per_s_per_gpu",
                                     "measured.model_tflops_per_gpu",
                                     "measured.hardware_tflops_per_gpu",
                                     "measured.mfu",
                                     "measured.peak_memory_bytes",
                                     "measured.peak_memory_scope",
                                     "whole_training.tokens",
                                     "whole_training.steps",
                                     "whole_training.days",
                                     "cost.usd_per_hour",
                                     "cost.usd_per_step",
                                     "cost.whole_training_usd",
                                     "input.readers",
                                     "input.samples_per_reader",
                                     "input.bytes_per_sample",
                                     "input.bytes_per_step",
                                     "input.prefetched",
                                     "input.load_s",
                                     "input.by_workers_s",
                                     "input.by_storage_s",
                                     "input.bound",
                                     "input.exposed_s",
                                     "input.steps_per_epoch",
                                     "input.epoch_s",
                                     "input.dataset_bytes",
                                     "checkpoint.every",
                                     "checkpoint.async",
                                     "checkpoint.writers",
                                     "checkpoint.bytes",
                                     "checkpoint.staging_s",
                                     "checkpoint.write_s",
                                     "checkpoint.exposed_s",
                                     "checkpoint.restore_s",
                                     "checkpoint.merged_bytes",
                                     "checkpoint.merge_traffic_bytes",
                                     "checkpoint.merge_s",
                                     "synchronisation.kind",
                                     "synchronisation.period",
                                     "synchronisation.average_s",
                                     "synchronisation.push_s",
                                     "synchronisation.pull_s",
                                     "beside.name",
                                     "beside.gpus",
                                     "beside.placement",
                                     "beside.step_time_alone_s",
                                     "beside.step_time_together_s",
                                     "beside.slowdown",
                                     "beside.neighbour_step_time_alone_s",
                                     "beside.neighbour_step_time_together_s",
                                     "beside.neighbour_slowdown",
                                     "beside.checkpoint_exposed_alone_s",
                                     "beside.checkpoint_exposed_together_s",
                                     "beside.neighbour_checkpoint_exposed_alone_s",
                                     "beside.neighbour_checkpoint_exposed_together_s",
                                     "beside.binding"});

void flatten(const Json& json, const std::string& prefix,
             std::vector<std::pair<std::string, std::string>>& fields) {
  for (const auto& [key, value] : json.items()) {
    const std::string name = dotted_path(prefix, key);
    if (value.is_object()) {
      flatten(value, name, fields);
    } else if (value.is_array()) {
      std::string joined;
      for (const Json& element : value) {
        if (!joined.empty()) joined += ';';
        joined += element.is_string() ? element.get<std::string>() : element.dump();
      }
      fields.emplace_back(name, joined);
    } else {
      fields.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
}

}  // namespace

Json inputs_json(const ResolvedExperiment& experiment) {
  Json json = Json::object();
  for (const InputHash& input : experiment.inputs) json[input.name] = input.hash;
  return json;
}

Json prediction_json(const Prediction& prediction) {
  Json json = {{"schema", "orrery.prediction/1"},
               {"name", prediction.name},
               {"engine", std::string(name_of(prediction.engine))},
               {"scope", prediction.full_scope ? "full" : "folded"},
               {"tier", std::string(name_of(prediction.tier))},
               {"contended", prediction.contended},
               {"gpus", prediction.gpus},
               {"gpu", prediction.gpu},
               {"step_time_s", prediction.step_time.base()},
               {"step_time_interval_s", {prediction.interval[0].base(), prediction.interval[1].base()}},
               {"samples_per_s", prediction.samples_per_s},
               {"tokens_per_s", prediction.tokens_per_s},
               {"tokens_per_s_per_gpu", prediction.tokens_per_s / prediction.gpus},
               {"model_flops_per_step", prediction.model_flops.base()},
               {"hardware_flops_per_step", prediction.hardware_flops.base()},
               {"model_tflops_per_gpu", prediction.model_tflops_per_gpu()},
               {"hardware_tflops_per_gpu", prediction.hardware_tflops_per_gpu()},
               {"mfu", prediction.mfu},
               {"hfu", prediction.hfu},
               {"breakdown_s", breakdown_json(prediction)},
               {"breakdown_evidence", evidence_json(prediction)},
               {"communication", communication_json(prediction)},
               {"links", links_json(prediction)},
               {"link_use", link_use_json(prediction)},
               {"memory", memory_json(prediction)},
               {"plan", plan_json(prediction.plan)}};
  json["plan"]["micro_batches"] = prediction.micro_batches;
  add_bill_json(prediction, json);
  add_loop_json(prediction, json);
  if (prediction.beside) json["beside"] = beside_json(*prediction.beside);
  json["calibration"] = {
      {"profile", prediction.calibration.profile},
      {"source", prediction.calibration.source},
      {"compute_error", prediction.calibration.compute_error},
      {"collective_error", prediction.calibration.collective_error},
      {"hash", prediction.calibration.hash.empty() ? Json(nullptr) : Json(prediction.calibration.hash)}};
  add_tier_json(prediction, json["calibration"]);
  json["evidence"] = std::string(name_of(prediction.evidence));
  json["measured"] = prediction.measured ? to_json(*prediction.measured) : Json::object();
  json["error"] = prediction.error ? Json(*prediction.error) : Json(nullptr);
  json["warnings"] = prediction.warnings;
  json["experiment"] = prediction.experiment.values;
  json["origins"] = prediction.experiment.origins;
  json["run"] = {
      {"tasks", prediction.tasks}, {"version", version()}, {"inputs", inputs_json(prediction.experiment)}};
  return json;
}

std::string prediction_csv(const Prediction& prediction) {
  Json json = prediction_json(prediction);
  for (const char* key : {"experiment", "origins", "communication", "links", "link_use", "warnings", "run"})
    json.erase(key);
  std::vector<std::pair<std::string, std::string>> fields;
  flatten(json, "", fields);
  std::string header;
  std::string values;
  const auto add = [&](std::string_view name, std::string_view value) {
    header += csv_field(std::string(name)) + ',';
    values += csv_field(std::string(value)) + ',';
  };
  std::map<std::string_view, std::string_view> of_some;
  for (const std::string_view name : kColumnsOfSome) of_some[name] = "";
  for (const auto& [name, value] : fields) {
    if (of_some.contains(name)) {
      of_some[name] = value;
    } else {
      add(name, value);
    }
  }
  for (const std::string_view name : kColumnsOfSome) add(name, of_some[name]);
  header.back() = '\n';
  values.back() = '\n';
  return header + values;
}

}  // namespace orrery
