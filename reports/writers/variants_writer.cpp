#include "reports/writers/variants_writer.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "reports/experiment/version.hpp"
#include "reports/writers/comparison_writer.hpp"
#include "reports/writers/json_text.hpp"
#include "reports/writers/loop_writer.hpp"
#include "reports/writers/prediction_title.hpp"
#include "reports/writers/text_table.hpp"
#include "sim/base/unit_text.hpp"

namespace orrery {
namespace {

std::string what_it_changes(const VariantsComparison& comparison, const Variant& variant) {
  return variant.of < 0 ? "the experiment"
                        : comparison.variants[static_cast<size_t>(variant.of)].variant.name;
}

Json breakdown_of(const Prediction& prediction) {
  Json json = Json::object();
  for (int term = 0; term < kBreakdownTerms; ++term) {
    json[std::string(name_of(static_cast<BreakdownTerm>(term)))] =
        prediction.breakdown[static_cast<size_t>(term)];
  }
  return json;
}

double communication_exposed(const Prediction& prediction) {
  double sum = 0.0;
  for (int term = 0; term < kBreakdownTerms; ++term) {
    if (is_communication(static_cast<BreakdownTerm>(term)))
      sum += prediction.breakdown[static_cast<size_t>(term)];
  }
  return sum;
}

std::vector<std::string> cells(const std::string& name, const std::string& of, const Prediction& prediction,
                               const std::string& change) {
  const auto term = [&prediction](BreakdownTerm which) {
    return format_quantity(seconds(prediction.breakdown[static_cast<size_t>(which)]));
  };
  return {name,
          of,
          format_quantity(prediction.step_time),
          change,
          short_number(prediction.samples_per_s),
          format_quantity(seconds(communication_exposed(prediction))),
          term(BreakdownTerm::optimizer),
          term(BreakdownTerm::input_exposed),
          term(BreakdownTerm::checkpoint_exposed),
          format_quantity(prediction.memory.peak) + (prediction.fits() ? "" : ": does not fit")};
}

/// "B" and "A" of a comparison in words.
std::string in_names(std::string text, const std::string& a, const std::string& b) {
  if (text.starts_with("B takes")) text = b + text.substr(1);
  const std::string than = " than A.";
  if (const size_t place = text.find(than); place != std::string::npos)
    text.replace(place, than.size(), " than " + a + ".");
  return text;
}

Json variant_json(const VariantsComparison& comparison, const VariantAnswer& answer) {
  const Json against = comparison_json(answer.against);
  const Prediction& prediction = answer.against.b.prediction;
  Json json = {
      {"name", answer.variant.name},
      {"of", answer.variant.of < 0 ? Json(nullptr) : Json(what_it_changes(comparison, answer.variant))},
      {"set", answer.variant.set},
      {"step_time_s", prediction.step_time.base()},
      {"samples_per_s", prediction.samples_per_s},
      {"breakdown_s", breakdown_of(prediction)}};
  add_loop_json(prediction, json);
  for (const char* key : {"delta_s", "delta_interval_s", "relative_change", "terms", "explanation", "inputs",
                          "communication", "warnings"}) {
    json[key] = against[key];
  }
  json["prediction"] = against["b"];
  return json;
}

}  // namespace

std::string variants_text(const VariantsComparison& comparison) {
  const Prediction& base = comparison.base.prediction;
  std::string text = "experiment " + titled(base) + "\n";
  for (const std::string& warning : base.warnings) text += "  warning  " + warning + "\n";
  TextTable table({"variant", "of", ">step", ">change", ">samples/s", ">exposed comm", ">optimizer",
                   ">input exposed", ">checkpoint exposed", ">memory"});
  table.add(cells("the experiment", "", base, "-"));
  for (const VariantAnswer& answer : comparison.variants) {
    table.add(cells(answer.variant.name, what_it_changes(comparison, answer.variant),
                    answer.against.b.prediction, signed_percent(answer.against.relative_change())));
  }
  text += table.text();
  for (const VariantAnswer& answer : comparison.variants) {
    const std::string of = what_it_changes(comparison, answer.variant);
    text += fmt::format("{} ({}):\n  {}\n", answer.variant.name, of,
                        in_names(answer.against.explanation, of, answer.variant.name));
    for (const std::string& warning : answer.against.b.prediction.warnings) {
      const std::vector<std::string>& known = base.warnings;
      if (std::find(known.begin(), known.end(), warning) == known.end())
        text += "  warning  " + warning + "\n";
    }
  }
  return text;
}

Json variants_json(const VariantsComparison& comparison) {
  const Prediction& base = comparison.base.prediction;
  Json variants = Json::array();
  for (const VariantAnswer& answer : comparison.variants)
    variants.push_back(variant_json(comparison, answer));
  Json of_base = {{"name", base.name},
                  {"step_time_s", base.step_time.base()},
                  {"samples_per_s", base.samples_per_s},
                  {"breakdown_s", breakdown_of(base)}};
  add_loop_json(base, of_base);
  if (!comparison.variants.empty()) {
    // A side of a comparison holds all of a prediction that comparisons show.
    const auto first = std::find_if(comparison.variants.begin(), comparison.variants.end(),
                                    [](const VariantAnswer& answer) { return answer.variant.of < 0; });
    of_base["prediction"] = comparison_json(first->against)["a"];
  }
  return {{"schema", "orrery.variant_comparison/1"},
          {"engine", std::string(name_of(base.engine))},
          {"scope", base.full_scope ? "full" : "folded"},
          {"tier", std::string(name_of(base.tier))},
          {"gpus", base.gpus},
          {"base", std::move(of_base)},
          {"variants", std::move(variants)},
          {"run", {{"version", version()}}}};
}

std::string variants_csv(const VariantsComparison& comparison) {
  std::string text = "name,of,step_time_s,samples_per_s,delta_s";
  for (int term = 0; term < kBreakdownTerms; ++term)
    text += "," + std::string(name_of(static_cast<BreakdownTerm>(term))) + "_s";
  text += "\n";
  const auto add = [&text](const std::string& name, const std::string& of, const Prediction& prediction,
                           double delta_s) {
    text += csv_field(name) + ',' + csv_field(of) + ',' + Json(prediction.step_time.base()).dump() + ',' +
            Json(prediction.samples_per_s).dump() + ',' + Json(delta_s).dump();
    for (const double term : prediction.breakdown) text += ',' + Json(term).dump();
    text += "\n";
  };
  add("the experiment", "", comparison.base.prediction, 0.0);
  for (const VariantAnswer& answer : comparison.variants) {
    add(answer.variant.name, what_it_changes(comparison, answer.variant), answer.against.b.prediction,
        answer.against.delta_s);
  }
  return text;
}

}  // namespace orrery
