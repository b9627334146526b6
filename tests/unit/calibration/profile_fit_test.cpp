#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "calibration/kernels/fit_memory.hpp"
#include "calibration/kernels/fit_power.hpp"
#include "calibration/kernels/fit_profiles.hpp"
#include "calibration/kernels/profile_json.hpp"
#include "calibration/kernels/sustained.hpp"
#include "sim/base/errors.hpp"
#include "tests/unit/calibration/made_measurements.hpp"

namespace orrery {
namespace {

using test::made_truth;
using test::MadeMeasurements;
using test::Truth;

/// Inputs without rules for any GPU.
FitInputs inputs_of(const Truth& truth, MeasurementSet set) {
  FitInputs inputs;
  inputs.measurements = std::move(set);
  inputs.devices = {truth.device};
  inputs.rules.memory = {0.8, microseconds(3), "any", 0.75, "by index"};
  inputs.held_out = true;
  return inputs;
}

const TableReport& table_named(const FittedKernelProfile& fitted, const std::string& op,
                               const std::string& subset) {
  const auto found = std::find_if(fitted.tables.begin(), fitted.tables.end(), [&](const TableReport& table) {
    return table.op == op && table.subset == subset;
  });
  if (found == fitted.tables.end()) throw std::runtime_error("no table " + op + " " + subset);
  return *found;
}

TEST(ProfileFit, RecoversWhatTheRowsWereMadeFrom) {
  const Truth truth = made_truth();
  const FittedKernelProfile fitted =
      fit_profile("made", inputs_of(truth, MadeMeasurements(truth, 0.01).all()));
  const KernelProfile& profile = fitted.profile;
  // One percent of noise on each of 72 rows: the leading parameters are known to a few tenths of a percent.
  const GemmFit* gemm = profile.gemm_for(Precision::bf16);
  ASSERT_NE(gemm, nullptr);
  EXPECT_NEAR(gemm->parameters.efficiency, truth.gemm.efficiency, 0.02);
  EXPECT_NEAR(gemm->parameters.memory, truth.gemm.memory, 0.03);
  EXPECT_NEAR(gemm->parameters.launch.base(), truth.gemm.launch.base(), 0.4e-6);
  const AttentionFit* attention = profile.attention_for(AttentionKernel::cudnn);
  ASSERT_NE(attention, nullptr);
  EXPECT_NEAR(attention->parameters.efficiency, truth.attention.efficiency, 0.02);
  EXPECT_NEAR(attention->parameters.ramp, truth.attention.ramp, 120);
  EXPECT_NEAR(attention->parameters.backward, truth.attention.backward, 0.02);
  EXPECT_NEAR(profile.memory.parameters.share_of(MemoryKind::streaming), 0.85, 0.01);
  EXPECT_NEAR(profile.memory.parameters.share_of(MemoryKind::norm), 0.7, 0.01);
  EXPECT_NEAR(profile.memory.parameters.share_of(MemoryKind::permute), 0.5, 0.01);
  EXPECT_NEAR(profile.memory.parameters.launch.base(), 2e-6, 0.1e-6);
  // Held out by families the error is the noise and a little: far below a wrong form's.
  EXPECT_LT(table_named(fitted, "gemm", "bf16").cross_validated.median, 0.02);
  const HeldOut& held_out = table_named(fitted, "gemm", "bf16").held_out;
  EXPECT_NEAR(held_out.fifth.rows, 72 / 5.0, 8);  // families of 6 rows stay whole
  EXPECT_LT(held_out.fifth.median, 0.02);
  EXPECT_EQ(held_out.worst.size(), 5U);
  EXPECT_GE(std::abs(held_out.worst.front().error()), std::abs(held_out.worst.back().error()));
}

TEST(ProfileFit, TheTruthLiesWithinTheCovariance) {
  const Truth truth = made_truth();
  const FittedKernelProfile fitted =
      fit_profile("made", inputs_of(truth, MadeMeasurements(truth, 0.05).all()));  // the fit's own noise
  const ParameterCovariance& covariance = fitted.profile.memory.covariance;
  ASSERT_EQ(covariance.names,
            (std::vector<std::string>{"share/streaming", "share/norm", "share/permute", "launch_s"}));
  const double values[] = {0.85, 0.7, 0.5, 2e-6};
  const MemoryParameters& found = fitted.profile.memory.parameters;
  const double fits[] = {found.share_of(MemoryKind::streaming), found.share_of(MemoryKind::norm),
                         found.share_of(MemoryKind::permute), found.launch.base()};
  for (size_t i = 0; i < 4; ++i) {
    const double deviation = std::sqrt(covariance.matrix[i][i]);
    EXPECT_LT(std::abs(fits[i] - values[i]), 4 * deviation) << covariance.names[i];
    EXPECT_LT(deviation, 0.1 * values[i]) << covariance.names[i];
    for (size_t j = 0; j < 4; ++j) EXPECT_EQ(covariance.matrix[i][j], covariance.matrix[j][i]);
  }
}

TEST(ProfileFit, SustainedRowsOfTheSameShapesWinOverRules) {
  const Truth truth = made_truth();
  FitInputs inputs = inputs_of(truth, MadeMeasurements(truth, 0.0).all());
  // A search that would say something else: 2 % below the best burst.
  GemmMeasurement search = inputs.measurements.gemm.front();
  search.campaign = Campaign::peak_search;
  search.states_conditions = false;
  inputs.measurements.gemm.push_back(search);
  const FittedKernelProfile fitted = fit_profile("made", inputs);
  const SustainedFactor* factor = fitted.profile.sustained_for(Precision::bf16);
  ASSERT_NE(factor, nullptr);
  EXPECT_DOUBLE_EQ(factor->factor, 0.9);  // every pair has this ratio
  EXPECT_EQ(factor->evidence, Evidence::measured);
  EXPECT_FALSE(fitted.profile.gemm_for(Precision::bf16)->measured_sustained);
}

// A line that does not say how it was measured is no measurement of the clock under load, whatever its time.
TEST(ProfileFit, OnlyALoopOfRandomDataSpeaksForTheSustainedClock) {
  const Truth truth = made_truth();
  FitInputs inputs = inputs_of(truth, MadeMeasurements(truth, 0.0).all());
  std::erase_if(inputs.measurements.gemm,
                [](const GemmMeasurement& row) { return row.campaign == Campaign::sustained; });
  GemmMeasurement single = inputs.measurements.gemm.front();
  single.states_conditions = false;
  single.time = 2.0 * single.time;
  const auto factor_with = [&](Campaign campaign) {
    FitInputs with = inputs;
    single.campaign = campaign;
    with.measurements.gemm.push_back(single);
    return fit_profile("made", with).profile.sustained_for(Precision::bf16)->factor;
  };
  EXPECT_DOUBLE_EQ(factor_with(Campaign::kernel), 1.0);  // no rule for this GPU: the burst's clock
  EXPECT_DOUBLE_EQ(factor_with(Campaign::random_loop), 0.5);
}

TEST(ProfileFit, ABestBurstIsNoTimeThatIsMostlyQuantise) {
  // A square product at 1000 TFLOP/s and one of 128 columns that is nearly all
  // quantise: 1 us of its 10 us would mean 2 PFLOP/s. A search at 900 TFLOP/s is 0.9 of the square's 1000.
  Truth truth = made_truth();
  truth.device.peak[static_cast<size_t>(Precision::fp8)] = teraflops(1978);
  GemmFit fit;
  fit.precision = Precision::fp8;
  fit.parameters.quantize_launch = microseconds(9);
  GemmShape square, narrow;
  square.m = square.n = square.k = 6000;  // 432 us, of which the quantise is a tenth
  narrow.m = 2048;
  narrow.n = 128;
  narrow.k = 4096;
  square.precision = narrow.precision = Precision::fp8;
  const auto with_quantise = [&](const GemmShape& shape, Seconds product) {
    return product + gemm_pieces(fit.parameters, truth.device, shape).quantize;
  };
  fit.shapes.push_back({square, with_quantise(square, square.flops() / teraflops(1000))});
  fit.shapes.push_back({narrow, with_quantise(narrow, microseconds(1))});
  GemmMeasurement search;
  search.gpu = "made";
  search.campaign = Campaign::peak_search;
  search.shape = square;
  search.time = square.flops() / teraflops(900);
  const std::vector<GemmMeasurement> rows = {search};
  const std::vector<DeviceSpec> devices = {truth.device};
  const KernelRules rules;
  SustainedFactors factors(rows, devices, rules, [&](const std::string&, Precision) { return &fit; });
  KernelProfile profile;
  profile.gpu = "made";
  profile.device = truth.device;
  const auto factor = factors.factor_of(profile, Precision::fp8);
  ASSERT_TRUE(factor.has_value());
  EXPECT_NEAR(factor->factor, 0.9, 1e-6);
}

TEST(ProfileFit, PowerComesBack) {
  const Truth truth = made_truth();
  const auto power = fit_power(truth.device, MadeMeasurements(truth, 0.0).all());
  ASSERT_TRUE(power.has_value());
  // Exact rows: only the priors pull, by far less than a watt in a hundred.
  EXPECT_NEAR(power->parameters.idle.base(), 100, 2);
  EXPECT_NEAR(power->parameters.compute.base(), 520, 6);
  EXPECT_NEAR(power->parameters.memory.base(), 180, 4);
  EXPECT_EQ(power->evidence, Evidence::measured);
  MeasurementSet without = MadeMeasurements(truth, 0.0).all();
  for (auto& row : without.gemm) row.power.reset();
  for (auto& row : without.attention) row.power.reset();
  for (auto& row : without.memory) row.power.reset();
  EXPECT_FALSE(fit_power(truth.device, without).has_value());
}

TEST(ProfileFit, EveryPartOfAProfileReadsBack) {
  const Truth truth = made_truth();
  FitInputs inputs = inputs_of(truth, MadeMeasurements(truth, 0.01).all());
  OverlapMeasurement overlap;
  overlap.gpu = "made";
  overlap.beside = "all_reduce";
  overlap.blocks = 24;
  overlap.time = microseconds(120);
  overlap.alone = microseconds(100);
  inputs.measurements.overlap = {overlap};
  CopyMeasurement copy;
  copy.gpu = "made";
  copy.direction = "peer";
  copy.bytes = Bytes(1e9);
  copy.time = milliseconds(10);
  inputs.measurements.copy = {copy};
  const KernelProfile profile = fit_profile("made", inputs).profile;
  const std::string text = profile_text(profile);
  const KernelProfile back = parse_profile(text, "made.json");
  EXPECT_EQ(profile_text(back), text);
  ASSERT_EQ(back.overlap.size(), 1U);
  EXPECT_DOUBLE_EQ(back.overlap[0].slowdown, 1.2);
  ASSERT_EQ(back.copy.size(), 1U);
  EXPECT_DOUBLE_EQ(back.copy[0].rate.base(), 1e11);
  ASSERT_EQ(back.launch.size(), 1U);
  ASSERT_TRUE(back.power.has_value());
  ASSERT_EQ(back.memory.ranges.size(), 3U);
  EXPECT_EQ(back.gemm_for(Precision::bf16)->covariance.names,
            profile.gemm_for(Precision::bf16)->covariance.names);
  EXPECT_EQ(back.gemm_for(Precision::bf16)->covariance.matrix,
            profile.gemm_for(Precision::bf16)->covariance.matrix);
}

TEST(ProfileFit, WhatIsNotMeasuredComesFromTheBaseAndSaysSo) {
  const Truth truth = made_truth();
  FitInputs inputs = inputs_of(truth, MadeMeasurements(truth, 0.01).all());
  LoadedProfile base;
  base.profile = fit_profile("made", inputs).profile;
  base.fit = ProfileFit::own;
  MadeMeasurements products(truth, 0.01, 8);
  products.products();
  FitInputs few = inputs_of(truth, products.set());
  EXPECT_EQ(fit_profile("made", few).profile.attention_for(AttentionKernel::cudnn), nullptr);

  few.base = base;
  few.base_name = "the profile base.json";
  const FittedKernelProfile own = fit_profile("made", few);
  const AttentionFit* attention = own.profile.attention_for(AttentionKernel::cudnn);
  ASSERT_NE(attention, nullptr);
  EXPECT_EQ(attention->parameters.efficiency,
            base.profile.attention_for(AttentionKernel::cudnn)->parameters.efficiency);
  EXPECT_TRUE(attention->source.text.starts_with("from the profile base.json: ")) << attention->source.text;
  EXPECT_EQ(attention->evidence, Evidence::interpolated);
  EXPECT_FALSE(attention->shapes.empty());
  EXPECT_EQ(table_named(own, "attention", "cudnn").origin, TableOrigin::base);
  EXPECT_EQ(table_named(own, "gemm", "bf16").origin, TableOrigin::rows);

  few.base->fit = ProfileFit::architecture;  // the same numbers as another GPU's
  const FittedKernelProfile far = fit_profile("made", few);
  const AttentionFit* assumed = far.profile.attention_for(AttentionKernel::cudnn);
  ASSERT_NE(assumed, nullptr);
  EXPECT_EQ(assumed->evidence, Evidence::assumed);
  EXPECT_TRUE(assumed->source.assumed());
  EXPECT_TRUE(assumed->shapes.empty());
  EXPECT_EQ(far.profile.memory.evidence, Evidence::assumed);
}

TEST(ProfileFit, ALenderWithoutRowsLendsFromItsShippedProfile) {
  const Truth truth = made_truth();
  FitInputs inputs = inputs_of(truth, MadeMeasurements(truth, 0.01).all());
  const KernelProfile made = fit_profile("made", inputs).profile;
  DeviceSpec twin = truth.device;
  twin.name = "twin";
  twin.peak[static_cast<size_t>(Precision::bf16)] = teraflops(1978);  // twice
  FitInputs other = inputs_of(truth, {});
  other.devices.push_back(twin);
  LentAttention rule;
  rule.gpu = "twin";
  rule.kernel = AttentionKernel::flash2;
  rule.from_gpu = "made";
  rule.from_kernel = AttentionKernel::cudnn;
  rule.narrow = 0.1;
  rule.evidence = Evidence::assumed;
  rule.source = "assumed: the same rate";
  other.rules.attention_lent = {rule};
  EXPECT_EQ(fit_profile("twin", other).profile.attention_for(AttentionKernel::flash2), nullptr);
  other.shipped = [&](const std::string& gpu) {
    return gpu == "made" ? std::optional<KernelProfile>(made) : std::nullopt;
  };
  const KernelProfile profile = fit_profile("twin", other).profile;
  const AttentionFit* lent = profile.attention_for(AttentionKernel::flash2);
  ASSERT_NE(lent, nullptr);
  // The same absolute rate on twice the peak is half the share.
  EXPECT_NEAR(lent->parameters.efficiency,
              0.5 * made.attention_for(AttentionKernel::cudnn)->parameters.efficiency, 1e-6);
  EXPECT_EQ(lent->parameters.narrow, 0.1);
  EXPECT_EQ(lent->evidence, Evidence::assumed);
  EXPECT_TRUE(lent->shapes.empty());
  EXPECT_NE(lent->source.text.find("the shipped profile made"), std::string::npos) << lent->source.text;

  // A backward may gain less than its forward: 1.06 of the rate where the forward has 1.16 of it.
  other.rules.attention_lent.front().efficiency = 1.16;
  other.rules.attention_lent.front().backward = 1.06;
  const KernelProfile faster = fit_profile("twin", other).profile;
  const AttentionParameters& parameters = faster.attention_for(AttentionKernel::flash2)->parameters;
  const AttentionParameters& lender = made.attention_for(AttentionKernel::cudnn)->parameters;
  EXPECT_NEAR(parameters.efficiency, 1.16 * lender.efficiency, 1e-6);
  EXPECT_NEAR(parameters.efficiency * parameters.backward, 1.06 * lender.efficiency * lender.backward, 1e-6);
}

TEST(HeldOut, FoldsKeepFamiliesWholeAndFillEvenly) {
  std::vector<std::string> families;
  for (int family = 0; family < 20; ++family) {
    for (int row = 0; row < 3; ++row) families.push_back("family " + std::to_string(family));
  }
  const std::vector<int> folds = family_folds(families, 5, 1);
  std::vector<int> rows(5, 0);
  for (size_t i = 0; i < folds.size(); ++i) {
    ++rows[static_cast<size_t>(folds[i])];
    EXPECT_EQ(folds[i], folds[i / 3 * 3]);
  }
  for (const int count : rows) EXPECT_EQ(count, 12);  // four families of three rows each
  EXPECT_EQ(folds, family_folds(families, 5, 1));
  EXPECT_NE(folds, family_folds(families, 5, 2));
}

TEST(HeldOut, NothingIsLearnedFromWhatIsPredicted) {
  const std::vector<int> folds = {0, 1, 0, 2};
  std::set<size_t> predicted;
  const auto errors = left_out_errors(folds, [&](const auto& train, const auto& test) {
    for (const size_t row : test) {
      EXPECT_TRUE(predicted.insert(row).second);
      EXPECT_EQ(std::count(train.begin(), train.end(), row), 0);
      for (const size_t other : train) EXPECT_NE(folds[other], folds[row]);
    }
    return std::vector<double>(test.size(), static_cast<double>(test.front()));
  });
  EXPECT_EQ(predicted.size(), 4U);
  EXPECT_EQ(errors, (std::vector<double>{0, 1, 0, 3}));
  const std::vector<int> alone = {0, 0};
  EXPECT_TRUE(left_out_errors(alone, [](const auto&, const auto&) { return std::vector<double>(); }).empty());
}

}  // namespace
}  // namespace orrery
