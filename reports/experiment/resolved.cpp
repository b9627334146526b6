#include "reports/experiment/resolved.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "models/layer_shapes.hpp"
#include "models/software_document.hpp"
#include "reports/experiment/dotted_path.hpp"
#include "reports/experiment/spec_json.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/evidence.hpp"
#include "sim/base/hash.hpp"

namespace orrery {
namespace {

constexpr const char* kGivenOrigin = "given";
constexpr const char* kDefaultOrigin = "default";
/// Keys that describe a preset and set nothing.
constexpr std::array<std::string_view, 5> kDescriptions = {"schema", "source", "sources", "note", "preset"};
constexpr const char* kAttentionKernel = "attention_kernel";

using Path = std::vector<std::string>;

/// A document that gives values below a place of a section: the experiment itself, or a preset.
struct Layer {
  Path place;
  Json document;
  std::string origin;
  bool name_stands_for_members = false;  ///< "recompute": "full" gives all of recompute
};

bool gives(const Layer& layer, const Path& path) {
  if (path.size() < layer.place.size() || !std::equal(layer.place.begin(), layer.place.end(), path.begin()))
    return false;
  const Json* value = &layer.document;
  for (size_t i = layer.place.size(); i < path.size(); ++i) {
    if (!value->is_object()) return layer.name_stands_for_members && !value->is_null();
    const auto member = value->find(path[i]);
    if (member == value->end()) return false;
    value = &*member;
  }
  return !value->is_null();
}

void note_origins(const Json& value, Path& path, const std::string& pointer, const std::vector<Layer>& layers,
                  Json& origins) {
  if (value.is_object()) {
    for (const auto& [key, member] : value.items()) {
      path.push_back(key);
      note_origins(member, path, pointer + "/" + pointer_token(key), layers, origins);
      path.pop_back();
    }
    return;
  }
  std::string origin = kDefaultOrigin;
  for (const Layer& layer : layers) {
    if (gives(layer, path)) {
      origin = layer.origin;
      break;
    }
  }
  origins[pointer] = origin;
}

void drop_descriptions(Json& value) {
  if (!value.is_object()) return;
  for (const std::string_view key : kDescriptions) value.erase(std::string(key));
  for (auto& [key, member] : value.items()) drop_descriptions(member);
}

/// Text of a preset that is named by a value ("NAME" or {"preset": "NAME"}); empty without one.
std::string preset_name(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("preset") && value["preset"].is_string()) {
    return value["preset"].get<std::string>();
  }
  return "";
}

class Resolver {
 public:
  explicit Resolver(const Experiment& experiment) : experiment_(experiment) {
    result_.values = Json::object();
    result_.origins = Json::object();
    result_.inputs.push_back({"experiment", content_hash(experiment.document.dump())});
  }

  ResolvedExperiment resolve() {
    add("schema", "orrery.experiment/1", {});
    add("name", experiment_.name, {given("name")});
    add_cluster();
    add_model();
    StackDocument document = stack_document();
    const std::vector<Layer> stack = software_layers(document);
    Json software = std::move(document.values);
    settle_attention_kernel(software);
    settle_parameter_gather(software);
    add("training", training_json(experiment_.training, gradient_dtype()), training_layers(stack));
    drop_descriptions(software);
    // The preset stays named: an object without one would stand on the default stack.
    Json named = {{"preset", experiment_.software.name}};
    named.update(software);
    add("software", std::move(named), stack);
    add("parallel", plan_json(experiment_.parallel), parallel_layers(stack));
    if (experiment_.measured) add("measured", to_json(*experiment_.measured), {given("measured")});
    if (!experiment_.calibration.empty()) add("calibration", experiment_.calibration, {given("calibration")});
    return std::move(result_);
  }

 private:
  Json section(const std::string& key) const {
    const auto member = experiment_.document.find(key);
    return member == experiment_.document.end() ? Json() : *member;
  }

  Layer given(const std::string& key) const {
    const bool named = key == "model" || key == "software";
    Json document = section(key);
    // A preset's name is given as such; what it stands for is not.
    if (named && document.is_string()) document = Json{{"preset", document}};
    return {{}, std::move(document), kGivenOrigin, !named};
  }

  void add(const std::string& key, Json value, const std::vector<Layer>& layers) {
    Path path;
    note_origins(value, path, "/" + key, layers, result_.origins);
    result_.values[key] = std::move(value);
  }

