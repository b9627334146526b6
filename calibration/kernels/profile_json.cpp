#include "calibration/kernels/profile_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "calibration/kernels/profile_sections.hpp"
#include "sim/base/hash.hpp"

namespace orrery {
namespace {

constexpr std::string_view kSchema = "orrery.calibration/1";
constexpr std::array kFp8Family = {Precision::fp8_current, Precision::fp8_block, Precision::mxfp8};
constexpr std::int64_t kLargestExtent = 1'000'000'000'000;

/// Named numbers of a parameter set, in the order of the file. One list serves the writer and the reader.
template <typename Parameters>
struct Field {
  std::string_view key;
  double Parameters::*number;
  Seconds Parameters::*time = nullptr;
  bool absent_is_zero = false;  ///< written only where the rows show it
};
const std::array<Field<GemmParameters>, 12> kGemmFields = {
    {{"efficiency", &GemmParameters::efficiency},
     {"feed_s_per_byte", &GemmParameters::feed},
     {"ramp", &GemmParameters::ramp},
     {"quantisation", &GemmParameters::quantisation},
     {"memory", &GemmParameters::memory},
     {"contention", &GemmParameters::contention},
     {"launch_s", nullptr, &GemmParameters::launch},
     {"split_launch_s", nullptr, &GemmParameters::split_launch},
     {"quantize_launch_s", nullptr, &GemmParameters::quantize_launch},
     {"quantize_memory", &GemmParameters::quantize_memory},
     {"misaligned", &GemmParameters::misaligned},
     {"misaligned_batched", &GemmParameters::misaligned_batched}}};
const std::array<Field<AttentionParameters>, 12> kAttentionFields = {
    {{"efficiency", &AttentionParameters::efficiency},
     {"ramp", &AttentionParameters::ramp},
     {"full_ramp", &AttentionParameters::full_ramp},
     {"narrow", &AttentionParameters::narrow},
     {"wide", &AttentionParameters::wide},
     {"tail", &AttentionParameters::tail},
     {"quantisation", &AttentionParameters::quantisation},
     {"throttle", &AttentionParameters::throttle, nullptr, true},
     {"backward", &AttentionParameters::backward},
     {"backward_wide", &AttentionParameters::backward_wide},
     {"memory", &AttentionParameters::memory},
     {"launch_s", nullptr, &AttentionParameters::launch}}};

template <typename Fields, typename Parameters>
void write_fields(Json& object, const Fields& fields, const Parameters& parameters) {
  for (const auto& field : fields) {
    if (field.absent_is_zero && parameters.*field.number == 0.0) continue;
    object[std::string(field.key)] = field.time ? (parameters.*field.time).base() : parameters.*field.number;
  }
}

template <typename Fields, typename Parameters>
void read_fields(const SpecReader& object, const Fields& fields, Parameters& parameters) {
  for (const auto& field : fields) {
    if (field.absent_is_zero && !object.has(field.key)) continue;
    const double value = object.at(field.key).number(-10.0, 1e6);
    if (field.time) {
      parameters.*field.time = Seconds(value);
    } else {
      parameters.*field.number = value;
    }
  }
}

template <typename Fields>
std::vector<std::string> keys_with(const Fields& fields, std::initializer_list<std::string_view> more) {
  std::vector<std::string> keys(more.begin(), more.end());
  for (const auto& field : fields) keys.emplace_back(field.key);
  return keys;
}

Json device_json(const DeviceSpec& device) {
  Json peaks = Json::object();
  for (size_t i = 0; i < device.peak.size(); ++i) {
    const bool implied = i == static_cast<size_t>(Precision::fp8_current) ||
                         i == static_cast<size_t>(Precision::fp8_block) ||
                         i == static_cast<size_t>(Precision::mxfp8);
    if (device.peak[i] && !implied) peaks[std::string(precision_names()[i])] = device.peak[i]->base() / 1e12;
  }
  return {{"name", device.name},
          {"architecture", device.architecture},
          {"sms", device.sms},
          {"memory_bandwidth", exact_text(device.memory_bandwidth)},
          {"peak_tflops", peaks}};
}

Json gemm_json(const GemmFit& fit) {
  Json object;
  write_fields(object, kGemmFields, fit.parameters);
  object["square_tiles"] = fit.parameters.square_tiles;
  object["measured_sustained"] = fit.measured_sustained;
  object["relative_spread"] = fit.relative_spread;
  object["evidence"] = name_of(fit.evidence);
  object["source"] = fit.source.text;
  return object;
}

Json attention_json(const AttentionFit& fit) {
  Json object;
  write_fields(object, kAttentionFields, fit.parameters);
  object["measured_sustained"] = fit.measured_sustained;
  object["relative_spread"] = fit.relative_spread;
  object["evidence"] = name_of(fit.evidence);
  object["source"] = fit.source.text;
  return object;
}

Json span_of(const std::vector<double>& values) {
  return Json::array(
      {*std::min_element(values.begin(), values.end()), *std::max_element(values.begin(), values.end())});
}

/// Ranges of the measured dimensions: for people, the model looks at the shapes themselves.
template <typename Shapes, typename Dimensions>
Json hull_json(const Shapes& shapes, std::initializer_list<std::string_view> names, Dimensions dimensions) {
  Json hull = Json::object();
  size_t index = 0;
  for (const std::string_view name : names) {
    std::vector<double> values;
    values.reserve(shapes.size());
    for (const auto& row : shapes) values.push_back(static_cast<double>(dimensions(row.shape)[index]));
    if (!values.empty()) hull[std::string(name)] = span_of(values);
    ++index;
  }
  return hull;
}

Json profile_json(const KernelProfile& profile) {
  Json root;
  root["schema"] = kSchema;
  root["gpu"] = profile.gpu;
  root["device"] = device_json(profile.device);
  Json gemm = Json::object(), attention = Json::object(), sustained = Json::object(),
       gemm_hull = Json::object(), attention_hull = Json::object(), gemm_rows = Json::object(),
       attention_rows = Json::object();
  for (const GemmFit& fit : profile.gemm) {
    const std::string key = profile.table_name(fit);
    gemm[key] = gemm_json(fit);
    gemm_hull[key] = hull_json(fit.shapes, {"m", "n", "k", "batch"}, [](const GemmShape& shape) {
      return std::array{shape.m, shape.n, shape.k, shape.batch};
    });
    Json rows = Json::array();
    for (const MeasuredGemm& row : fit.shapes) {
      const GemmShape& shape = row.shape;
      rows.push_back({shape.m, shape.n, shape.k, shape.batch, shape.output_bytes, shape.quantized_inputs,
                      row.time.base(), row.residual_noise});
    }
    gemm_rows[key] = rows;
  }
  for (const AttentionFit& fit : profile.attention) {
    const std::string key(name_of(fit.kernel));
    attention[key] = attention_json(fit);
    attention_hull[key] =
        hull_json(fit.shapes, {"batch", "seq_length", "heads", "head_dim"}, [](const AttentionShape& shape) {
          return std::array{shape.batch, shape.seq_q, shape.heads, shape.head_dim};
        });
    Json rows = Json::array();
    for (const MeasuredAttention& row : fit.shapes) {
      const AttentionShape& shape = row.shape;
      rows.push_back({shape.batch, shape.seq_q, shape.heads, shape.kv_heads, shape.head_dim, shape.value_dim,
                      shape.causal, shape.pass == AttentionPass::backward, row.time.base(),
                      row.overhead.base()});
    }
    attention_rows[key] = rows;
  }
  for (const SustainedFactor& factor : profile.sustained) {
    sustained[std::string(name_of(factor.precision))] = {
        {"factor", factor.factor}, {"evidence", name_of(factor.evidence)}, {"source", factor.source.text}};
  }
  const MemoryFit& memory = profile.memory;
  Json shares = Json::object();
  for (int kind = 0; kind < kMemoryKinds; ++kind) {
    shares[std::string(memory_kind_names()[static_cast<size_t>(kind)])] =
        memory.parameters.share[static_cast<size_t>(kind)];
  }
  root["parameters"] = {{"gemm", gemm},
                        {"attention", attention},
                        {"memory",
                         {{"share", shares},
                          {"launch_s", memory.parameters.launch.base()},
                          {"relative_spread", memory.relative_spread},
                          {"evidence", name_of(memory.evidence)},
                          {"source", memory.source.text}}},
                        {"sustained", sustained}};
  if (profile.power) root["parameters"]["power"] = power_json(*profile.power);
  write_covariance(root, profile);
  root["hull"] = {{"gemm", gemm_hull}, {"attention", attention_hull}};
  if (!memory.ranges.empty()) root["hull"]["memory"] = memory_hull_json(memory);
  write_information(root, profile);
  root["errors"] = Json::array();
  for (const FitError& error : profile.errors) {
    root["errors"].push_back({{"op", error.op},
                              {"precision", error.subset},
                              {"rows", error.rows},
                              {"median", error.median},
                              {"p95", error.p95}});
  }
  root["sources"] = profile.sources;
  root["shapes"] = {
      {"gemm_columns",
       {"m", "n", "k", "batch", "output_bytes", "quantized_inputs", "time_s", "residual_noise"}},
      {"gemm", gemm_rows},
      {"attention_columns",
       {"batch", "seq_length", "heads", "kv_heads", "head_dim", "value_dim", "causal", "backward", "time_s",
        "overhead_s"}},
      {"attention", attention_rows}};
  return root;
}

bool flat(const Json& value) {
  for (const auto& item : value) {
    if (item.is_structured()) return false;
  }
  return true;
}

bool all_numbers(const Json& value) {
  return value.is_array() &&
         std::all_of(value.begin(), value.end(), [](const Json& x) { return x.is_number(); });
}

/// Indented, but a list or object of plain values stays on one line while that is short, a list of numbers
/// always.
void append_json(std::string& text, const Json& value, size_t indent) {
  constexpr size_t kLongest = 100;
  if (!value.is_structured() || value.empty()) {
    text += value.dump();
    return;
  }
  if (flat(value)) {
    const std::string line = value.dump();
    if (line.size() <= kLongest || all_numbers(value)) {
      text += line;
      return;
    }
  }
  const bool object = value.is_object();
  text += object ? "{\n" : "[\n";
  size_t left = value.size();
  for (auto item = value.begin(); item != value.end(); ++item) {
    text.append(indent + 1, ' ');
    if (object) text += Json(item.key()).dump() + ": ";
    append_json(text, *item, indent + 1);
    text += --left > 0 ? ",\n" : "\n";
  }
  text.append(indent, ' ');
  text += object ? '}' : ']';
}

std::string text_of(const Json& value) {
  std::string text;
  append_json(text, value, 0);
  return text + "\n";
}

Evidence read_evidence(const SpecReader& reader) {
  return static_cast<Evidence>(reader.choice(evidence_names()));
}

/// Elements of a row of the measured shapes; nothing (and a problem) if their number is wrong.
std::vector<SpecReader> row_of(const SpecReader& reader, size_t columns) {
  std::vector<SpecReader> items = reader.elements();
  if (items.size() != columns) {
    reader.refuse(fmt::format("a list of {} values", columns));
    items.clear();
  }
  return items;
}

GemmFit read_gemm(const std::string& name, const SpecReader& object, const SpecReader& rows) {
  GemmFit fit;
  const bool second = name.ends_with(kSustainedSuffix);
  const auto precision =
      precision_named(second ? name.substr(0, name.size() - kSustainedSuffix.size()) : name);
  if (!precision) object.refuse_message(fmt::format("\"{}\" is no precision", name));
  fit.precision = precision.value_or(Precision::bf16);
  object.only(keys_with(kGemmFields,
                        {"square_tiles", "measured_sustained", "relative_spread", "evidence", "source"}));
  read_fields(object, kGemmFields, fit.parameters);
  fit.parameters.square_tiles = object.at("square_tiles").boolean();
  fit.measured_sustained = object.at("measured_sustained").boolean();
  fit.relative_spread = object.at("relative_spread").number(0, 10);
  if (object.has("evidence")) fit.evidence = read_evidence(object.at("evidence"));
  fit.source.text = object.at("source").text();
  for (const SpecReader& row : rows.elements()) {
    const std::vector<SpecReader> items = row_of(row, 8);
    if (items.empty()) continue;
    GemmShape shape;
    shape.m = items[0].integer(1, kLargestExtent);
    shape.n = items[1].integer(1, kLargestExtent);
    shape.k = items[2].integer(1, kLargestExtent);
    shape.batch = items[3].integer(1, kLargestExtent);
    shape.precision = fit.precision;
    shape.output_bytes = items[4].number(0, 64);
    shape.quantized_inputs = items[5].boolean();
    fit.shapes.push_back({shape, Seconds(items[6].number_above(0)), items[7].number_above(0)});
  }
  return fit;
}

/// One share a kind; profiles written before there were kinds have `streaming` and `scattered` alone.
void read_memory_shares(const SpecReader& memory, MemoryParameters& parameters) {
  if (memory.has("streaming") && !memory.has("share")) {
    parameters.set_shares(memory.at("streaming").number_above(0), memory.at("scattered").number_above(0));
    return;
  }
  for (int kind = 0; kind < kMemoryKinds; ++kind) {
    const auto i = static_cast<size_t>(kind);
    parameters.share[i] = memory.at("share").at(memory_kind_names()[i]).number_above(0);
  }
}

AttentionFit read_attention(const std::string& name, const SpecReader& object, const SpecReader& rows) {
  AttentionFit fit;
  const auto kernel = attention_kernel_named(name);
  if (!kernel) object.refuse_message(fmt::format("\"{}\" is no attention kernel", name));
  fit.kernel = kernel.value_or(AttentionKernel::cudnn);
  object.only(keys_with(kAttentionFields, {"measured_sustained", "relative_spread", "evidence", "source"}));
  read_fields(object, kAttentionFields, fit.parameters);
  fit.measured_sustained = object.at("measured_sustained").boolean();
  fit.relative_spread = object.at("relative_spread").number(0, 10);
  fit.evidence = read_evidence(object.at("evidence"));
  fit.source.text = object.at("source").text();
  for (const SpecReader& row : rows.elements()) {
    const std::vector<SpecReader> items = row_of(row, 10);
    if (items.empty()) continue;
    AttentionShape shape;
    shape.batch = items[0].integer(1, kLargestExtent);
    shape.seq_q = shape.seq_kv = items[1].integer(1, kLargestExtent);
    shape.heads = items[2].integer(1, kLargestExtent);
    shape.kv_heads = items[3].integer(1, kLargestExtent);
    shape.head_dim = items[4].integer(1, kLargestExtent);
    shape.value_dim = items[5].integer(1, kLargestExtent);
    shape.causal = items[6].boolean();
    shape.pass = items[7].boolean() ? AttentionPass::backward : AttentionPass::forward;
    shape.kernel = fit.kernel;
    fit.shapes.push_back({shape, Seconds(items[8].number_above(0)), Seconds(items[9].number(0, 1))});
  }
  return fit;
}

}  // namespace

std::string profile_text(const KernelProfile& profile) {
  Json root = profile_json(profile);
  root["hash"] = content_hash(text_of(root));
  return text_of(root);
}

DeviceSpec read_reference_device(const SpecReader& reader) {
  DeviceSpec device;
  reader.only({"name", "architecture", "sms", "memory_bandwidth", "peak_tflops"});
  device.name = reader.at("name").text();
  device.architecture = reader.at("architecture").text();
  device.sms = static_cast<int>(reader.at("sms").integer(1, 100000));
  device.memory_bandwidth = reader.at("memory_bandwidth").quantity<BytesPerSecond>();
  for (const auto& [name, peak] : reader.at("peak_tflops").members()) {
    const auto precision = precision_named(name);
    if (!precision) {
      peak.refuse_message(fmt::format("\"{}\" is no precision", name));
      continue;
    }
    device.peak[static_cast<size_t>(*precision)] = teraflops(peak.number_above(0));
  }
  for (const Precision precision : kFp8Family)
    device.peak[static_cast<size_t>(precision)] = device.peak_for(Precision::fp8);
  return device;
}

KernelProfile parse_profile(std::string_view text, const std::string& file) {
  const Json value = parse_json(text, file);
  Problems problems(file);
  const SpecReader root(value, "", problems);
  if (!root.is_object() || root.at("schema").text() != kSchema) {
    root.at("schema").choice({kSchema});
    problems.throw_if_any();  // another kind of file has no key in common
  }
  KernelProfile profile;
  std::vector<std::string> keys = {"schema",     "gpu",  "device", "parameters", "covariance_parameters",
                                   "covariance", "hull", "errors", "sources",    "shapes",
                                   "hash"};
  keys.insert(keys.end(), information_keys().begin(), information_keys().end());
  root.only(keys);
  profile.gpu = root.at("gpu").text();
  profile.device = read_reference_device(root.at("device"));
  const SpecReader parameters = root.at("parameters"), shapes = root.at("shapes");
  for (const auto& [name, object] : parameters.at("gemm").members()) {
    profile.gemm.push_back(read_gemm(name, object, shapes.at("gemm").at(name)));
  }
  for (const auto& [name, object] : parameters.at("attention").members()) {
    profile.attention.push_back(read_attention(name, object, shapes.at("attention").at(name)));
  }
  const SpecReader memory = parameters.at("memory");
  read_memory_shares(memory, profile.memory.parameters);
  profile.memory.parameters.launch = Seconds(memory.at("launch_s").number(0, 1));
  profile.memory.relative_spread = memory.at("relative_spread").number(0, 10);
  profile.memory.evidence = read_evidence(memory.at("evidence"));
  profile.memory.source.text = memory.at("source").text();
  read_memory_hull(root.at("hull"), profile.memory);
  if (parameters.has("power")) profile.power = read_power_fit(parameters.at("power"));
  for (const auto& [name, object] : parameters.at("sustained").members()) {
    const auto precision = precision_named(name);
    if (!precision) object.refuse_message(fmt::format("\"{}\" is no precision", name));
    profile.sustained.push_back({precision.value_or(Precision::bf16), object.at("factor").number_above(0),
                                 read_evidence(object.at("evidence")), Source{object.at("source").text()}});
  }
  for (const SpecReader& error : root.at("errors").elements()) {
    profile.errors.push_back({error.at("op").text(),
                              error.at("precision").text(),
                              static_cast<int>(error.at("rows").integer(0, kLargestExtent)),
                              error.at("median").number(0, 100),
                              error.at("p95").number(0, 100),
                              {}});
  }
  for (const SpecReader& source : root.at("sources").elements()) profile.sources.push_back(source.text());
  profile.hash = root.at("hash").text();
  read_covariance(root, profile);
  read_information(root, profile);
  problems.throw_if_any();
  return profile;
}

}  // namespace orrery
