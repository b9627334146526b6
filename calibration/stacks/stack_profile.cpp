#include "calibration/stacks/stack_profile.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "calibration/least_squares/least_squares.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/precision.hpp"
#include "sim/base/quantile.hpp"

namespace orrery {
namespace {

constexpr const char* kFolder = "calibration/profiles/stacks";
constexpr const char* kStackSchema = "orrery.stack_profile/1";
constexpr const char* kAllStacks = "all stacks";
constexpr const char* kSiteSchema = "orrery.site_profile/1";
constexpr int kResidualDigits = 4;
constexpr double kLargest = 1e6;

double kept(double value) { return rounded(value, kResidualDigits); }

/// @param stack  whose profile it is; empty: a site's
Json entries_json(const FactorModel& model, const std::string& stack) {
  Json json = Json::array();
  for (const FactorEntry& entry : model.entries) {
    Json one = {{"factor", std::string(factor_names()[static_cast<size_t>(entry.term.factor)])}};
    if (!entry.term.kernels_of.empty()) one["kernels_of"] = entry.term.kernels_of;
    if (!entry.term.precision.empty()) one["precision"] = entry.term.precision;
    if (entry.term.stack != stack) one["learned_from"] = kAllStacks;
    if (entry.term.first_year != FactorTerm::kAnyYear)
      one["years"] = {entry.term.first_year, entry.term.last_year};
    if (entry.term.most_nodes > 0) one["most_nodes"] = entry.term.most_nodes;
    one["value"] = entry.value;
    json.push_back(std::move(one));
  }
  return json;
}

/// @param stack  whose profile it is; empty: a site's
std::vector<FactorEntry> read_entries(const SpecReader& reader, const std::string& stack) {
  std::vector<FactorEntry> entries;
  const auto& names = factor_names();
  for (const SpecReader& element : reader.elements()) {
    if (stack.empty()) {
      element.only({"factor", "years", "most_nodes", "value"});  // one site's machines are of one chip
    } else {
      element.only({"factor", "kernels_of", "precision", "learned_from", "years", "most_nodes", "value"});
    }
    FactorEntry entry;
    entry.term.factor =
        static_cast<Factor>(element.at("factor").choice(std::span<const std::string_view>(names)));
    if (element.has("kernels_of")) entry.term.kernels_of = element.at("kernels_of").text();
    if (element.has("precision")) {
      const auto precisions = precision_names();
      entry.term.precision = precisions[element.at("precision").choice(precisions)];
    }
    if (element.has("learned_from")) {
      element.at("learned_from").choice({kAllStacks});
    } else {
      entry.term.stack = stack;
    }
    if (element.has("years")) {
      const std::vector<SpecReader> years = element.at("years").elements();
      if (years.size() == 2) {
        entry.term.first_year = static_cast<int>(years[0].integer(2000, 2100));
        entry.term.last_year = static_cast<int>(years[1].integer(entry.term.first_year, 2100));
      } else {
        element.at("years").refuse("two years, first and last");
      }
    }
    if (element.has("most_nodes")) {
      const SpecReader nodes = element.at("most_nodes");
      entry.term.most_nodes = static_cast<int>(nodes.integer(1, 1'000'000));
      if (entry.term.factor != Factor::data_per_doubling) nodes.refuse("data_per_doubling alone to have it");
    }
    entry.value = element.at("value").number(0.01, 100.0);
    entries.push_back(std::move(entry));
  }
  return entries;
}

std::vector<std::vector<double>> read_matrix(const SpecReader& reader) {
  std::vector<std::vector<double>> matrix;
  for (const SpecReader& row : reader.elements()) {
    matrix.emplace_back();
    for (const SpecReader& value : row.elements()) matrix.back().push_back(value.number(-kLargest, kLargest));
  }
  return matrix;
}

Json error_json(const ErrorSummary& error) {
  return {{"rows", error.rows},
          {"mape", kept(error.mape)},
          {"median", kept(error.median)},
          {"bias", kept(error.bias)}};
}

ErrorSummary read_error(const SpecReader& reader) {
  reader.only({"rows", "mape", "median", "bias"});
  return {static_cast<int>(reader.at("rows").integer(0, 1'000'000)), reader.at("mape").number(0, kLargest),
          reader.at("median").number(0, kLargest), reader.at("bias").number(-1.0, kLargest)};
}

Json run_json(const LearnedRun& run) {
  Json slopes = Json::array();
  for (const double slope : run.row.slope) slopes.push_back(kept(slope));
  return {{"id", run.row.id},
          {"source_group", run.row.source_group},
          {"family", run.row.family},
          {"gpu", run.row.traits.gpu},
          {"kernels_of", run.row.traits.kernels_of},
          {"precision", run.row.traits.precision},
          {"kind", run.row.kind},
          {"year", run.row.traits.year},
          {"nodes", run.row.traits.nodes},
          {"log_ratio", kept(run.row.log_ratio)},
          {"slopes", std::move(slopes)},
          {"spread", kept(run.spread)},
          {"measured_residual", kept(run.measured_residual)},
          {"residual", kept(run.residual)}};
}

LearnedRun read_run(const SpecReader& reader, const std::string& stack) {
  reader.only({"id", "source_group", "family", "gpu", "kernels_of", "precision", "kind", "year", "nodes",
               "log_ratio", "slopes", "spread", "measured_residual", "residual"});
  LearnedRun run;
  run.row.traits.stack = stack;
  run.row.id = reader.at("id").text();
  run.row.source_group = reader.at("source_group").text();
  run.row.family = reader.at("family").text();
  run.row.traits.gpu = reader.at("gpu").text();
  run.row.traits.kernels_of = reader.at("kernels_of").text();
  run.row.traits.precision = reader.at("precision").text();
  run.row.kind = reader.at("kind").text();
  run.row.traits.year = static_cast<int>(reader.at("year").integer(2000, 2100));
  run.row.traits.nodes = static_cast<int>(reader.at("nodes").integer(1, 1'000'000));
  run.row.log_ratio = reader.at("log_ratio").number(-kLargest, kLargest);
  const std::vector<SpecReader> slopes = reader.at("slopes").elements();
  if (slopes.size() != run.row.slope.size()) {
    reader.at("slopes").refuse(fmt::format("{} numbers", kFactors));
  } else {
    for (size_t i = 0; i < slopes.size(); ++i) run.row.slope[i] = slopes[i].number(-kLargest, kLargest);
  }
  run.spread = reader.at("spread").number(0, kLargest);
  run.measured_residual = reader.at("measured_residual").number(-kLargest, kLargest);
  run.residual = reader.at("residual").number(-kLargest, kLargest);
  return run;
}

/// A list with one element a line.
std::string lines_of(const Json& list) {
  std::string text = "[";
  for (size_t i = 0; i < list.size(); ++i) text += (i > 0 ? ",\n    " : "\n    ") + list[i].dump();
  return text + (list.empty() ? "]" : "\n  ]");
}

/// An object with one key a line, and one element a line of its lists of objects.
std::string document_text(const Json& document) {
  std::string text = "{";
  const char* comma = "\n  ";
  for (const auto& [key, value] : document.items()) {
    text += comma + Json(key).dump() + ": " + (value.is_array() ? lines_of(value) : value.dump());
    comma = ",\n  ";
  }
  return text + "\n}\n";
}

}  // namespace

ErrorSummary summary_of_residuals(const std::vector<double>& residuals) {
  ErrorSummary summary;
  std::vector<double> sizes;
  for (const double residual : residuals) {
    const double error = std::expm1(-residual);
    sizes.push_back(std::abs(error));
    summary.mape += std::abs(error);
    summary.bias += error;
  }
  summary.rows = static_cast<int>(residuals.size());
  if (summary.rows > 0) {
    summary.mape /= summary.rows;
    summary.bias /= summary.rows;
    summary.median = *quantile(sizes, 0.5);
  }
  return summary;
}

const LearnedRun* StackProfile::run(const std::string& id) const {
  const auto found =
      std::find_if(runs.begin(), runs.end(), [&id](const LearnedRun& r) { return r.row.id == id; });
  return found == runs.end() ? nullptr : &*found;
}

const FamilyFold* StackProfile::fold(const std::string& family) const {
  const auto found =
      std::find_if(folds.begin(), folds.end(), [&family](const FamilyFold& f) { return f.family == family; });
  return found == folds.end() ? nullptr : &*found;
}

const SiteRun* SiteProfile::run(const std::string& id) const {
  const auto found = std::find_if(runs.begin(), runs.end(), [&id](const SiteRun& r) { return r.id == id; });
  return found == runs.end() ? nullptr : &*found;
}

std::string stack_profile_text(const StackProfile& profile) {
  Json json = {{"schema", kStackSchema},
               {"software", profile.software},
               {"source", profile.source},
               {"factors", entries_json(profile.model, profile.software)},
               {"covariance", profile.model.covariance},
               {"errors",
                {{"measured", error_json(profile.measured)},
                 {"cross_validated", error_json(profile.cross_validated)}}},
               {"folds", Json::array()},
               {"runs", Json::array()}};
  for (const FamilyFold& fold : profile.folds) {
    json["folds"].push_back({{"family", fold.family},
                             {"source_group", fold.source_group},
                             {"factors", entries_json(fold.model, profile.software)}});
  }
  for (const LearnedRun& run : profile.runs) json["runs"].push_back(run_json(run));
  return document_text(json);
}

Json site_profile_json(const SiteProfile& profile) {
  Json json = {{"schema", kSiteSchema},
               {"gpu", profile.gpu},
               {"software", profile.software},
               {"kernel_profiles", profile.kernel_profiles},
               {"most_nodes", profile.most_nodes},
               {"source", fmt::format("learned from the step times of {} runs, on top of the stack's profile",
                                      profile.runs.size())},
               {"factors", entries_json(profile.model, "")},
               {"covariance", profile.model.covariance},
               {"errors", {{"stack", error_json(profile.stack)}, {"left_out", error_json(profile.left_out)}}},
               {"runs", Json::array()}};
  for (const SiteRun& run : profile.runs) {
    json["runs"].push_back({{"id", run.id},
                            {"configuration", run.configuration},
                            {"spread", kept(run.spread)},
                            {"stack_residual", kept(run.stack_residual)},
                            {"residual", kept(run.residual)},
                            {"others", entries_json(run.others, "")}});
  }
  return json;
}

std::string site_profile_text(const SiteProfile& profile) {
  return document_text(site_profile_json(profile));
}

StackProfile parse_stack_profile(const std::string& text, const std::string& file) {
  const Json json = parse_json(text, file);
  Problems problems(file);
  const SpecReader reader(json, "", problems);
  reader.only({"schema", "software", "source", "factors", "covariance", "errors", "folds", "runs"});
  StackProfile profile;
  reader.at("schema").choice({kStackSchema});
  profile.software = reader.at("software").text();
  profile.source = reader.at("source").text();
  profile.model.entries = read_entries(reader.at("factors"), profile.software);
  profile.model.covariance = read_matrix(reader.at("covariance"));
  profile.measured = read_error(reader.at("errors").at("measured"));
  profile.cross_validated = read_error(reader.at("errors").at("cross_validated"));
  for (const SpecReader& fold : reader.at("folds").elements()) {
    fold.only({"family", "source_group", "factors"});
    profile.folds.push_back({fold.at("family").text(),
                             fold.at("source_group").text(),
                             {read_entries(fold.at("factors"), profile.software), {}}});
  }
  for (const SpecReader& run : reader.at("runs").elements())
    profile.runs.push_back(read_run(run, profile.software));
  problems.throw_if_any();
  return profile;
}

SiteProfile parse_site_profile(const std::string& text, const std::string& file) {
  const Json json = parse_json(text, file);
  Problems problems(file);
  const SpecReader reader(json, "", problems);
  if (!reader.is_object() || reader.at("schema").text() != kSiteSchema) {
    reader.at("schema").choice({kSiteSchema});
    problems.throw_if_any();  // another kind of file has no key in common
  }
  reader.only({"schema", "gpu", "software", "kernel_profiles", "most_nodes", "source", "factors",
               "covariance", "errors", "runs"});
  SiteProfile profile;
  profile.gpu = reader.at("gpu").text();
  profile.software = reader.at("software").text();
  profile.model.entries = read_entries(reader.at("factors"), "");
  profile.model.covariance = read_matrix(reader.at("covariance"));
  profile.stack = read_error(reader.at("errors").at("stack"));
  profile.left_out = read_error(reader.at("errors").at("left_out"));
  if (reader.has("kernel_profiles")) {
    for (const SpecReader& hash : reader.at("kernel_profiles").elements())
      profile.kernel_profiles.push_back(hash.text());
  }
  // Files of before take their runs for one node's.
  if (reader.has("most_nodes"))
    profile.most_nodes = static_cast<int>(reader.at("most_nodes").integer(1, 1'000'000));
  for (const SpecReader& one : reader.at("runs").elements()) {
    one.only({"id", "configuration", "spread", "stack_residual", "residual", "others"});
    const std::string id = one.at("id").text();
    // Files of before configurations were told apart take each run for one.
    profile.runs.push_back({id,
                            one.has("configuration") ? one.at("configuration").text() : id,
                            one.at("spread").number(0, kLargest),
                            one.at("stack_residual").number(-kLargest, kLargest),
                            one.at("residual").number(-kLargest, kLargest),
                            {read_entries(one.at("others"), ""), {}}});
  }
  problems.throw_if_any();
  return profile;
}

std::vector<StackProfile> load_stack_profiles() {
  std::vector<StackProfile> profiles;
  for (const std::string& name : preset_names(kFolder)) {
    const std::string path = (data_root() / kFolder / (name + ".json")).string();
    profiles.push_back(parse_stack_profile(read_text_file(path), path));
  }
  return profiles;
}

std::string text_of(const FactorModel& model) {
  std::string text;
  for (const FactorEntry& entry : model.entries) {
    if (entry.value == 1.0) continue;
    if (!text.empty()) text += ", ";
    text += factor_names()[static_cast<size_t>(entry.term.factor)];
    const FactorTerm& term = entry.term;
    std::string of = term.kernels_of;
    if (!term.precision.empty()) of += (of.empty() ? "" : " in ") + term.precision;
    if (!of.empty()) text += " (" + of + ")";
    if (term.first_year != FactorTerm::kAnyYear) {
      text += term.first_year == term.last_year ? fmt::format(" {}", term.first_year)
                                                : fmt::format(" {}-{}", term.first_year, term.last_year);
    }
    if (term.most_nodes > 0) text += fmt::format(" up to {} nodes", term.most_nodes);
    text += ":";
    text += fmt::format(" {:.2f}", entry.value);
  }
  return text;
}

std::string text_of(const FactorModel& model, const RunTraits& run) {
  FactorModel moving;
  for (const FactorEntry& entry : model.entries) {
    if (entry.term.matches(run)) moving.entries.push_back(entry);
  }
  return text_of(moving);
}

}  // namespace orrery
