#include <gtest/gtest.h>

#include <stdexcept>

#include "cluster_reading.hpp"
#include "topologies/topology_presets.hpp"

namespace orrery {
namespace {

using Names = std::vector<std::string>;

TEST(Presets, HaveTheNamesOfTheContract) {
  EXPECT_EQ(topology_preset_names(TopologyPresetKind::gpu),
            (Names{"a100-pcie-80gb", "a100-sxm4-40gb", "a100-sxm4-80gb", "b200-sxm-180gb", "b300-sxm-288gb",
                   "gb200", "gb300", "gh200", "h100-sxm-80gb", "h100-sxm-96gb-hbm2e", "h200-sxm-141gb",
                   "h800-sxm-80gb", "l40s", "mi250x-gcd", "mi300x", "tpu-v4", "v100-sxm2-32gb"}));
  EXPECT_EQ(topology_preset_names(TopologyPresetKind::node),
            (Names{"dgx-a100-40gb", "dgx-a100-80gb", "dgx-b200", "dgx-b300", "dgx-h100", "dgx-h200",
                   "dgx1-v100", "frontier", "gb200-tray", "gb300-tray", "gh200-quad", "tpu-v4"}));
  EXPECT_EQ(topology_preset_names(TopologyPresetKind::cluster),
            (Names{"alps",          "dgx-a100-40gb", "dgx-a100-80gb", "dgx-b200",      "dgx-b300",
                   "dgx-h100",      "dgx-h200",      "dgx1-v100",     "frontier",      "gb200-nvl72",
                   "gb200-tray",    "gb300-nvl72",   "gb300-tray",    "hpn-7",         "jean-zay-a100",
                   "meta-24k-roce", "selene",        "superpod-b200", "superpod-b300", "superpod-h100",
                   "tpu-v4"}));
}

TEST(Presets, GiveASourceForEveryValue) {
  for (const TopologyPresetKind kind :
       {TopologyPresetKind::gpu, TopologyPresetKind::node, TopologyPresetKind::cluster}) {
    for (const std::string& name : topology_preset_names(kind)) {
      const Json preset = topology_preset(kind, name);
      for (const auto& [path, value] : leaves_of(preset)) {
        EXPECT_FALSE(source_of(preset.at("sources"), path).empty()) << name << ": " << path;
      }
    }
  }
  const Json defaults = read_json_file(std::string(ORRERY_SOURCE_DIR) + "/topologies/presets/defaults.json");
  for (const auto& [path, value] : leaves_of(defaults)) {
    EXPECT_FALSE(source_of(defaults.at("sources"), path).empty()) << "defaults: " << path;
  }
}

TEST(Presets, OfEveryGpuCanBeRead) {
  for (const std::string& name : topology_preset_names(TopologyPresetKind::gpu)) {
    SCOPED_TRACE(name);
    const Cluster cluster = read_text(R"({"node": {"gpu": ")" + name + R"(", "gpus": 1}, "nodes": 1})");
    EXPECT_EQ(cluster.device.name, name);
    EXPECT_TRUE(cluster.device.peak_for(Precision::fp16) || cluster.device.peak_for(Precision::bf16));
    EXPECT_EQ(cluster.device.peak_for(Precision::fp8), cluster.device.peak_for(Precision::fp8_block));
  }
}

TEST(Presets, PeaksFollowFromClockAndUnits) {
  // Dense bf16: SMs x operations a cycle x clock. A100: 108 x 2048 x 1.41 GHz; H100: 132 x 4096 x 1.83 GHz.
  const auto peak = [](const char* gpu) {
    return read_text(std::string(R"({"node": {"gpu": ")") + gpu + R"(", "gpus": 1}, "nodes": 1})")
        .device.peak_for(Precision::bf16)
        ->base();
  };
  EXPECT_NEAR(peak("a100-sxm4-80gb"), 108 * 2048 * 1.41e9, 0.001 * 312e12);  // the datasheet rounds
  EXPECT_NEAR(peak("h100-sxm-80gb"), 132 * 4096 * 1.83e9, 0.001 * 989e12);
}

TEST(Presets, UnknownNameIsRefusedWithTheNearest) {
  try {
    topology_preset(TopologyPresetKind::node, "dgx-h1000");
    FAIL();
  } catch (const std::invalid_argument& error) {
    EXPECT_EQ(
        std::string(error.what()).find("\"dgx-h1000\" is not a preset; expected \"dgx-h100\" or one of "),
        0u);
  }
}

TEST(SourceOf, IsThatOfTheNearestEnclosingPath) {
  const Json sources = {{"peak", "a"}, {"peak.fp8", "b"}, {"peakier", "c"}};
  EXPECT_EQ(source_of(sources, "peak.fp8"), "b");
  EXPECT_EQ(source_of(sources, "peak.bf16"), "a");
  EXPECT_EQ(source_of(sources, "pea"), "");
}

}  // namespace
}  // namespace orrery
