#include <fmt/core.h>
#include <gtest/gtest.h>

#include "tests/cli/cli_program.hpp"

namespace orrery::test {
namespace {

bool lists(const Json& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

TEST(PresetsCommand, ListsTheNamesOfTheContract) {
  const CliRun run = run_orrery({"presets", "--format", "json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json presets = run.json()["presets"];
  for (const char* name : {"v100-sxm2-32gb", "a100-sxm4-40gb", "a100-sxm4-80gb", "h100-sxm-80gb",
                           "h100-sxm-96gb-hbm2e", "h800-sxm-80gb", "h200-sxm-141gb", "b200-sxm-180gb",
                           "b300-sxm-288gb", "gb200", "gb300", "l40s", "a100-pcie-80gb", "mi300x"}) {
    EXPECT_TRUE(lists(presets["gpus"], name)) << name;
  }
  for (const char* name : {"dgx1-v100", "dgx-a100-40gb", "dgx-a100-80gb", "dgx-h100", "dgx-h200", "dgx-b200",
                           "dgx-b300", "gb200-tray", "gb300-tray"}) {
    EXPECT_TRUE(lists(presets["nodes"], name)) << name;
  }
  for (const char* name : {"dgx-h100", "gb200-nvl72", "gb300-nvl72"})
    EXPECT_TRUE(lists(presets["clusters"], name)) << name;
  for (const char* name : {"gpt3-1.7b", "gpt3-1t", "gpt3-175b", "llama2-7b", "llama2-13b", "llama2-70b",
                           "llama3-8b", "llama3-70b", "llama3-405b", "bert-base", "bert-large", "gpt2-124m",
                           "gpt2-1.5b", "mpt-7b", "mpt-30b", "mpt-70b", "nemotron-15b", "nemotron-340b"}) {
    EXPECT_TRUE(lists(presets["models"], name)) << name;
  }
  for (const char* name : {"megatron-lm-2021", "megatron-deepspeed", "megatron-core", "llm-foundry",
                           "torchtitan", "nanotron", "nvidia-bert", "huggingface-ddp", "paxml", "llm.c"}) {
    EXPECT_TRUE(lists(presets["software"], name)) << name;
  }
}

TEST(PresetsCommand, PrintsTheParameterCountOfAModel) {
  const CliRun run = run_orrery({"presets", "models", "llama3-70b", "--format", "json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  // 70.6 billion: Grattafiori et al. 2024 say 70B; the published checkpoint holds 70,553,706,496 parameters.
  EXPECT_DOUBLE_EQ(run.json()["parameters"].get<double>(), 70553706496.0);
  EXPECT_EQ(run.json()["preset"]["layers"], 80);
}

TEST(PresetsCommand, ListsOneKindAsTextAndCsv) {
  EXPECT_EQ(run_orrery({"presets", "nodes"}).out.rfind("nodes\n  dgx-a100-40gb\n", 0), 0U);
  EXPECT_EQ(
      run_orrery({"presets", "nodes", "--format", "csv"}).out.rfind("kind,name\nnodes,dgx-a100-40gb\n", 0),
      0U);
}

TEST(PresetsCommand, PrintsEveryPreset) {
  const Json presets = run_orrery({"presets", "--format", "json"}).json()["presets"];
  for (const auto& [kind, names] : presets.items()) {
    // Sanitized builds print every fifth of a kind: the same code, ten times slower.
#if defined(__SANITIZE_ADDRESS__)
    constexpr size_t every = 5;
#else
    constexpr size_t every = 1;
#endif
    for (size_t i = 0; i < names.size(); i += every) {
      const std::string name = names[i];
      const CliRun run = run_orrery({"presets", kind, name});
      EXPECT_EQ(run.exit_code, 0) << kind << " " << name << ": " << run.err;
      EXPECT_EQ(run.out.substr(0, run.out.find('\n')), fmt::format("{} {}", kind, name));
    }
  }
}

TEST(Program, EveryCommandTakesSeedAndThreads) {
  const std::vector<std::vector<std::string>> commands = {
      {"presets", "gpus"},
      {"kernel", "--gpu", "l40s", "--op", "gemm", "--shape", "64,64,64"},
      {"topology", "dgx-h100", "--set", "nodes=2"},
      {"collective", "dgx-h100", "--sizes", "1MiB"}};
  for (std::vector<std::string> command : commands) {
    const CliRun plain = run_orrery(command);
    command.insert(command.end(), {"--seed", "7", "--threads", "3"});
    const CliRun given = run_orrery(command);
    EXPECT_EQ(given.exit_code, 0) << command.front() << given.err;
    EXPECT_EQ(given.out, plain.out) << command.front();
  }
}

TEST(Program, HelpNamesBuiltCommandsOnly) {
  const CliRun run = run_orrery({"--help"});
  EXPECT_EQ(run.exit_code, 0);
  for (const char* built :
       {"predict", "validate", "kernel", "presets", "topology", "collective", "traffic", "compare", "scale"})
    EXPECT_NE(run.out.find(built), std::string::npos) << built;
  for (const char* unbuilt : {"search", "sensitivity", "replay"}) {
    EXPECT_EQ(run.out.find(unbuilt), std::string::npos) << unbuilt;
  }
}

}  // namespace
}  // namespace orrery::test
