#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "tests/unit/models/reading.hpp"

namespace orrery {
namespace {

/// GPUs that an experiment's plan spells out.
int gpus_of(const Json& parallel) {
  return parallel["tensor"].get<int>() * parallel["pipeline"].get<int>() * parallel["context"].get<int>() *
         parallel["data"].get<int>();
}

/// Every row of published runs is either understood or refused because of something that is not modelled yet.
TEST(MeasuredRuns, AreUnderstoodOrRefusedByName) {
  const auto folder = std::filesystem::path(ORRERY_SOURCE_DIR) / "../shared/data";
  int understood = 0;
  int refused = 0;
  for (const char* name : {"runs.jsonl", "runs_bulk.jsonl"}) {
    if (!std::filesystem::exists(folder / name)) GTEST_SKIP() << "needs the measured runs in ../shared/data";
    std::istringstream rows(read_text_file((folder / name).string()));
    for (std::string row; std::getline(rows, row);) {
      const Json run = parse_json(row, name);
      const Json& experiment = run["experiment"];
      const auto model = reading::model(experiment["model"].dump());
      const auto training = reading::training(experiment["training"].dump());
      const auto software = reading::software(experiment["software"].dump());
      std::vector<std::string> lines = model.lines;
      lines.insert(lines.end(), training.lines.begin(), training.lines.end());
      lines.insert(lines.end(), software.lines.begin(), software.lines.end());
      const Json& parallel = experiment["parallel"];
      const auto plan =
          reading::plan(parallel.dump(), model.spec, training.spec, gpus_of(parallel), software.spec);
      lines.insert(lines.end(), plan.lines.begin(), plan.lines.end());
      const bool by_name = std::all_of(lines.begin(), lines.end(), [](const std::string& line) {
        return line.find("not modelled yet") != std::string::npos;
      });
      EXPECT_TRUE(by_name) << run["id"] << ": " << (lines.empty() ? "" : lines.front());
      ++(lines.empty() ? understood : refused);
    }
  }
  RecordProperty("understood", understood);
  RecordProperty("refused", refused);
  EXPECT_GT(understood, 1300);
}

}  // namespace
}  // namespace orrery
