#include "reports/answers/variants.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "sim/base/data_files.hpp"

namespace orrery {
namespace {

constexpr const char* kVariantsFolder = "examples/variants";

/// Where a variant (-1: the experiment) stands among the experiment and all variants.
size_t place_of(int variant) { return static_cast<size_t>(variant) + 1; }

/// The documents of the experiment and of every variant, in that order.
std::vector<ExperimentDocument> documents_of(const ExperimentDocument& base,
                                             const std::vector<Variant>& variants) {
  std::vector<ExperimentDocument> documents = {base};
  for (const Variant& variant : variants) {
    ExperimentDocument document = documents[place_of(variant.of)];
    document.file = fmt::format("{}, variant \"{}\"", base.file, variant.name);
    document.json["name"] = variant.name;
    for (const auto& [path, value] : variant.set.items()) {
      try {
        apply_setting(document.json, path + "=" + value.dump());
      } catch (const InputError& error) {
        std::vector<InputProblem> problems = error.problems();
        for (InputProblem& problem : problems) problem.file = document.file;
        throw InputError(std::move(problems));
      }
    }
    documents.push_back(std::move(document));
  }
  return documents;
}

}  // namespace

std::vector<Variant> read_variants(const Json& document, const std::string& file) {
  Problems problems(file);
  const SpecReader root(document, "", problems);
  root.only({"schema", "variants"});
  if (root.has("schema")) root.at("schema").choice({"orrery.variants/1"});
  std::vector<Variant> variants;
  for (const SpecReader& reader : root.at("variants").elements()) {
    Variant variant;
    reader.only({"name", "of", "set"});
    variant.name = reader.at("name").text();
    const auto known = [&variants](const std::string& name) {
      return std::find_if(variants.begin(), variants.end(),
                          [&name](const Variant& other) { return other.name == name; });
    };
    if (known(variant.name) != variants.end()) reader.at("name").refuse("a name that no other variant has");
    if (reader.has("of")) {
      const auto found = known(reader.at("of").text());
      if (found == variants.end()) reader.at("of").refuse("the name of a variant above");
      variant.of = found == variants.end() ? -1 : static_cast<int>(found - variants.begin());
    }
    const SpecReader set = reader.at("set");
    if (set.members().empty() && set.is_object()) set.refuse("at least one \"path.to.key\": value");
    if (set.is_object()) variant.set = set.json();
    variants.push_back(std::move(variant));
  }
  if (root.has("variants") && root.at("variants").is_list() && variants.empty()) {
    root.at("variants").refuse("at least one variant");
  }
  problems.throw_if_any();
  return variants;
}

ExperimentDocument read_variants_document(const std::string& argument) {
  if (argument == "-" || argument.find('/') != std::string::npos ||
      argument.find(".json") != std::string::npos) {
    return {argument, read_json_file(argument)};
  }
  const std::vector<std::string> names = preset_names(kVariantsFolder);
  if (std::find(names.begin(), names.end(), argument) == names.end()) {
    throw InputError(InputProblem{argument, "", "no variants of this name",
                                  one_of(names, argument) + ", a file (with \"/\" or \".json\") or \"-\"",
                                  ""});
  }
  return {argument, read_json_file((data_root() / kVariantsFolder / (argument + ".json")).string())};
}

bool VariantsComparison::fits() const {
  return base.prediction.fits() &&
         std::all_of(variants.begin(), variants.end(),
                     [](const VariantAnswer& answer) { return answer.against.b.prediction.fits(); });
}

VariantsComparison compare_variants(const ExperimentDocument& base, const std::vector<Variant>& variants,
                                    const PredictOptions& options) {
  std::vector<Experiment> experiments;
  std::vector<InputProblem> problems;
  for (const ExperimentDocument& document : documents_of(base, variants)) {
    try {
      experiments.push_back(read_experiment(document.json, document.file));
    } catch (const InputError& error) {
      // What the experiment itself has wrong is not said again of every variant.
      if (experiments.empty()) throw;
      problems.insert(problems.end(), error.problems().begin(), error.problems().end());
    }
  }
  if (!problems.empty()) throw InputError(std::move(problems));
  CalibrationStore calibrations;
  std::vector<ComparablePrediction> predictions;
  predictions.reserve(experiments.size());
  for (const Experiment& experiment : experiments) {
    predictions.push_back(predict_to_compare(experiment, options, calibrations));
  }
  VariantsComparison result;
  for (size_t i = 0; i < variants.size(); ++i) {
    result.variants.push_back(
        {variants[i], compare_predictions(predictions[place_of(variants[i].of)], predictions[i + 1])});
  }
  result.base = std::move(predictions.front());
  return result;
}

}  // namespace orrery
