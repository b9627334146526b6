#include "calibration/kernels/kernel_rules.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "calibration/kernels/kernel_profile.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

std::string optional_text(const SpecReader& reader, std::string_view key) {
  return reader.has(key) ? reader.at(key).text() : std::string();
}

AttentionKernel read_kernel(const SpecReader& reader) {
  const auto kernel = attention_kernel_named(reader.text());
  if (!kernel) reader.refuse("the name of an attention kernel");
  return kernel.value_or(AttentionKernel::cudnn);
}

std::vector<std::string> read_texts(const SpecReader& reader) {
  std::vector<std::string> texts;
  for (const SpecReader& element : reader.elements()) texts.push_back(element.text());
  return texts;
}

std::vector<StandIn> read_stand_ins(const SpecReader& list, std::string_view key) {
  std::vector<StandIn> stand_ins;
  for (const SpecReader& entry : list.elements()) {
    entry.only({key, "from", "source"});
    stand_ins.push_back({entry.at(key).text(), entry.at("from").text()});
  }
  return stand_ins;
}

void read_names(const SpecReader& root, KernelRules& rules) {
  for (const SpecReader& entry : root.at("gpu_names").elements()) {
    entry.only({"name", "gpu", "source"});
    rules.gpu_names.push_back({entry.at("name").text(), optional_text(entry, "gpu")});
  }
  const SpecReader nearest = root.at("nearest");
  nearest.only({"description", "same_chip", "architecture", "unlike", "otherwise"});
  rules.same_chip = read_stand_ins(nearest.at("same_chip"), "gpu");
  rules.architectures = read_stand_ins(nearest.at("architecture"), "architecture");
  for (const SpecReader& entry : nearest.at("unlike").elements()) {
    entry.only({"architecture", "source"});
    rules.unlike.push_back(entry.at("architecture").text());
  }
  rules.otherwise = nearest.at("otherwise").text();
}

std::optional<double> narrow_of(const SpecReader& entry) {
  if (!entry.has("narrow")) return std::nullopt;
  return entry.at("narrow").number(-1.0, 2.0);
}

void read_attention(const SpecReader& root, KernelRules& rules) {
  for (const SpecReader& entry : root.at("attention_tables").elements()) {
    entry.only({"gpu", "kernel", "tables", "ramp", "narrow", "note"});
    AttentionTable table;
    table.gpu = entry.at("gpu").text();
    table.kernel = read_kernel(entry.at("kernel"));
    table.tables = read_texts(entry.at("tables"));
    if (entry.has("ramp")) table.ramp = entry.at("ramp").number_above(0);
    table.narrow = narrow_of(entry);
    table.note = optional_text(entry, "note");
    rules.attention_tables.push_back(std::move(table));
  }
  for (const SpecReader& entry : root.at("attention_lent").elements()) {
    entry.only({"gpu", "kernel", "from_gpu", "from_kernel", "efficiency", "backward", "rate", "narrow",
                "evidence", "source"});
    LentAttention lent;
    lent.gpu = entry.at("gpu").text();
    lent.kernel = read_kernel(entry.at("kernel"));
    lent.from_gpu = entry.at("from_gpu").text();
    lent.from_kernel = read_kernel(entry.at("from_kernel"));
    if (entry.has("rate")) {
      entry.at("rate").choice({"absolute"});
      for (const std::string_view factor : {"efficiency", "backward"}) {
        if (entry.has(factor)) entry.at(factor).refuse("no factor beside an absolute rate");
      }
    } else {
      lent.efficiency = entry.has("efficiency") ? entry.at("efficiency").number_above(0) : 1.0;
      if (entry.has("backward")) lent.backward = entry.at("backward").number_above(0);
    }
    lent.narrow = narrow_of(entry);
    lent.evidence = static_cast<Evidence>(entry.at("evidence").choice(evidence_names()));
    lent.source = entry.at("source").text();
    rules.attention_lent.push_back(std::move(lent));
  }
}

void read_memory(const SpecReader& memory, MemoryRules& rules) {
  memory.only({"any_gpu", "by_index"});
  const SpecReader any = memory.at("any_gpu"), by_index = memory.at("by_index");
  any.only({"share", "launch", "source"});
  by_index.only({"over_streaming", "source"});
  rules.any_share = any.at("share").number(0.01, 1);
  rules.any_launch = any.at("launch").quantity<Seconds>();
  rules.any_source = any.at("source").text();
  rules.by_index = by_index.at("over_streaming").number(0.01, 1);
  rules.by_index_source = by_index.at("source").text();
}

void read_sustained(const SpecReader& sustained, KernelRules& rules) {
  sustained.only({"burst_of", "search_of", "step_down", "step_down_otherwise"});
  rules.burst_of = read_stand_ins(sustained.at("burst_of"), "gpu");
  rules.search_of = read_stand_ins(sustained.at("search_of"), "gpu");
  for (const SpecReader& entry : sustained.at("step_down").elements()) {
    entry.only({"architecture", "gpu", "mean_of", "source"});
    StepDownRule rule;
    rule.architecture = entry.at("architecture").text();
    rule.gpu = optional_text(entry, "gpu");
    if (entry.has("mean_of")) rule.mean_of = read_texts(entry.at("mean_of"));
    rule.source = optional_text(entry, "source");
    if (rule.gpu.empty() == rule.mean_of.empty()) entry.refuse("either gpu or mean_of");
    rules.step_downs.push_back(std::move(rule));
  }
  rules.step_down_otherwise = sustained.at("step_down_otherwise").text();
}

}  // namespace

KernelRules read_kernel_rules(const std::string& path) {
  const Json value = read_json_file(path);
  Problems problems(path);
  const SpecReader root(value, "", problems);
  root.only(
      {"description", "gpu_names", "nearest", "attention_tables", "attention_lent", "memory", "sustained"});
  KernelRules rules;
  read_names(root, rules);
  read_attention(root, rules);
  read_memory(root.at("memory"), rules.memory);
  read_sustained(root.at("sustained"), rules);
  problems.throw_if_any();
  return rules;
}

KernelRules shipped_kernel_rules() {
  return read_kernel_rules((data_root() / "calibration/data/kernel_rules.json").string());
}

std::optional<std::string> stand_in_for(const std::vector<StandIn>& list, std::string_view gpu) {
  const auto found =
      std::find_if(list.begin(), list.end(), [&](const StandIn& entry) { return entry.gpu == gpu; });
  if (found == list.end()) return std::nullopt;
  return found->from;
}

const GpuName* gpu_name_of(const KernelRules& rules, std::string_view name) {
  const auto found = std::find_if(rules.gpu_names.begin(), rules.gpu_names.end(),
                                  [&](const GpuName& entry) { return entry.name == name; });
  return found == rules.gpu_names.end() ? nullptr : &*found;
}

}  // namespace orrery