  /// Reads a preset for its origin, its hash and what it assumes.
  void add_preset_layer(const std::string& folder, const std::string& name, Path place,
                        std::vector<Layer>& layers) {
    if (name.empty()) return;
    const std::string file = folder + "/" + name + ".json";
    Json document = parse_json(add_input(file), file);
    note_assumptions(file, document.is_object() ? document.value("sources", Json()) : Json(), layers.front());
    drop_descriptions(document);
    layers.push_back({std::move(place), std::move(document), "preset " + name, false});
  }

  /// True for a value of a software preset that this experiment does not use.
  bool is_idle(const std::string& key) const {
    const TrainingSpec& training = experiment_.training;
    if (key.starts_with("quantize")) return !is_quantized(training.precision);
    if (key.starts_with("adapter_")) return !training.lora;
    if (key.starts_with("attention_score_passes_")) {
      return experiment_.software.attention_kernel != AttentionKernel::unfused;
    }
    constexpr std::string_view kModes = "host_by_launch.";
    return key.starts_with(kModes) && !key.substr(kModes.size()).starts_with(launch_name());
  }

  std::string_view launch_name() const {
    constexpr std::array<std::string_view, 3> kLaunches = {"eager", "compiled", "cuda_graph"};
    return kLaunches[static_cast<size_t>(experiment_.software.launch)];
  }

  void collect_assumed(const Json& sources, const std::string& path, const Layer& given,
                       std::string& assumed) const {
    for (const auto& [key, source] : sources.items()) {
      const std::string name = dotted_path(path, key);
      if (source.is_object()) {
        collect_assumed(source, name, given, assumed);
      } else if (source.is_string() && Source{source.get<std::string>()}.assumed() && !is_idle(name) &&
                 !gives(given, split(name))) {
        assumed += (assumed.empty() ? "" : ", ") + name;
      }
    }
  }

  static Path split(const std::string& dotted) {
    Path path;
    for (size_t begin = 0; begin <= dotted.size();) {
      const size_t end = std::min(dotted.find('.', begin), dotted.size());
      path.push_back(dotted.substr(begin, end - begin));
      begin = end + 1;
    }
    return path;
  }

  /// One line a preset: which of its values in use rest on no source.
  void note_assumptions(const std::string& file, const Json& sources, const Layer& given) {
    std::string assumed;
    if (sources.is_object()) collect_assumed(sources, "", given, assumed);
    if (!assumed.empty()) result_.assumptions.push_back("assumed in " + file + ": " + assumed);
  }

  void add_cluster() {
    Json values = Json::object();
    split_origins(resolved_cluster_json(experiment_.cluster), "/cluster", values);
    // A GPU is found by its name in the calibration, so that the echo keeps it.
    const std::string& gpu = experiment_.device.name;
    if (gpu != "custom") {
      values["node"]["gpu"]["preset"] = gpu;
      result_.origins["/cluster/node/gpu/preset"] = experiment_.cluster.origins.of("node.gpu.sms");
    }
    result_.values["cluster"] = std::move(values);
    add_topology_input("clusters", experiment_.cluster.preset);
    add_topology_input("nodes", experiment_.cluster.node.preset);
    if (gpu != "custom") add_topology_input("gpus", gpu);
    add_input("topologies/presets/defaults.json");
    const std::vector<std::string>& assumed = experiment_.cluster.origins.assumptions;
    for (const std::string& assumption : assumed) result_.assumptions.push_back("cluster." + assumption);
  }

  /// Takes {"value", "origin"} pairs apart.
  void split_origins(const Json& pairs, const std::string& pointer, Json& values) {
    for (const auto& [key, member] : pairs.items()) {
      const std::string place = pointer + "/" + pointer_token(key);
      if (member.contains("origin")) {
        values[key] = member["value"];
        result_.origins[place] = member["origin"];
      } else {
        values[key] = Json::object();
        split_origins(member, place, values[key]);
      }
    }
  }

  void add_topology_input(std::string_view kind, const std::string& preset) {
    if (!preset.empty()) add_input(fmt::format("topologies/presets/{}/{}.json", kind, preset));
  }

  std::string add_input(const std::string& file) {
    std::string text = read_text_file((data_root() / file).string());
    result_.inputs.push_back({file, content_hash(text)});
    return text;
  }

