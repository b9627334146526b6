#include "models/software_document.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "models/software_stack.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/installed_json.hpp"
#include "sim/base/json_edit.hpp"
#include "sim/base/presets.hpp"
#include "sim/cost/year_month.hpp"

namespace orrery {
namespace {

constexpr const char* kDefaultStack = "megatron-core";
constexpr const char* kFolder = "models/software";
/// Keys of a preset that say how its values change; they are no values themselves.
constexpr std::array<const char*, 4> kRules = {"since", "history", "variants", "recipes"};
constexpr std::array<const char*, 5> kRecipes = {"fp8", "fp8_current", "fp8_block", "mxfp8", "nvfp4"};

/// Refuses every value below `changes` that `source` does not explain; a text explains all that is below it.
void require_sources(const SpecReader& changes, const Json& source) {
  if (source.is_string() && !source.get_ref<const std::string&>().empty()) return;
  if (!changes.is_object()) {
    changes.refuse_message("has no source; expected a text at the same place of \"sources\"");
    return;
  }
  for (const auto& [key, value] : changes.members()) {
    require_sources(value, source.is_object() && source.contains(key) ? source[key] : Json());
  }
}

/// A part of the keys of a stack, read as strictly as the whole.
void check_changes(const SpecReader& changes) {
  for (const char* key : {"schema", "source", "sources", "date"}) {
    if (changes.has(key)) changes.at(key).refuse_message("cannot change");
  }
  read_stack_values(changes);
}

/// The keys of a preset that its rules and its values consist of, read from its file.
class Preset {
 public:
  explicit Preset(std::string name, Json document)
      : name_(std::move(name)),
        document_(std::move(document)),
        problems_(fmt::format("{}/{}.json", kFolder, name_)),
        reader_(document_, "", problems_) {
    since_ = read_year_month(reader_.at("since"));
    read_history();
    read_variants();
    read_recipes();
    problems_.throw_if_any();
  }
  Preset(const Preset&) = delete;
  Preset& operator=(const Preset&) = delete;

  YearMonth since() const { return *since_; }
  const Json& document() const { return document_; }

  /// The preset's values at a date; the variants asked for later are those of that date.
  StackDocument as_of(YearMonth date) {
    StackDocument stack;
    stack.preset = name_;
    Json values = document_;
    for (const char* rule : kRules) values.erase(rule);
    values.erase("sources");
    stack.layers.push_back({"preset " + name_, std::move(values)});
    if (document_.contains("sources")) stack.sources = document_["sources"];
    Json variants = document_.contains("variants") ? document_["variants"] : Json::object();
    for (const Entry& entry : history_) {
      if (date < entry.from) break;
      add_layer(stack, fmt::format("preset {} from {}", name_, to_text(entry.from)), entry.changes,
                entry.sources);
      merge_members(variants, entry.variants);
    }
    variants_ = std::move(variants);
    variant_sources_ = stack.sources.contains("variants") ? stack.sources["variants"] : Json::object();
    return stack;
  }

  /// Month from which the framework has a recipe of 8 or 4 bits, if that is later than its description.
  std::optional<YearMonth> has_since(Precision precision) const {
    for (const auto& [name, since] : recipes_) {
      if (name == name_of(precision)) return since;
    }
    return std::nullopt;
  }

  /// Lays the keys that hold for `key` = `value` over the stack; false if the preset lists none.
  bool add_variant(StackDocument& stack, const std::string& key, const std::string& value) const {
    const Json::json_pointer place(fmt::format("/{}/{}", key, value));
    if (!variants_.contains(place)) return false;
    add_layer(stack, fmt::format("preset {}, {} {}", name_, key, value), variants_[place],
              variant_sources_.contains(place) ? variant_sources_[place] : Json::object());
    return true;
  }

  std::vector<std::string> variants(const std::string& key) const {
    std::vector<std::string> names;
    if (!variants_.contains(key)) return names;
    for (const auto& [name, changes] : variants_[key].items()) names.push_back(name);
    return names;
  }

 private:
  struct Entry {
    YearMonth from;
    Json changes, sources, variants;
  };

  static void add_layer(StackDocument& stack, std::string origin, const Json& changes, const Json& sources) {
    stack.layers.push_back({std::move(origin), changes});
    merge_members(stack.sources, sources);
  }

