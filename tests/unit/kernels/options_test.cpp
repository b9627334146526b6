#include "kernels/harness/options.hpp"

#include <gtest/gtest.h>

namespace orrery::kernels {
namespace {

struct Parsed {
  std::string gpu;
  std::int64_t seed = 1;
  double budget = 60;
  bool quick = false;
  std::vector<std::string> precisions = {"bf16"};
  bool help = false;
};

Parsed parse(const std::vector<std::string>& arguments) {
  Parsed parsed;
  Options options("gemm", "times products");
  options.text("--gpu", &parsed.gpu, "NAME", "of this GPU");
  options.integer("--seed", &parsed.seed, 0, 100, "of the data");
  options.number("--budget", &parsed.budget, 1, 86400, "seconds");
  options.flag("--quick", &parsed.quick, "less");
  options.choices("--precisions", &parsed.precisions, {"bf16", "fp8", "mxfp8"}, "which");
  options.parse(arguments);
  parsed.help = options.help_asked();
  return parsed;
}

std::string refusal(const std::vector<std::string>& arguments) {
  try {
    parse(arguments);
  } catch (const OptionError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(KernelOptions, ReadsBothForms) {
  const Parsed parsed =
      parse({"--gpu", "h100", "--seed=7", "--budget", "2.5", "--quick", "--precisions", "fp8,bf16"});
  EXPECT_EQ(parsed.gpu, "h100");
  EXPECT_EQ(parsed.seed, 7);
  EXPECT_EQ(parsed.budget, 2.5);
  EXPECT_TRUE(parsed.quick);
  EXPECT_EQ(parsed.precisions, (std::vector<std::string>{"fp8", "bf16"}));
}

TEST(KernelOptions, LeavesDefaultsAlone) {
  const Parsed parsed = parse({});
  EXPECT_EQ(parsed.seed, 1);
  EXPECT_FALSE(parsed.quick);
  EXPECT_TRUE(parse({"--help"}).help);
}

TEST(KernelOptions, NamesTheNearest) {
  EXPECT_EQ(refusal({"--buget", "3"}),
            "gemm: found --buget, which is no option of this program; nearest is --budget");
  EXPECT_EQ(
      refusal({"--precisions", "fp4"}),
      "gemm: --precisions: found \"fp4\", expected names out of bf16, fp8, mxfp8; nearest to fp4 is fp8");
  EXPECT_EQ(refusal({"h100"}), "gemm: found h100, expected an option; --help lists them");
}

TEST(KernelOptions, RefusesEdgesOneStepOutside) {
  EXPECT_EQ(parse({"--seed", "100"}).seed, 100);
  EXPECT_EQ(refusal({"--seed", "101"}), "gemm: --seed: found \"101\", expected an integer in [0, 100]");
  EXPECT_EQ(refusal({"--seed", "3.0"}), "gemm: --seed: found \"3.0\", expected an integer in [0, 100]");
  EXPECT_EQ(refusal({"--budget", "nan"}), "gemm: --budget: found \"nan\", expected a number in [1, 86400]");
  EXPECT_EQ(refusal({"--budget", "10s"}), "gemm: --budget: found \"10s\", expected a number in [1, 86400]");
  EXPECT_EQ(refusal({"--precisions", "bf16,"}),
            "gemm: --precisions: found \"bf16,\", expected a comma-separated list without empty parts");
  EXPECT_EQ(refusal({"--gpu"}), "gemm: --gpu has no value, expected NAME");
  EXPECT_EQ(refusal({"--quick=1"}), "gemm: --quick takes no value");
}

TEST(KernelOptions, ReportsEveryProblemOfALine) {
  EXPECT_EQ(refusal({"--gpu", "a", "--gpu", "b", "--sed", "5", "--budget", "0"}),
            "gemm: found --gpu twice, expected it once\n"
            "gemm: found --sed, which is no option of this program; nearest is --seed\n"
            "gemm: --budget: found \"0\", expected a number in [1, 86400]");
}

TEST(KernelOptions, EditDistanceIsLevenshteins) {
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);  // the textbook's pair
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("abc", "abc"), 0U);
}

}  // namespace
}  // namespace orrery::kernels