  void add_model() {
    std::vector<Layer> layers = {given("model")};
    add_preset_layer("models/presets", preset_name(section("model")), {}, layers);
    add("model",
        model_json(experiment_.model,
                   padded_vocabulary(experiment_.model, experiment_.software.vocab_multiple,
                                     experiment_.parallel.tensor)),
        layers);
  }

  /// The stack has been read without problems.
  StackDocument stack_document() const {
    Problems problems("");
    Json software = section("software");
    if (software.is_null()) software = Json::object();
    StackDocument document = lay_out_software(SpecReader(software, "", problems),
                                              asked_of_stack(experiment_.training, section("parallel")));
    problems.throw_if_any();
    return document;
  }

  std::vector<Layer> software_layers(const StackDocument& document) {
    const std::string file = "models/software/" + document.preset + ".json";
    add_input(file);
    std::vector<Layer> layers = {given("software")};
    note_assumptions(file, document.sources, layers.front());
    for (auto layer = document.layers.rbegin(); layer != document.layers.rend(); ++layer) {
      Json values = layer->values;
      drop_descriptions(values);
      layers.push_back({{}, std::move(values), layer->origin, false});
    }
    const Json::json_pointer chosen = attention_choice(document.values);
    for (Layer& layer : layers) keep_attention_kernel(layer.document, chosen);
    return layers;
  }

  /// The member of an attention kernel by architecture that this GPU takes for this model's heads.
  Json::json_pointer attention_choice(const Json& software) const {
    const std::string& architecture = experiment_.device.architecture;
    const Json& kernels = software[kAttentionKernel];
    Json::json_pointer unequal("/unequal_heads/" + architecture);
    const Json::json_pointer own("/" + architecture);
    const bool narrower = experiment_.model.has_unequal_heads();
    if (kernels.is_object() && narrower && kernels.contains(unequal)) return unequal;
    return kernels.is_object() && kernels.contains(own) ? own : Json::json_pointer("/default");
  }

  /// Puts the chosen member in the place of a list by architecture, or nothing where a part has none.
  static void keep_attention_kernel(Json& part, const Json::json_pointer& chosen) {
    if (!part.is_object() || !part.contains(kAttentionKernel) || !part[kAttentionKernel].is_object()) return;
    const Json kernels = part[kAttentionKernel];
    if (kernels.contains(chosen)) {
      part[kAttentionKernel] = kernels[chosen];
    } else {
      part.erase(kAttentionKernel);
    }
  }

  void settle_attention_kernel(Json& software) const {
    keep_attention_kernel(software, attention_choice(software));
    if (experiment_.software.unusable_attention_kernel) software[kAttentionKernel] = "unfused";
  }

  /// A recipe's default that has nothing to act on would be refused where it is given.
  void settle_parameter_gather(Json& software) const {
    if (experiment_.parallel.zero == 0 && software.value("fp8_parameter_gather", false))
      software["fp8_parameter_gather"] = false;
  }

  GradientDtype gradient_dtype() const {
    return gradient_dtype_of(experiment_.training, experiment_.software);
  }

  /// The training's own keys, then the software's `gradient_dtype` where that is the one taken.
  std::vector<Layer> training_layers(const std::vector<Layer>& stack) const {
    std::vector<Layer> layers = {given("training")};
    if (gradient_dtype() == experiment_.software.gradient_dtype)
      append_members(stack, {"gradient_dtype"}, layers);
    return layers;
  }

  /// The plan's own keys, then the software's `overlap`.
  std::vector<Layer> parallel_layers(const std::vector<Layer>& stack) const {
    std::vector<Layer> layers = {given("parallel")};
    append_members(stack, {"overlap"}, layers);
    return layers;
  }

  static void append_members(const std::vector<Layer>& stack, const std::vector<std::string>& keys,
                             std::vector<Layer>& layers) {
    for (const Layer& layer : stack) {
      Json members = Json::object();
      for (const std::string& key : keys) {
        if (layer.document.is_object() && layer.document.contains(key)) members[key] = layer.document[key];
      }
      layers.push_back({{}, std::move(members), layer.origin, false});
    }
  }

  const Experiment& experiment_;
  ResolvedExperiment result_;
};

}  // namespace

ResolvedExperiment resolve(const Experiment& experiment) { return Resolver(experiment).resolve(); }

}  // namespace orrery
