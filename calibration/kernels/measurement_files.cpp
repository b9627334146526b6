#include "calibration/kernels/measurement_files.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>
#include <utility>

#include "calibration/kernels/measurement_lines.hpp"

namespace orrery {
namespace {

constexpr std::array<std::string_view, 7> kCollectives = {
    "all_reduce", "reduce_scatter", "all_gather", "broadcast", "all_to_all", "send_receive", "send_recv"};

/// Keys of the measurement format and of the tables that ship.
const std::vector<std::string>& known_keys() {
  static const std::vector<std::string> kKeys = {"op",
                                                 "gpu",
                                                 "precision",
                                                 "time_s",
                                                 "samples_s",
                                                 "method",
                                                 "conditions",
                                                 "clock_mhz",
                                                 "memory_clock_mhz",
                                                 "power_w",
                                                 "temperature_c",
                                                 "driver",
                                                 "cuda",
                                                 "library",
                                                 "date",
                                                 "source",
                                                 "m",
                                                 "n",
                                                 "k",
                                                 "batch",
                                                 "output_bytes",
                                                 "layout",
                                                 "grouped",
                                                 "includes_quantize",
                                                 "seq_length",
                                                 "heads",
                                                 "kv_heads",
                                                 "head_dim",
                                                 "value_dim",
                                                 "causal",
                                                 "window",
                                                 "pass",
                                                 "kernel",
                                                 "tflops",
                                                 "kind",
                                                 "name",
                                                 "rows",
                                                 "columns",
                                                 "bytes",
                                                 "launches",
                                                 "mode",
                                                 "kernels",
                                                 "direction",
                                                 "ranks",
                                                 "nodes",
                                                 "algbw_bytes_per_s",
                                                 "busbw_bytes_per_s",
                                                 "in_place",
                                                 "beside",
                                                 "alone_s",
                                                 "seconds",
                                                 "share",
                                                 "data",
                                                 "note",
                                                 "copies",
                                                 "group_rows",
                                                 "kernel_name",
                                                 "flop_convention",
                                                 "gpus_per_node",
                                                 "gpus_per_thread",
                                                 "calls_in_a_row",
                                                 "copies_payload",
                                                 "fabric",
                                                 "algorithm",
                                                 "tool",
                                                 "nccl"};
  return kKeys;
}

std::vector<std::string> files_of(const std::vector<std::string>& files_and_folders,
                                  std::vector<InputProblem>& refused) {
  std::vector<std::string> files;
  for (const std::string& name : files_and_folders) {
    std::error_code ignored;
    if (!std::filesystem::is_directory(name, ignored)) {
      files.push_back(name);
      continue;
    }
    std::vector<std::string> inside;
    for (const auto& entry : std::filesystem::directory_iterator(name, ignored)) {
      if (entry.path().extension() == ".jsonl") inside.push_back(entry.path().string());
    }
    if (inside.empty())
      refused.push_back({name, "", "a folder without *.jsonl", "files of measurements", ""});
    std::sort(inside.begin(), inside.end());
    files.insert(files.end(), inside.begin(), inside.end());
  }
  return files;
}

/// Reads lines into the set.
class LineReader {
 public:
  LineReader(MeasurementSet& set, const std::vector<std::string>& gpus, const KernelRules& rules)
      : set_(set), gpus_(gpus), rules_(rules) {}

  void read(const SpecReader& row) {
    if (!row.is_object()) {
      row.refuse("an object: one measurement");
    } else if (row.has("experiment") && row.has("measured") && !row.has("op")) {
      ++set_.passed_over["measured runs of training, which calibrate nothing here"];
    } else if (const auto gpu = preset_of(row)) {
      note_odd_keys(row);
      if (gpu->empty()) {
        ++set_.passed_over["hardware without a GPU preset"];
      } else {
        ++set_.lines_of_gpu[*gpu];
        take(row, *gpu);
      }
    }
  }

 private:
  /// The GPU preset of a line, empty for hardware that has none, nothing for a name that nobody knows.
  std::optional<std::string> preset_of(const SpecReader& row) const {
    const std::string name = row.at("gpu").text();
    if (std::find(gpus_.begin(), gpus_.end(), name) != gpus_.end()) return name;
    if (const GpuName* known = gpu_name_of(rules_, name)) return known->gpu;
    if (!name.empty() || row.has("gpu")) {
      row.problems().add(row.pointer() + "/gpu", "\"" + name + "\"", one_of(gpus_, name));
    }
    return std::nullopt;
  }

