#include "calibration/kernels/profile_sections.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace orrery {
namespace {

constexpr std::int64_t kMostRows = 1'000'000'000'000;
constexpr double kLargestNumber = 1e30;

/// Every block of a profile with the pointer of its parameters.
template <typename Profile>
auto blocks_of(Profile& profile) {
  using Block = std::conditional_t<std::is_const_v<Profile>, const ParameterCovariance, ParameterCovariance>;
  std::vector<std::pair<std::string, Block*>> blocks;
  for (auto& fit : profile.gemm)
    blocks.emplace_back(fmt::format("/parameters/gemm/{}/", profile.table_name(fit)), &fit.covariance);
  for (auto& fit : profile.attention)
    blocks.emplace_back(fmt::format("/parameters/attention/{}/", name_of(fit.kernel)), &fit.covariance);
  blocks.emplace_back("/parameters/memory/", &profile.memory.covariance);
  if (profile.power) blocks.emplace_back("/parameters/power/", &profile.power->covariance);
  return blocks;
}

}  // namespace

void write_covariance(Json& root, const KernelProfile& profile) {
  std::vector<std::string> names;
  const auto blocks = blocks_of(profile);
  for (const auto& [prefix, block] : blocks) {
    for (const std::string& name : block->names) names.push_back(prefix + name);
  }
  std::vector<std::vector<double>> matrix(names.size(), std::vector<double>(names.size(), 0.0));
  size_t begin = 0;
  for (const auto& [prefix, block] : blocks) {
    for (size_t row = 0; row < block->names.size(); ++row) {
      for (size_t column = 0; column < block->names.size(); ++column)
        matrix[begin + row][begin + column] = block->matrix[row][column];
    }
    begin += block->names.size();
  }
  root["covariance_parameters"] = names;
  root["covariance"] = Json::array();
  for (const std::vector<double>& row : matrix) {
    Json line = Json::array();
    for (const double value : row) line.push_back(value == 0.0 ? Json(0) : Json(value));
    root["covariance"].push_back(std::move(line));
  }
}

void read_covariance(const SpecReader& root, KernelProfile& profile) {
  if (!root.has("covariance")) return;
  std::vector<std::string> names;
  for (const SpecReader& name : root.at("covariance_parameters").elements()) names.push_back(name.text());
  std::vector<std::vector<double>> matrix;
  for (const SpecReader& row : root.at("covariance").elements()) {
    std::vector<double> values;
    for (const SpecReader& value : row.elements())
      values.push_back(value.number(-kLargestNumber, kLargestNumber));
    if (values.size() != names.size()) row.refuse(fmt::format("a list of {} numbers", names.size()));
    values.resize(names.size());
    matrix.push_back(std::move(values));
  }
  if (matrix.size() != names.size()) {
    root.at("covariance").refuse(fmt::format("{} rows, as many as covariance_parameters", names.size()));
    return;
  }
  for (const auto& [prefix, block] : blocks_of(profile)) {
    std::vector<size_t> inside;
    for (size_t i = 0; i < names.size(); ++i) {
      if (names[i].starts_with(prefix)) inside.push_back(i);
    }
    for (const size_t row : inside) {
      block->names.push_back(names[row].substr(prefix.size()));
      std::vector<double> values;
      values.reserve(inside.size());
      for (const size_t column : inside) values.push_back(matrix[row][column]);
      block->matrix.push_back(std::move(values));
    }
  }
}

Json memory_hull_json(const MemoryFit& memory) {
  Json hull = Json::object();
  for (const MemoryRange& range : memory.ranges) {
    hull[std::string(name_of(range.kind))] = {{"bytes", {range.least.base(), range.most.base()}}};
  }
  return hull;
}

