#include <cmath>

#include "reports/experiment/version.hpp"
#include "reports/writers/comparison_writer.hpp"
#include "reports/writers/json_text.hpp"
#include "reports/writers/scaling_writer.hpp"

namespace orrery {
namespace {

Json losses_json(const ScalingPoint& point) {
  Json json = Json::array();
  for (const TermLoss& loss : point.losses) {
    json.push_back({{"term", std::string(name_of(loss.term))},
                    {"delta_s", loss.delta_s},
                    {"loss", loss.loss},
                    {"reason", loss.reason}});
  }
  return json;
}

Json breakdown_json(const Prediction& prediction) {
  Json json = Json::object();
  for (size_t i = 0; i < prediction.breakdown.size(); ++i)
    json[std::string(name_of(static_cast<BreakdownTerm>(i)))] = prediction.breakdown[i];
  return json;
}

/// A refused point has the same keys, null, so that a script need not ask for them.
Json refused_json(const ScalingPoint& point) {
  return {{"gpus", point.gpus},     {"status", "refused"},
          {"reason", point.reason}, {"nearest_legal", point.nearest},
          {"step_time_s", nullptr}, {"tokens_per_s", nullptr},
          {"efficiency", nullptr}};
}

Json point_json(const ScalingPoint& point) {
  if (!point.answer) return refused_json(point);
  const Prediction& prediction = point.answer->prediction;
  const double step = prediction.step_time.base();
  return {
      {"gpus", point.gpus},
      {"status", "predicted"},
      {"data", prediction.plan.data},
      {"global_batch", point.global_batch},
      {"micro_batches", prediction.micro_batches},
      {"step_time_s", step},
      {"step_time_interval_s", {prediction.interval[0].base(), prediction.interval[1].base()}},
      {"tokens_per_s", prediction.tokens_per_s},
      {"tokens_per_s_per_gpu", prediction.tokens_per_s / prediction.gpus},
      {"efficiency", point.efficiency},
      {"efficiency_interval", point.efficiency_interval},
      {"mfu", prediction.mfu},
      {"breakdown_s", breakdown_json(prediction)},
      {"losses", losses_json(point)},
      {"links", link_classes_json(prediction.links)},
      {"contended", prediction.contended},
      {"memory",
       {{"capacity_bytes", std::round(prediction.memory_capacity.base())},
        {"peak_bytes", std::round(prediction.memory.peak.base())},
        {"fits", prediction.fits()}}},
      {"cost_usd_per_million_tokens",
       point.answer->usd_per_hour ? Json(*point.answer->usd_per_hour / 3600.0 / prediction.tokens_per_s * 1e6)
                                  : Json(nullptr)},
      {"evidence", std::string(name_of(prediction.evidence))}};
}

std::string number(double value) { return Json(value).dump(); }

}  // namespace

Json scaling_json(const Scaling& scaling) {
  Json points = Json::array();
  for (const ScalingPoint& point : scaling.points) points.push_back(point_json(point));
  Json inputs = Json::object();
  for (const InputHash& input : scaling.experiment.inputs) inputs[input.name] = input.hash;
  return {{"schema", "orrery.scaling/1"},
          {"name", scaling.name},
          {"kind", std::string(name_of(scaling.kind))},
          {"engine", std::string(name_of(scaling.engine))},
          {"scope", scaling.full_scope ? "full" : "folded"},
          {"tier", std::string(name_of(scaling.tier))},
          {"reference_gpus", scaling.reference_gpus},
          {"interrupted", scaling.interrupted},
          {"points", points},
          {"warnings", scaling.warnings},
          {"experiment", scaling.experiment.values},
          {"origins", scaling.experiment.origins},
          {"run", {{"version", version()}, {"inputs", inputs}}}};
}

std::string scaling_csv(const Scaling& scaling) {
  std::string text =
      "gpus,status,data,global_batch,micro_batches,step_time_s,step_time_low_s,step_time_high_s,tokens_per_s,"
      "tokens_per_s_per_gpu,efficiency,efficiency_low,efficiency_high,mfu,peak_bytes,fits";
  for (int i = 0; i < kBreakdownTerms; ++i)
    text += "," + std::string(name_of(static_cast<BreakdownTerm>(i))) + "_s";
  for (int i = 0; i < kBreakdownTerms; ++i)
    text += ",loss_" + std::string(name_of(static_cast<BreakdownTerm>(i)));
  text += ",reason\n";
  for (const ScalingPoint& point : scaling.points) {
    if (!point.answer) {
      text += std::to_string(point.gpus) + ",refused" + std::string(14 + 2 * kBreakdownTerms, ',') + "," +
              csv_field(point.reason) + "\n";
      continue;
    }
    const Prediction& prediction = point.answer->prediction;
    text += std::to_string(point.gpus) + ",predicted," + std::to_string(prediction.plan.data) + "," +
            std::to_string(point.global_batch) + "," + std::to_string(prediction.micro_batches);
    for (const double value :
         {prediction.step_time.base(), prediction.interval[0].base(), prediction.interval[1].base(),
          prediction.tokens_per_s, prediction.tokens_per_s / prediction.gpus, point.efficiency,
          point.efficiency_interval[0], point.efficiency_interval[1], prediction.mfu,
          std::round(prediction.memory.peak.base())}) {
      text += "," + number(value);
    }
    text += prediction.fits() ? ",true" : ",false";
    for (const double seconds : prediction.breakdown) text += "," + number(seconds);
    for (const TermLoss& loss : point.losses) text += "," + number(loss.loss);
    text += ",\n";
  }
  return text;
}

}  // namespace orrery
