#include <fmt/core.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "calibration/libraries/tuner_files.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/json_reader.hpp"
#include "sim/collectives/tuner.hpp"
#include "tests/unit/collectives_algorithms/tuner_shapes.hpp"

namespace orrery {
namespace {

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

std::string architecture_of(const std::string& gpu) {
  if (gpu.starts_with("h")) return "hopper";
  if (gpu.starts_with("a100")) return "ampere";
  return "blackwell";  // b200, b300, and the unnamed one with CUDA 13.1 and about 800 Gb/s a GPU
}

/// What the row's text says the library ran by itself, or nothing: forced choices say nothing about the
/// tuner, and "default" alone does not say what it was.
std::set<TunerAlgorithm> expected_of(const std::string& text) {
  if (has(text, "forced") || has(text, "NCCL_ALGO") || has(text, "TREE_THRESHOLD")) return {};
  if (text.starts_with("CollNet")) return {};  // "enabled" does not say that it ran
  if (text.starts_with("default (Tree")) return {TunerAlgorithm::tree, TunerAlgorithm::nvls_tree};
  if (text == "NVLSTree") return {TunerAlgorithm::nvls_tree};
  if (text == "NVLS") return {TunerAlgorithm::nvls};
  if (text.starts_with("Ring")) return {TunerAlgorithm::ring};
  return {};
}

/// What the tuner's table needs of a line of calibration/data/collectives.jsonl.
struct Row {
  CollectiveOp op;
  int ranks, nodes, gpus_per_node;
  double bytes;
  std::string gpu, fabric, algorithm, source;
};

std::vector<Row> read_rows() {
  std::vector<Row> rows;
  std::ifstream file(data_root() / "calibration/data/collectives.jsonl");
  for (std::string line; std::getline(file, line);) {
    const Json json = Json::parse(line);
    if (!json.contains("algorithm") || !json.contains("bytes")) continue;
    for (const CollectiveOp op :
         {CollectiveOp::all_reduce, CollectiveOp::all_gather, CollectiveOp::reduce_scatter}) {
      if (json["op"] != name_of(op)) continue;
      rows.push_back({op, json["ranks"], json["nodes"], json["gpus_per_node"], json["bytes"], json["gpu"],
                      json["fabric"], json["algorithm"], json["source"]});
    }
  }
  return rows;
}

GroupShape shape_of(const Row& row) {
  const std::string architecture = architecture_of(row.gpu);
  GroupShape shape = test::hopper_group(row.ranks, row.gpus_per_node);
  if (architecture == "ampere") shape = test::ampere_group(row.ranks, row.gpus_per_node);
  if (architecture == "blackwell") {
    shape = test::nvlink_group(row.ranks, row.gpus_per_node, 900, row.nodes > 1 ? 800 : 400, true);
  }
  if (has(row.fabric, "EFA")) shape.protocol = NicProtocol::efa;
  return shape;
}

TEST(TunerAgreement, WithTheAlgorithmsThatMeasuredRowsName) {
  const std::vector<Row> rows = read_rows();
  int named = 0;
  int agreed = 0;
  std::vector<std::string> disagreements;
  for (const Row& row : rows) {
    const std::set<TunerAlgorithm> expected = expected_of(row.algorithm);
    if (expected.empty() || row.bytes <= 0 || row.ranks < 2) continue;
    // Where one source lists two algorithms of one call, one of them was set by hand: skip those rows'
    // "Ring".
    bool also_other = false;
    for (const Row& other : rows) {
      also_other =
          also_other || (other.source == row.source && other.op == row.op && other.ranks == row.ranks &&
                         other.nodes == row.nodes && other.bytes == row.bytes && other.gpu == row.gpu &&
                         other.algorithm.starts_with("NVLS") && row.algorithm == "Ring");
    }
    if (also_other) continue;
    TunerOptions options;
    options.nvls = !has(row.algorithm, "NVLS off");
    if (has(row.algorithm, "NCHANNELS=32")) options.least_channels = 32;
    const TunerConstants constants = load_nccl_tuner("", architecture_of(row.gpu));
    const TunerChoice choice = choose(constants, row.op, row.bytes, shape_of(row), options);
    ++named;
    if (expected.count(choice.algorithm) > 0) {
      ++agreed;
    } else {
      disagreements.push_back(fmt::format("{} {} ranks on {} nodes, {}, {:.0f} bytes: row \"{}\", tuner {}",
                                          name_of(row.op), row.ranks, row.nodes, row.gpu, row.bytes,
                                          row.algorithm, name_of(choice.algorithm)));
    }
  }
  fmt::print("tuner agrees with {} of {} rows that name a default choice\n", agreed, named);
  for (const std::string& line : disagreements) fmt::print("  {}\n", line);
  ASSERT_GT(named, 40);
  // The rest are listed above; a change that loses more than one in ten needs a look.
  EXPECT_GE(agreed, 0.85 * named);
}

}  // namespace
}  // namespace orrery
