#include "reports/answers/run_description.hpp"

#include <cstdint>

#include "topologies/cluster_spec.hpp"

namespace orrery {
namespace {

/// Keys of `training` that belong to the plan: what a search varies beside `parallel`.
constexpr const char* kPlanKeys[] = {"micro_batch", "recompute"};

/// Keys in alphabetical order at every depth: files may write them in any.
nlohmann::json sorted(const Json& json) { return nlohmann::json::parse(json.dump()); }

}  // namespace

const Json& member_or_null(const Json& object, const char* key) {
  static const Json kNull;
  if (!object.is_object()) return kNull;
  const auto member = object.find(key);
  return member == object.end() ? kNull : *member;
}

std::string model_kind(const Json& experiment) {
  if (!member_or_null(member_or_null(experiment, "training"), "lora").is_null()) return "lora";
  const Json& model = member_or_null(experiment, "model");
  if (!member_or_null(model, "moe").is_null()) return "moe";
  return member_or_null(model, "objective") == "masked_lm" ? "encoder" : "dense";
}

std::string parallel_kind(const Json& experiment) {
  const Json& parallel = member_or_null(experiment, "parallel");
  std::string kind;
  for (const char* degree : {"tensor", "pipeline", "context", "expert", "data"}) {
    const Json& value = member_or_null(parallel, degree);
    if (!value.is_number_integer() || value.get<std::int64_t>() <= 1) continue;
    if (!kind.empty()) kind += '+';
    kind += degree;
  }
  return kind.empty() ? "single" : kind;
}

std::string precision_of(const Json& experiment) {
  const Json& precision = member_or_null(member_or_null(experiment, "training"), "precision");
  return precision.is_string() ? precision.get<std::string>() : "bf16";
}

std::string gpu_of(const Json& experiment) {
  Problems problems("");
  const ClusterSpec cluster =
      read_cluster_spec(SpecReader(member_or_null(experiment, "cluster"), "/cluster", problems));
  return problems.empty() ? device_spec(cluster).name : "unknown";
}

std::string plan_key(const Json& experiment) {
  const Json& training = member_or_null(experiment, "training");
  nlohmann::json key = nlohmann::json::array();
  key.push_back(sorted(member_or_null(experiment, "parallel")));
  for (const char* member : kPlanKeys) key.push_back(sorted(member_or_null(training, member)));
  return key.dump();
}

std::string workload_key(const Json& experiment) {
  nlohmann::json key = sorted(experiment);
  if (!key.is_object()) return key.dump();
  key.erase("name");
  key.erase("parallel");
  if (const auto training = key.find("training"); training != key.end() && training->is_object()) {
    for (const char* member : kPlanKeys) training->erase(member);
  }
  if (const auto software = key.find("software"); software != key.end() && software->is_object()) {
    software->erase("checked_collectives");
    if (software->size() == 1 && software->contains("preset"))
      *software = nlohmann::json((*software)["preset"]);
  }
  return key.dump();
}

}  // namespace orrery