  void read_history() {
    if (!reader_.has("history")) return;
    std::optional<YearMonth> previous = since_;
    for (const SpecReader& entry : reader_.at("history").elements()) {
      entry.only({"from", "changes", "sources", "variants"});
      const std::optional<YearMonth> from = read_year_month(entry.at("from"));
      if (from && previous && *from <= *previous) {
        entry.at("from").refuse(
            fmt::format("a month after {}: the entries stand in ascending order", to_text(*previous)));
      }
      const SpecReader changes = entry.at("changes");
      check_changes(changes);
      if (entry.is_object() && changes.is_object()) {
        const Json sources = entry.has("sources") ? entry.json()["sources"] : Json::object();
        require_sources(changes, sources);
        Json variants = Json::object();
        if (entry.has("variants")) {
          check_variants(entry.at("variants"));
          variants = entry.json()["variants"];
          require_sources(entry.at("variants"),
                          sources.contains("variants") ? sources["variants"] : Json::object());
        }
        if (from) history_.push_back({*from, changes.json(), sources, std::move(variants)});
      }
      if (from) previous = from;
    }
  }

  void read_variants() {
    if (!reader_.has("variants")) return;
    check_variants(reader_.at("variants"));
  }

  void read_recipes() {
    if (!reader_.has("recipes")) return;
    const SpecReader recipes = reader_.at("recipes");
    recipes.only(std::vector<std::string>(kRecipes.begin(), kRecipes.end()));
    for (const auto& [name, since] : recipes.members()) {
      if (const auto month = read_year_month(since)) recipes_.emplace_back(name, *month);
    }
  }

  static void check_variants(const SpecReader& variants) {
    variants.only({"fusion", "gradient_dtype", "gradient_overlap", "precision"});
    if (variants.has("gradient_overlap")) variants.at("gradient_overlap").only({"false", "true"});
    if (variants.has("fusion")) variants.at("fusion").only({"none", "partial", "full"});
    if (variants.has("gradient_dtype")) variants.at("gradient_dtype").only({"fp32", "bf16", "fp16"});
    if (variants.has("precision"))
      variants.at("precision").only(std::vector<std::string>(kRecipes.begin(), kRecipes.end()));
    for (const auto& [key, values] : variants.members()) {
      for (const auto& [value, changes] : values.members()) check_changes(changes);
    }
  }