void read_memory_hull(const SpecReader& hull, MemoryFit& memory) {
  if (!hull.has("memory")) return;
  for (const auto& [name, object] : hull.at("memory").members()) {
    const auto kind = memory_kind_named(name);
    const std::vector<SpecReader> ends = object.at("bytes").elements();
    if (!kind || ends.size() != 2) {
      object.refuse("a kind of memory-bound kernel with the least and most of its bytes");
      continue;
    }
    memory.ranges.push_back({*kind, Bytes(ends[0].number(0, 1e18)), Bytes(ends[1].number(0, 1e18))});
  }
}

Json power_json(const PowerFit& power) {
  return {{"idle_w", power.parameters.idle.base()},     {"compute_w", power.parameters.compute.base()},
          {"memory_w", power.parameters.memory.base()}, {"relative_spread", power.relative_spread},
          {"evidence", name_of(power.evidence)},        {"source", power.source.text}};
}

PowerFit read_power_fit(const SpecReader& object) {
  constexpr double kMostWatts = 1e6;
  object.only({"idle_w", "compute_w", "memory_w", "relative_spread", "evidence", "source"});
  PowerFit power;
  power.parameters.idle = Watts(object.at("idle_w").number(0, kMostWatts));
  power.parameters.compute = Watts(object.at("compute_w").number(0, kMostWatts));
  power.parameters.memory = Watts(object.at("memory_w").number(0, kMostWatts));
  power.relative_spread = object.at("relative_spread").number(0, 10);
  power.evidence = static_cast<Evidence>(object.at("evidence").choice(evidence_names()));
  power.source.text = object.at("source").text();
  return power;
}

void write_information(Json& root, const KernelProfile& profile) {
  for (const OverlapFigure& figure : profile.overlap) {
    root["overlap"].push_back({{"precision", name_of(figure.precision)},
                               {"beside", figure.beside},
                               {"blocks", figure.blocks},
                               {"slowdown", figure.slowdown},
                               {"rows", figure.rows}});
  }
  for (const LaunchFigure& figure : profile.launch) {
    root["launch"].push_back({{"mode", figure.mode}, {"time_s", figure.time.base()}, {"rows", figure.rows}});
  }
  for (const CopyFigure& figure : profile.copy) {
    root["copy"].push_back(
        {{"direction", figure.direction}, {"bytes_per_s", figure.rate.base()}, {"rows", figure.rows}});
  }
  if (!profile.collectives.is_null()) root["collectives"] = profile.collectives;
}

void read_information(const SpecReader& root, KernelProfile& profile) {
  const auto rows_of = [](const SpecReader& entry) {
    return static_cast<int>(entry.at("rows").integer(0, kMostRows));
  };
  if (root.has("overlap")) {
    for (const SpecReader& entry : root.at("overlap").elements()) {
      entry.only({"precision", "beside", "blocks", "slowdown", "rows"});
      profile.overlap.push_back({static_cast<Precision>(entry.at("precision").choice(precision_names())),
                                 entry.at("beside").text(),
                                 static_cast<int>(entry.at("blocks").integer(0, 100000)),
                                 entry.at("slowdown").number_above(0), rows_of(entry)});
    }
  }
  if (root.has("launch")) {
    for (const SpecReader& entry : root.at("launch").elements()) {
      entry.only({"mode", "time_s", "rows"});
      profile.launch.push_back(
          {entry.at("mode").text(), Seconds(entry.at("time_s").number_above(0)), rows_of(entry)});
    }
  }
  if (root.has("copy")) {
    for (const SpecReader& entry : root.at("copy").elements()) {
      entry.only({"direction", "bytes_per_s", "rows"});
      profile.copy.push_back({entry.at("direction").text(),
                              BytesPerSecond(entry.at("bytes_per_s").number_above(0)), rows_of(entry)});
    }
  }
  if (root.has("collectives")) profile.collectives = root.at("collectives").json();
}

const std::vector<std::string>& information_keys() {
  static const std::vector<std::string> kKeys = {"overlap", "launch", "copy", "collectives"};
  return kKeys;
}

}  // namespace orrery
