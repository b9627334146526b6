#include <cmath>

#include "reports/experiment/version.hpp"
#include "reports/writers/comparison_writer.hpp"
#include "reports/writers/json_text.hpp"
#include "reports/writers/prediction_writer.hpp"

namespace orrery {
namespace {

Json cost_json(const ComparablePrediction& side) {
  if (!side.usd_per_hour) return nullptr;
  const Prediction& prediction = side.prediction;
  const double step = *side.usd_per_hour * prediction.step_time.base() / 3600.0;
  return {{"usd_per_hour", *side.usd_per_hour},
          {"usd_per_step", step},
          {"usd_per_million_tokens", *side.usd_per_hour / 3600.0 / prediction.tokens_per_s * 1e6}};
}

Json side_json(const ComparablePrediction& side) {
  const Prediction& prediction = side.prediction;
  return {{"name", prediction.name},
          {"gpus", prediction.gpus},
          {"gpu", prediction.gpu},
          {"step_time_s", prediction.step_time.base()},
          {"step_time_interval_s", {prediction.interval[0].base(), prediction.interval[1].base()}},
          {"tokens_per_s", prediction.tokens_per_s},
          {"tokens_per_s_per_gpu", prediction.tokens_per_s / prediction.gpus},
          {"mfu", prediction.mfu},
          {"hfu", prediction.hfu},
          {"memory",
           {{"capacity_bytes", std::round(prediction.memory_capacity.base())},
            {"peak_bytes", std::round(prediction.memory.peak.base())},
            {"fits", prediction.fits()}}},
          {"contended", prediction.contended},
          {"slowest_rank", side.slowest_rank ? Json(*side.slowest_rank) : Json(nullptr)},
          {"links", link_classes_json(prediction.links)},
          {"cost", cost_json(side)},
          {"evidence", std::string(name_of(prediction.evidence))},
          {"warnings", prediction.warnings},
          {"experiment", prediction.experiment.values},
          {"origins", prediction.experiment.origins},
          {"inputs", inputs_json(prediction.experiment)}};
}

Json operation_json(const OperationUse& use) {
  if (use.count == 0) return nullptr;
  return {{"ranks", use.ranks},          {"count", use.count},
          {"bytes_per_step", use.bytes}, {"total_s", use.total_s},
          {"exposed_s", use.exposed_s},  {"algorithm", use.algorithm},
          {"protocol", use.protocol},    {"bus_bandwidth_bytes_per_s", use.bus_bandwidth}};
}

}  // namespace

Json link_classes_json(const std::vector<LinkClassUse>& links) {
  Json json = Json::array();
  for (const LinkClassUse& use : links) {
    json.push_back(
        {{"class", use.name},
         {"mean_use", use.mean_use},
         {"busiest", {{"from", use.busiest_from}, {"to", use.busiest_to}, {"mean_use", use.max_use}}},
         {"busy_s", use.busy_s},
         {"held_s", use.held_s},
         {"binds", use.held_s > 0.0}});
  }
  return json;
}

Json comparison_json(const Comparison& comparison) {
  const Prediction& a = comparison.a.prediction;
  const Prediction& b = comparison.b.prediction;
  Json terms = Json::array();
  for (const TermDifference& term : comparison.terms) {
    terms.push_back({{"term", std::string(name_of(term.term))},
                     {"a_s", term.a_s},
                     {"b_s", term.b_s},
                     {"delta_s", term.delta_s},
                     {"reason", term.reason}});
  }
  Json differences = Json::array();
  for (const InputDifference& input : comparison.inputs)
    differences.push_back({{"path", input.path}, {"a", input.a}, {"b", input.b}});
  Json communication = Json::array();
  for (const OperationPair& pair : comparison.operations) {
    communication.push_back({{"group", std::string(name_of(pair.group))},
                             {"op", std::string(name_of(pair.op))},
                             {"a", operation_json(pair.a)},
                             {"b", operation_json(pair.b)}});
  }
  return {{"schema", "orrery.comparison/1"},
          {"engine", std::string(name_of(a.engine))},
          {"scope", a.full_scope ? "full" : "folded"},
          {"tier", std::string(name_of(a.tier))},
          {"a_s", a.step_time.base()},
          {"b_s", b.step_time.base()},
          {"delta_s", comparison.delta_s},
          {"delta_interval_s", comparison.interval},
          {"relative_change", comparison.relative_change()},
          {"tokens_per_s_per_gpu_ratio", (b.tokens_per_s / b.gpus) / (a.tokens_per_s / a.gpus)},
          {"terms", terms},
          {"explanation", comparison.explanation},
          {"inputs", differences},
          {"communication", communication},
          {"a", side_json(comparison.a)},
          {"b", side_json(comparison.b)},
          {"warnings", comparison.warnings},
          {"run", {{"version", version()}}}};
}

std::string comparison_csv(const Comparison& comparison) {
  const auto line = [](const std::string& term, double a, double b, double delta, const std::string& reason) {
    return csv_field(term) + ',' + Json(a).dump() + ',' + Json(b).dump() + ',' + Json(delta).dump() + ',' +
           csv_field(reason) + '\n';
  };
  std::string text = "term,a_s,b_s,delta_s,reason\n";
  text += line("step", comparison.a.prediction.step_time.base(), comparison.b.prediction.step_time.base(),
               comparison.delta_s, "");
  for (const TermDifference& term : comparison.terms)
    text += line(std::string(name_of(term.term)), term.a_s, term.b_s, term.delta_s, term.reason);
  return text;
}

}  // namespace orrery