  std::string name_;
  Json document_;
  Problems problems_;
  SpecReader reader_;
  std::optional<YearMonth> since_;
  std::vector<Entry> history_;
  std::vector<std::pair<std::string, YearMonth>> recipes_;
  Json variants_ = Json::object();
  Json variant_sources_ = Json::object();
};

/// Presets that describe their framework at `date`.
std::string described_at(YearMonth date) {
  std::vector<std::string> names;
  for (const std::string& name : preset_names(kFolder)) {
    const Json document = installed_json(std::string(kFolder) + "/" + name + ".json");
    const bool dated = document.is_object() && document.contains("since") && document["since"].is_string();
    const auto since = dated ? parse_year_month(document["since"].get<std::string>()) : std::nullopt;
    if (since && *since <= date) names.push_back(name);
  }
  return names.empty() ? "no preset does" : list_names(names) + (names.size() == 1 ? " does" : " do");
}

std::string text_of(const Json& values, const char* key) {
  return values.contains(key) && values[key].is_string() ? values[key].get<std::string>() : "";
}

Json together(const StackDocument& stack) {
  Json values = Json::object();
  for (const StackLayer& layer : stack.layers) merge_members(values, layer.values);
  return values;
}

void choose_fusion(const SpecReader& reader, const Preset& preset, const Json& given, StackDocument& stack) {
  const std::string own = text_of(together(stack), "fusion");
  const std::string asked = text_of(given, "fusion");
  if (asked.empty() || asked == own || preset.add_variant(stack, "fusion", asked)) return;
  if (given.contains("forward_passes") && given.contains("backward_passes")) return;
  std::vector<std::string> listed = preset.variants("fusion");
  listed.push_back(own);
  std::sort(listed.begin(), listed.end());
  // An unknown word is refused where the values are read.
  if (std::find(kFusions.begin(), kFusions.end(), asked) == kFusions.end()) return;
  reader.at("fusion").refuse(
      fmt::format("{}: the kernels of \"{}\" are counted for no other (or give "
                  "forward_passes and backward_passes)",
                  list_names(listed), stack.preset));
}

/// Whether the reduction of the gradients is overlapped: as `parallel` says, else as the stack does.
bool overlaps_gradients(const Json& given, const StackAsked& asked, const StackDocument& stack) {
  if (asked.overlap_gradient) return *asked.overlap_gradient;
  const Json::json_pointer place("/overlap/gradient");
  for (const Json& values : {given, together(stack)}) {
    if (values.contains(place) && values[place].is_boolean()) return values[place].get<bool>();
  }
  return false;
}

void choose_gradient_dtype(const Preset& preset, const Json& given, const StackAsked& asked,
                           StackDocument& stack) {
  constexpr std::array<const char*, 3> kNames = {"fp32", "bf16", "fp16"};
  const std::string counted = text_of(together(stack), "gradient_dtype");  // what the preset's counts are of
  std::string dtype = text_of(given, "gradient_dtype");
  if (asked.gradient_dtype) dtype = kNames[static_cast<size_t>(*asked.gradient_dtype)];
  if (dtype.empty() && (asked.precision == Precision::bf16 || is_quantized(asked.precision))) {
    preset.add_variant(stack, "gradient_overlap", overlaps_gradients(given, asked, stack) ? "true" : "false");
    dtype = text_of(together(stack), "gradient_dtype");
  }
  // Where the preset lists none its counts hold for every type.
  if (!dtype.empty() && dtype != counted) preset.add_variant(stack, "gradient_dtype", dtype);
}

/// The casts that stand in a preset are fp8's (per tensor, delayed scaling).
void choose_precision(const SpecReader& reader, const Preset& preset, const Json& given, Precision precision,
                      StackDocument& stack) {
  if (!is_quantized(precision)) return;
  const std::string asked(name_of(precision));
  if (precision != Precision::fp8) {
    // What fp8 does on one GPU says nothing of another recipe there.
    for (StackLayer& layer : stack.layers) layer.values.erase("quantize_on");
  }
  if (preset.add_variant(stack, "precision", asked) || precision == Precision::fp8) return;
  if (given.contains("quantize_forward") && given.contains("quantize_backward")) return;
  std::vector<std::string> listed = preset.variants("precision");
  if (std::find(listed.begin(), listed.end(), "fp8") == listed.end()) listed.insert(listed.begin(), "fp8");
  const std::string parent = reader.pointer().substr(0, reader.pointer().rfind('/'));
  reader.problems().add(
      parent + "/training/precision", fmt::format("\"{}\"", asked),
      fmt::format("{} or a 16- or 32-bit format: the casts of \"{}\" are counted for no other "
                  "(or give software.quantize_forward and quantize_backward)",
                  list_names(listed), stack.preset));
}

}  // namespace

StackDocument lay_out_software(const SpecReader& reader, const StackAsked& asked) {
  const Precision precision = asked.precision;
  Json given = reader.is_object() ? reader.json() : Json::object();
  Json name = reader.json();
  if (reader.is_object())
    name = Json{{"preset", given.contains("preset") ? given["preset"] : Json(kDefaultStack)}};
  given.erase("preset");
  std::string preset_name;
  Json document = with_preset(SpecReader(name, reader.pointer(), reader.problems()), kFolder, &preset_name);
  if (document.empty()) return {};
  Preset preset(preset_name, std::move(document));

  for (const char* rule : kRules) {
    if (!given.contains(rule)) continue;
    reader.at(rule).refuse_message("belongs in a preset of models/software, not in an experiment");
    given.erase(rule);
  }
  std::optional<YearMonth> date = preset.since();
  if (given.contains("date")) {
    date = read_year_month(reader.at("date"));
  } else if (preset.document().contains("date")) {
    date =
        read_year_month(SpecReader(preset.document()["date"], reader.pointer() + "/date", reader.problems()));
  }
  if (date && *date < preset.since()) {
    reader.at("date").refuse(fmt::format("{} or later: \"{}\" is not described before; at that date {}",
                                         to_text(preset.since()), preset_name, described_at(*date)));
  }
  // Without a date of its own an experiment means the first software that has its recipe.
  const std::optional<YearMonth> recipe = preset.has_since(precision);
  const bool later = recipe && date && *date < *recipe;
  if (later && given.contains("date")) {
    const std::string parent = reader.pointer().substr(0, reader.pointer().rfind('/'));
    reader.problems().add(parent + "/training/precision", fmt::format("\"{}\"", name_of(precision)),
                          fmt::format("a format that \"{}\" had in {}: that one came in {} (software.date)",
                                      preset_name, to_text(*date), to_text(*recipe)));
  } else if (later) {
    date = recipe;
  }
  StackDocument stack = preset.as_of(date.value_or(preset.since()));
  if (later) {
    stack.layers.push_back({fmt::format("preset {}, precision {}", preset_name, name_of(precision)),
                            Json{{"date", to_text(*date)}}});
  }
  choose_fusion(reader, preset, given, stack);
  choose_gradient_dtype(preset, given, asked, stack);
  choose_precision(reader, preset, given, precision, stack);
  stack.sources.erase("variants");
  stack.values = together(stack);
  for (const char* key : {"quantize_forward", "quantize_backward", "quantize_weights"}) {
    // A count given without an architecture holds on all of them.
    if (!given.contains(key) || !stack.values.contains("quantize_on")) continue;
    for (auto& [architecture, counts] : stack.values["quantize_on"].items()) counts.erase(key);
  }
  merge_members(stack.values, given);
  return stack;
}

}  // namespace orrery
