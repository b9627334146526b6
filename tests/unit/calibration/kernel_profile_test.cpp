#include "calibration/kernels/kernel_profile.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "calibration/kernels/profile_json.hpp"
#include "calibration/kernels/profile_library.hpp"
#include "sim/base/errors.hpp"

namespace orrery {
namespace {

TEST(KernelProfile, EveryShippedProfileReadsBackToItsOwnBytes) {
  const auto names = kernel_profile_names();
  for (const char* first : {"a100-sxm4-80gb", "h100-sxm-80gb", "h200-sxm-141gb", "b200-sxm-180gb",
                            "b300-sxm-288gb", "gb200", "gb300"}) {
    EXPECT_NE(std::find(names.begin(), names.end(), first), names.end()) << first;
  }
  for (const std::string& name : names) {
    const KernelProfile profile = load_profile_named(name);
    EXPECT_EQ(profile.gpu, name);
    const std::string text = profile_text(profile);
    EXPECT_EQ(profile_text(parse_profile(text, name)), text);
    EXPECT_EQ(parse_profile(text, name).hash, profile.hash)
        << "the file was edited by hand: see calibration/README.md";
    for (const SustainedFactor& factor : profile.sustained) {
      EXPECT_GT(factor.factor, 0.5) << name;
      EXPECT_LE(factor.factor, 1.0) << name;
      EXPECT_FALSE(factor.source.text.empty());
      EXPECT_EQ(factor.source.assumed(), factor.evidence == Evidence::assumed)
          << name << ": " << factor.source.text;
    }
  }
}

TEST(KernelProfile, BurstErrorsStayWithinWhatTheReadmePromises) {
  for (const char* gpu : {"a100-sxm4-80gb", "h100-sxm-80gb"}) {
    for (const FitError& error : load_profile_named(gpu).errors) {
      if (error.op == "gemm" && error.subset == "bf16") {
        EXPECT_LE(error.median, 0.05) << gpu;
        EXPECT_LE(error.p95, 0.20) << gpu;
      }
    }
  }
}

TEST(KernelProfile, FallsBackToTheSameChipThenToTheArchitecture) {
  EXPECT_EQ(load_kernel_profile("h100-sxm-80gb", "hopper").fit, ProfileFit::own);
  const LoadedProfile chip = load_kernel_profile("a100-sxm4-40gb", "ampere");
  EXPECT_EQ(chip.profile.gpu, "a100-sxm4-80gb");
  EXPECT_EQ(chip.fit, ProfileFit::same_chip);
  const LoadedProfile volta = load_kernel_profile("v100-sxm2-32gb", "volta");
  EXPECT_EQ(volta.profile.gpu, "a100-sxm4-80gb");
  EXPECT_EQ(volta.fit, ProfileFit::architecture);
  EXPECT_EQ(load_kernel_profile("my-gpu", "blackwell").profile.gpu, "b200-sxm-180gb");
}

TEST(KernelProfile, AnArchitectureUnlikeAnyMeasuredIsRefused) {
  EXPECT_THROW(load_kernel_profile("tpu-v4", "tpu_v4"), std::invalid_argument);
}

TEST(KernelProfile, UnknownNamesAndBrokenFilesAreRefused) {
  try {
    load_profile_named("h100-sxm-80g");
    FAIL() << "an unknown profile was found";
  } catch (const InputError& problem) {
    EXPECT_NE(std::string(problem.what()).find("h100-sxm-80gb"), std::string::npos) << problem.what();
  }
  EXPECT_THROW(parse_profile("{\"schema\": \"orrery.calibration/1\"}", "broken.json"), InputError);
}

}  // namespace
}  // namespace orrery