  void note_odd_keys(const SpecReader& row) {
    for (const auto& [key, value] : row.json().items()) {
      if (std::find(known_keys().begin(), known_keys().end(), key) != known_keys().end()) continue;
      const std::string nearest = nearest_name(key, known_keys());
      if (!nearest.empty() && !row.has(nearest))
        ++set_.odd_keys[fmt::format(R"("{}" ("{}"?))", key, nearest)];
    }
  }

  template <typename Row>
  static void keep(std::vector<Row>& rows, Row row, const std::string& gpu) {
    row.gpu = gpu;
    rows.push_back(std::move(row));
  }

  void take(const SpecReader& row, const std::string& gpu) {
    const std::string op = row.at("op").text();
    if (op == "gemm" && row.has("beside")) {
      keep(set_.overlap, overlap_measurement(row), gpu);
    } else if (op == "gemm") {
      take_if_fitted(set_.gemm, gemm_measurement(row), gpu,
                     "products of all-zero inputs, and grouped ones, which take the parameters of the dense");
    } else if (op == "attention") {
      take_if_fitted(set_.attention, attention_measurement(row), gpu,
                     "attention in another precision than bf16, or without a mask or length");
    } else if (op == "memory") {
      keep(set_.memory, memory_measurement(row), gpu);
    } else if (op == "launch") {
      keep(set_.launch, launch_measurement(row), gpu);
    } else if (op == "copy") {
      keep(set_.copy, copy_measurement(row), gpu);
    } else if (std::find(kCollectives.begin(), kCollectives.end(), op) != kCollectives.end()) {
      take_collective(row, gpu);
    } else if (op.starts_with("ep_")) {
      ++set_.passed_over["expert exchange, which no fit here reads"];
    } else if (row.has("op")) {
      std::vector<std::string> names = {"gemm", "attention", "memory", "launch", "copy"};
      names.insert(names.end(), kCollectives.begin(), kCollectives.end());
      row.problems().add(row.pointer() + "/op", "\"" + op + "\"", one_of(names, op));
    }
  }

  template <typename Row>
  void take_if_fitted(std::vector<Row>& rows, std::optional<Row> row, const std::string& gpu,
                      const std::string& else_reason) {
    if (row) {
      keep(rows, std::move(*row), gpu);
    } else {
      ++set_.passed_over[else_reason];
    }
  }

  void take_collective(const SpecReader& row, const std::string& gpu) {
    // Published tables hold peaks without a size and bandwidths without a time.
    if (row.has("fabric") && !(row.has("bytes") && row.has("time_s"))) {
      ++set_.passed_over["published collectives without a size or a time"];
      return;
    }
    row.at("ranks").integer(1, 1 << 20);
    row.at("nodes").integer(1, 1 << 20);
    row.at("bytes").number_above(0);
    row.at("time_s").number_above(0);
    row.at("source").text();
    set_.collectives.push_back({row.problems().file(), row.json()});
    set_.collectives.back().json["gpu"] = gpu;
  }

  MeasurementSet& set_;
  const std::vector<std::string>& gpus_;
  const KernelRules& rules_;
};

void read_file(const std::string& path, LineReader& reader, std::vector<InputProblem>& refused) {
  const std::string text = read_text_file(path);
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    Problems problems(path + ":" + std::to_string(number));
    try {
      const Json value = parse_json(line, problems.file());
      reader.read(SpecReader(value, "", problems));
      problems.throw_if_any();
    } catch (const InputError& error) {
      refused.insert(refused.end(), error.problems().begin(), error.problems().end());
    }
  }
}

}  // namespace

MeasurementSet read_measurements(const std::vector<std::string>& files_and_folders,
                                 const std::vector<std::string>& gpus, const KernelRules& rules) {
  MeasurementSet set;
  std::vector<InputProblem> refused;
  set.files = files_of(files_and_folders, refused);
  LineReader reader(set, gpus, rules);
  for (const std::string& file : set.files) {
    try {
      read_file(file, reader, refused);
    } catch (const InputError& error) {
      refused.insert(refused.end(), error.problems().begin(), error.problems().end());
    }
  }
  if (!refused.empty()) throw InputError(std::move(refused));
  return set;
}

}  // namespace orrery
