#include "calibration/kernels/measurement_files.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "calibration/kernels/profile_library.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/json_reader.hpp"
#include "tests/unit/base/temporary_folder.hpp"

namespace orrery {
namespace {

const std::string kData = std::string(ORRERY_SOURCE_DIR) + "/calibration/data";

std::vector<std::string> gpu_names() { return preset_names("topologies/presets/gpus"); }

TEST(MeasurementFiles, ReadsTheShippedFolderWhole) {
  const MeasurementSet set = read_measurements({kData}, gpu_names(), shipped_kernel_rules());
  std::set<std::string> names;
  for (const std::string& file : set.files) names.insert(file.substr(kData.size() + 1));
  EXPECT_EQ(names, (std::set<std::string>{"attention.jsonl", "collectives.jsonl", "gemm.jsonl",
                                          "memory.jsonl", "runs.jsonl", "runs_nanotron.jsonl"}));
  EXPECT_EQ(set.gemm.size(), read_gemm_measurements(kData + "/gemm.jsonl").size() - 250);  // without MI350's
  EXPECT_EQ(set.passed_over.at("measured runs of training, which calibrate nothing here"), 690 + 576);
  // Names by class mean a GPU; nothing is left under a name that no preset has.
  const std::vector<std::string> gpus = gpu_names();
  for (const AttentionMeasurement& row : set.attention)
    EXPECT_NE(std::find(gpus.begin(), gpus.end(), row.gpu), gpus.end()) << row.gpu;
}

TEST(MeasurementFiles, RulesNameOnlyWhatThereIs) {
  const KernelRules rules = shipped_kernel_rules();
  const std::vector<std::string> gpus = gpu_names(), profiles = kernel_profile_names();
  const auto is_gpu = [&](const std::string& name) {
    return std::find(gpus.begin(), gpus.end(), name) != gpus.end();
  };
  const auto is_profile = [&](const std::string& name) {
    return std::find(profiles.begin(), profiles.end(), name) != profiles.end();
  };
  for (const GpuName& name : rules.gpu_names) EXPECT_TRUE(name.gpu.empty() || is_gpu(name.gpu)) << name.name;
  for (const StandIn& chip : rules.same_chip) EXPECT_TRUE(is_profile(chip.from)) << chip.gpu;
  for (const StandIn& nearest : rules.architectures) EXPECT_TRUE(is_profile(nearest.from)) << nearest.gpu;
  EXPECT_TRUE(is_profile(rules.otherwise));
  for (const AttentionTable& table : rules.attention_tables) EXPECT_TRUE(is_gpu(table.gpu)) << table.gpu;
  for (const LentAttention& lent : rules.attention_lent) {
    EXPECT_TRUE(is_gpu(lent.gpu)) << lent.gpu;
    EXPECT_TRUE(is_gpu(lent.from_gpu)) << lent.from_gpu;
    EXPECT_GE(lent.evidence, Evidence::extrapolated) << lent.source;  // what is lent is not interpolated
  }
}

TEST(MeasurementFiles, OurLinesSayWhatTheyAre) {
  const testing::TemporaryFolder folder("measurement_files");
  folder.write(
      "gemm.jsonl",
      R"({"op": "gemm", "gpu": "l40s", "m": 64, "n": 128, "k": 256, "precision": "fp8", "time_s": 1e-5, "conditions": "sustained", "power_w": 250, "source": "measured: kernels/gemm", "cusal": true})"
      "\n\n"
      R"({"op": "gemm", "gpu": "l40s", "m": 64, "n": 128, "k": 256, "precision": "bf16", "time_s": 3e-5, "alone_s": 2e-5, "beside": {"op": "copy", "blocks": 8}, "source": "measured: kernels/overlap"})"
      "\n");
  folder.write(
      "memory.jsonl",
      R"({"op": "memory", "gpu": "l40s", "kind": "norm", "name": "rmsnorm", "bytes": 1048576, "time_s": 1e-5, "conditions": "burst", "source": "measured: kernels/memory"})"
      "\n");
  folder.write("notes.txt", "not a measurement\n");
  const MeasurementSet set = read_measurements({folder.path().string()}, gpu_names(), shipped_kernel_rules());
  ASSERT_EQ(set.gemm.size(), 1U);
  EXPECT_EQ(set.gemm[0].campaign, Campaign::sustained);
  EXPECT_TRUE(set.gemm[0].states_conditions);
  EXPECT_FALSE(set.gemm[0].shape.quantized_inputs);  // our lines are timed without the quantise
  EXPECT_EQ(set.gemm[0].power, Watts(250));
  ASSERT_EQ(set.overlap.size(), 1U);
  EXPECT_EQ(set.overlap[0].blocks, 8);
  ASSERT_EQ(set.memory.size(), 1U);
  EXPECT_EQ(set.memory[0].shape.kind, MemoryKind::norm);
  EXPECT_EQ(set.odd_keys.count("\"cusal\" (\"causal\"?)"), 1U);
  EXPECT_EQ(set.lines_of_gpu.at("l40s"), 3);
}

TEST(KernelRules, RefusesFactorsOfAnAbsoluteRate) {
  const std::string shipped = kData + "/kernel_rules.json";
  for (const char* factor : {"efficiency", "backward"}) {
    Json rules = read_json_file(shipped);
    Json& lent = rules.at("attention_lent");
    const auto absolute =
        std::find_if(lent.begin(), lent.end(), [](const Json& entry) { return entry.contains("rate"); });
    ASSERT_TRUE(absolute != lent.end());
    (*absolute)[factor] = 1.06;
    const testing::TemporaryFolder folder("kernel_rules");
    const std::string file = folder.write("kernel_rules.json", rules.dump()).string();
    try {
      read_kernel_rules(file);
      FAIL() << factor;
    } catch (const InputError& error) {
      ASSERT_EQ(error.problems().size(), 1U);
      EXPECT_EQ(error.problems()[0].expected, "no factor beside an absolute rate");
    }
  }
}

}  // namespace
}  // namespace orrery
