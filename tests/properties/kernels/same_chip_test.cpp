#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "calibration/kernels/kernel_model.hpp"
#include "calibration/kernels/profile_library.hpp"

namespace orrery {
namespace {

/// GPUs of one chip, which differ in clock, power and memory alone.
struct SameChip {
  std::string_view one, other;
};
constexpr SameChip kSameChips[] = {{"b200-sxm-180gb", "gb200"},
                                   {"b300-sxm-288gb", "gb300"},
                                   {"h100-sxm-80gb", "h200-sxm-141gb"},
                                   {"a100-pcie-80gb", "a100-sxm4-80gb"}};

// What the rows of one of the two leave of the form: the other has none, or rows of its own.
constexpr double kOfRows = 0.08;

class SameChips : public testing::TestWithParam<SameChip> {
 protected:
  static double burst_over_sustained(const KernelProfile& profile) {
    return 1.0 / profile.sustained_for(Precision::bf16)->factor;
  }

  static Seconds time_of(const KernelProfile& profile, AttentionKernel kernel, AttentionPass pass,
                         std::int64_t head, bool sustained) {
    AttentionShape shape;
    shape.batch = 4;
    shape.seq_q = shape.seq_kv = 8192;
    shape.heads = shape.kv_heads = 4096 / head;
    shape.head_dim = shape.value_dim = head;
    shape.causal = true;
    shape.pass = pass;
    shape.kernel = kernel;
    KernelContext context;
    context.sustained = sustained;
    const CalibratedKernelModel model(profile.device, {profile, ProfileFit::own}, context);
    return model.time({"attention", shape}).time;
  }
};

/// A kernel that waits for the matrix units or exponentials takes the same clocks on both, in a burst and
/// under load.
TEST_P(SameChips, AttentionDiffersByTheClockAlone) {
  const KernelProfile one = load_profile_named(std::string(GetParam().one)),
                      other = load_profile_named(std::string(GetParam().other));
  const double peaks = *other.device.peak_for(Precision::bf16) / *one.device.peak_for(Precision::bf16);
  const double under_load = peaks * burst_over_sustained(one) / burst_over_sustained(other);
  int compared = 0;
  for (const AttentionFit& fit : one.attention) {
    // FlashAttention-2 knows no newer tensor cores: on Blackwell it keeps one rate whatever the peak.
    const bool one_rate = fit.kernel == AttentionKernel::flash2 && one.device.architecture == "blackwell";
    if (one_rate || other.attention_for(fit.kernel) == nullptr) continue;
    for (const AttentionPass pass : {AttentionPass::forward, AttentionPass::backward}) {
      for (const std::int64_t head : {64, 128}) {
        ++compared;
        const auto faster = [&](bool sustained) {
          return time_of(one, fit.kernel, pass, head, sustained) /
                 time_of(other, fit.kernel, pass, head, sustained);
        };
        EXPECT_NEAR(faster(false) / peaks, 1.0, kOfRows) << name_of(fit.kernel) << ", heads of " << head;
        EXPECT_NEAR(faster(true) / under_load, 1.0, kOfRows)
            << name_of(fit.kernel) << ", heads of " << head << ", under load";
      }
    }
  }
  EXPECT_GE(compared, 8);
}

INSTANTIATE_TEST_SUITE_P(Pairs, SameChips, testing::ValuesIn(kSameChips), [](const auto& parameter) {
  std::string name = std::string(parameter.param.one) + "_" + std::string(parameter.param.other);
  for (char& letter : name) {
    if (letter == '-') letter = '_';
  }
  return name;
});

}  // namespace
}  // namespace orrery
