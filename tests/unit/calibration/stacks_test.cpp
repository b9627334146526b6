// What is learned from step times, against hand calculations.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "calibration/stacks/residual_interval.hpp"
#include "calibration/stacks/stack_profile.hpp"
#include "sim/base/quantile.hpp"

namespace orrery {
namespace {

FactorRow row(const std::string& family, Factor factor, double slope, double log_ratio,
              const std::string& gpu = "h100-sxm-80gb", int year = 2024) {
  FactorRow result;
  result.id = family + std::to_string(log_ratio) + gpu;
  result.source_group = "lab";
  result.family = family;
  result.kind = "dense";
  result.traits = {"", gpu, gpu, "bf16", year};
  result.log_ratio = log_ratio;
  result.slope[static_cast<size_t>(factor)] = slope;
  return result;
}

std::vector<const FactorRow*> pointers(const std::vector<FactorRow>& rows) {
  std::vector<const FactorRow*> result;
  for (const FactorRow& one : rows) result.push_back(&one);
  return result;
}

const std::vector<FactorTerm> kProducts = {{.factor = Factor::products}};

// Two runs of slope 1 that are 4 % (in logarithms) slow, noise 0.05, prior 0.1:
//     b = 0.04 I / (I + 1 / 0.1^2), I = 2 / 0.05^2 = 800 without a family's error: 0.035556, exp 1.0362;
//     I = 2 / (0.05^2 + 2 x 0.05^2) = 266.7 where both share one: 0.029091, exp 1.0295;
//     I = 2 / (0.05^2 + 2 x (0.05^2 + 0.02^2)) = 241.0 where they share a source's, too: 0.028268,
//     exp 1.0287.
TEST(StackFit, IsRidgeRegressionWithAFamilysAndASourcesErrorIntegratedOut) {
  const std::vector<FactorRow> rows = {row("a", Factor::products, 1.0, 0.04),
                                       row("a", Factor::products, 1.0, 0.04)};
  FactorPriors priors;
  EXPECT_NEAR(fit_factors(pointers(rows), kProducts, priors).entries.at(0).value, 1.0287, 5e-4);
  priors.source = 0.0;
  const FactorModel together = fit_factors(pointers(rows), kProducts, priors);
  EXPECT_NEAR(together.entries.at(0).value, 1.0295, 6e-4);  // rounded to four digits
  EXPECT_NEAR(together.covariance.at(0).at(0), 1.0 / (800.0 / 3 + 100), 1e-6);
  priors.family = 0.0;
  EXPECT_NEAR(fit_factors(pointers(rows), kProducts, priors).entries.at(0).value, 1.0362, 5e-4);
}

// Two models whose collectives would have to be 10 % faster than measured, and whose products 5 % slower: the
// former stay at one, and products are fitted as if they were not there.
TEST(StackFit, NoCommunicationIsFasterThanItsMeasurements) {
  std::vector<FactorRow> rows;
  for (int i = 0; i < 8; ++i) {
    const double share = 0.1 * (1 + i % 4);
    rows.push_back(row(std::string(1, static_cast<char>('a' + i / 4)), Factor::tensor_communication, share,
                       -0.1 * share + 0.05));
    rows.back().slope[static_cast<size_t>(Factor::products)] = 1.0;
  }
  const std::vector<FactorTerm> both = {{.factor = Factor::tensor_communication},
                                        {.factor = Factor::products}};
  const FactorModel model = fit_factors(pointers(rows), both);
  EXPECT_EQ(model.entries.at(0).value, 1.0);
  EXPECT_EQ(model.entries.at(1).value, fit_factors(pointers(rows), kProducts).entries.at(0).value);
  FactorPriors free;
  free.bounded = false;
  EXPECT_LT(fit_factors(pointers(rows), both, free).entries.at(0).value, 1.0);
}

// Three runs of one place that are 10 % slow, products all of each: noise 0.03, prior 0.1, nothing else that
// they could share: b = ln 1.1 x I / (I + 1 / 0.1^2), I = 3 / 0.03^2 = 3333: 1.097.
TEST(StackFit, ASiteKeepsWhatItsRunsShare) {
  const std::vector<FactorRow> rows(3, row("a", Factor::products, 1.0, std::log(1.1)));
  EXPECT_NEAR(fit_factors(pointers(rows), kProducts, FactorPriors::of_a_site()).entries.at(0).value, 1.097,
              5e-4);
}

// One run of ten is 100 % off: Huber's loss lets it pull as one at one standard deviation would.
TEST(StackFit, OneWildRunDoesNotDecide) {
  std::vector<FactorRow> rows;
  for (int i = 0; i < 9; ++i)
    rows.push_back(row(std::string(1, static_cast<char>('a' + i)), Factor::memory, 1.0, 0.0));
  rows.push_back(row("wild", Factor::memory, 1.0, 0.7));
  const std::vector<FactorTerm> terms = {{.factor = Factor::memory}};
  EXPECT_LT(fit_factors(pointers(rows), terms).entries.at(0).value, 1.015);
}

TEST(StackFit, ChoosesWhatOtherFamiliesAgreeOn) {
  std::vector<FactorRow> rows;
  // Four models whose attention is 10 % slower than predicted, with different shares of it, and few
  // products.
  for (int i = 0; i < 4; ++i) {
    for (const double share : {0.2, 0.4, 0.6}) {
      FactorRow one =
          row(std::string(1, static_cast<char>('a' + i)), Factor::attention, share, share * std::log(1.1));
      one.slope[static_cast<size_t>(Factor::products)] = 0.02;
      rows.push_back(one);
    }
  }
  EXPECT_EQ(choose_factors(pointers(rows)), std::vector<Factor>{Factor::attention});
  const FactorModel model = learn_factors(pointers(rows));
  ASSERT_EQ(model.entries.size(), 1U);
  EXPECT_EQ(model.entries[0].term, (FactorTerm{.factor = Factor::attention, .kernels_of = "h100-sxm-80gb"}));
  EXPECT_GT(model.entries[0].value, 1.05);
  EXPECT_LT(model.entries[0].value, 1.1);
}

// Tensor collectives that take 20 % longer in five families; data-parallel ones move the step and are right.
TEST(StackFit, TakesCommunicationInAsOneCause) {
  std::vector<FactorRow> rows;
  for (int i = 0; i < 5; ++i) {
    for (const double share : {0.2, 0.3, 0.4}) {
      FactorRow one = row(std::string(1, static_cast<char>('a' + i)), Factor::tensor_communication, share,
                          share * std::log(1.2));
      one.slope[static_cast<size_t>(Factor::data_communication)] = 0.45 - share;
      one.traits.stack = "ours";
      rows.push_back(one);
    }
  }
  const std::vector<Factor> together = {Factor::tensor_communication, Factor::expert_communication,
                                        Factor::data_communication, Factor::data_per_doubling,
                                        Factor::pipeline_communication};
  EXPECT_EQ(choose_factors(pointers(rows)), together);
  const FactorModel model = learn_factors(pointers(rows));
  ASSERT_EQ(model.entries.size(), 2U);  // no run moves with the others
  EXPECT_GT(model.entries[0].value, 1.1);
  EXPECT_LT(model.entries[1].value, 1.05);
}

// Variances 0.04 and 0.01 of ln of both, covariance -0.01. Over 8 nodes, 3 doublings: 0.04 + 9 x 0.01 -
// 6 x 0.01. Over 64 the runs' own 16 are counted, 4 doublings; ln 1.1 twice is left out, and what was
// learned, ln 1.2 + 4 ln 1.1, is in doubt.
TEST(StackFit, WhatIsNotKnownOfDataGroupsGrowsWithTheirNodes) {
  FactorModel model;
  model.entries = {{{.factor = Factor::data_communication, .stack = "ours"}, 1.2},
                   {{.factor = Factor::data_per_doubling, .stack = "ours", .most_nodes = 16}, 1.1},
                   {{.factor = Factor::data_communication, .stack = "theirs"}, 1.5}};
  model.covariance = {{0.04, -0.01, 0.0}, {-0.01, 0.01, 0.0}, {0.0, 0.0, 9.0}};
  RunTraits run;
  run.stack = "ours";
  run.nodes = 8;
  EXPECT_NEAR(model.communication_deviation(run, Factor::data_communication), std::sqrt(0.07), 1e-12);
  EXPECT_EQ(model.communication_deviation(run, Factor::tensor_communication), 0.0);
  run.nodes = 64;
  const double left_out = 2 * std::log(1.1), learned = std::log(1.2) + 4 * std::log(1.1);
  EXPECT_NEAR(model.communication_deviation(run, Factor::data_communication),
              std::sqrt(0.12 + left_out * left_out + learned * learned), 1e-12);
  EXPECT_EQ(model.factors_for(run).growths, (std::vector<Factors::Growth>{{1.1, 16}}));
  EXPECT_EQ(model.most_nodes_for(run), 16);
  model.covariance.clear();
  EXPECT_EQ(model.communication_deviation(run, Factor::data_communication), 0.0);
}

// The bound of a growth is the most nodes of its stack's runs.
TEST(StackFit, AGrowthIsKnownUpToItsRunsNodes) {
  std::vector<FactorRow> rows(3, row("a", Factor::data_per_doubling, 0.3, 0.0));
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].traits.stack = i < 2 ? "ours" : "theirs";
    rows[i].traits.nodes = std::vector<int>{4, 32, 128}[i];
  }
  const std::vector<Factor> growth = {Factor::data_per_doubling, Factor::data_communication};
  const std::vector<FactorTerm> terms = terms_of(pointers(rows), growth);
  ASSERT_EQ(terms.size(), 2U);  // no row moves with the other
  EXPECT_EQ(terms[0].most_nodes, 32);
  EXPECT_EQ(terms[1].most_nodes, 128);
}

// Collectives that would have to take 2.5 times as long: 12 families of slopes 0.1, 0.2 and 0.4, noise and
// family 0.05, tell each (0.21 / 0.05^2) - (0.7 / 0.05^2)^2 / (1 / 0.05^2 + 3 / 0.05^2) = 35 of ln 2.5, in
// all 420, against 1 / 0.15^2 = 44.4 of the prior's one: 2.5^(420 / 464.4) = 2.29.
TEST(StackFit, APriorHoldsBackWhatIsHardToBelieve) {
  std::vector<FactorRow> rows;
  for (int i = 0; i < 12; ++i) {
    for (const double share : {0.1, 0.2, 0.4}) {
      rows.push_back(row(std::string(1, static_cast<char>('a' + i)), Factor::tensor_communication, share,
                         share * std::log(2.5)));
    }
  }
  FactorPriors priors;
  priors.factor[static_cast<size_t>(Factor::tensor_communication)] = 0.15;
  priors.source = 0.0;
  const FactorModel model = learn_factors(pointers(rows), priors);
  ASSERT_EQ(model.entries.size(), 1U);
  EXPECT_NEAR(model.entries[0].value, 2.29, 5e-3);
}

TEST(StackFit, ShipsNothingThatOneFamilyAloneAsksForOrThatDoesNotHold) {
  std::vector<FactorRow> one_family = {row("a", Factor::products, 1.0, 0.1),
                                       row("a", Factor::products, 1.0, 0.1)};
  one_family[1].source_group = "there";
  EXPECT_TRUE(choose_factors(pointers(one_family)).empty());
  std::vector<FactorRow> at_odds = {row("a", Factor::products, 1.0, 0.1),
                                    row("b", Factor::products, 1.0, -0.1)};
  at_odds[1].source_group = "there";
  EXPECT_TRUE(choose_factors(pointers(at_odds)).empty());
}

TEST(StackFit, AFactorOfAChipOrYearIsForThemAlone) {
  FactorModel model;
  model.entries = {{{.factor = Factor::products, .kernels_of = "gb200"}, 1.1},
                   {{.factor = Factor::products, .first_year = 2020, .last_year = 2021}, 1.2},
                   {{.factor = Factor::host}, 2.0}};
  const auto of = [&model](const std::string& chip, int year) {
    return model.factors_for({"", "", chip, "bf16", year});
  };
  EXPECT_EQ(of("h100-sxm-80gb", 2024)[Factor::products], 1.0);
  EXPECT_EQ(of("gb200", 2024)[Factor::products], 1.1);
  EXPECT_NEAR(of("gb200", 2021)[Factor::products], 1.32, 1e-12);
  EXPECT_EQ(of("x", 1999)[Factor::host], 2.0);
  EXPECT_EQ(text_of(model), "products (gb200): 1.10, products 2020-2021: 1.20, host: 2.00");
  EXPECT_EQ(text_of(model, {"", "", "x", "bf16", 2021}), "products 2020-2021: 1.20, host: 2.00");
  model.entries.resize(1);
  EXPECT_EQ(text_of(model, {"", "", "x", "bf16", 2021}), "");
}

// Runs of two stacks, one source each, whose products in bf16 on one chip take 8 % longer than predicted: one
// value for both. In fp16 nothing is missing; the factor's value there stays at one. What the host does is
// the stack's own.
TEST(StackFit, LearnsAChipsKernelsFromTheRunsOfAllStacks) {
  std::vector<FactorRow> rows;
  for (int i = 0; i < 12; ++i) {
    for (const std::string precision : {"bf16", "fp16"}) {
      for (const double share : {0.5, 0.7}) {
        FactorRow one = row(std::string(1, static_cast<char>('a' + i)), Factor::products, share,
                            precision == "bf16" ? share * 0.08 : 0.0);
        one.source_group = i < 6 ? "here" : "there";
        one.traits = {i < 6 ? "ours" : "theirs", i < 6 ? "large" : "small", "chip", precision, 2021 + i / 6};
        one.slope[static_cast<size_t>(Factor::host)] = 0.02;
        rows.push_back(one);
      }
    }
  }
  const FactorModel model = learn_factors(pointers(rows));
  ASSERT_EQ(model.entries.size(), 2U);
  EXPECT_EQ(model.entries[0].term,
            (FactorTerm{.factor = Factor::products, .kernels_of = "chip", .precision = "bf16"}));
  EXPECT_NEAR(model.entries[0].value, 1.08, 0.02);
  EXPECT_EQ(model.entries[1].term.precision, "fp16");
  EXPECT_NEAR(model.entries[1].value, 1.0, 0.02);
  for (const std::string stack : {"ours", "theirs"}) {
    const RunTraits run = {stack, "small", "chip", "bf16", 2021};
    EXPECT_EQ(model.factors_for(run)[Factor::products], model.entries[0].value);
    EXPECT_EQ(text_of(model, run), fmt::format("products (chip in bf16): {:.2f}", model.entries[0].value));
  }
  EXPECT_EQ(model.factors_for({"ours", "small", "chip", "bf16", 2026})[Factor::products],
            model.entries[0].value);
  EXPECT_EQ(model.factors_for({"ours", "small", "other", "bf16", 2021})[Factor::products], 1.0);

  const std::vector<Factor> of_host = {Factor::host};
  const std::vector<FactorTerm> hosts = terms_of(pointers(rows), of_host);
  ASSERT_EQ(hosts.size(), 2U);
  EXPECT_EQ(hosts[0],
            (FactorTerm{.factor = Factor::host, .first_year = 2021, .last_year = 2021, .stack = "ours"}));
  EXPECT_EQ(hosts[1].stack, "theirs");
}

StackProfile profile_of(const std::string& software, const std::vector<double>& residuals) {
  StackProfile profile;
  profile.software = software;
  profile.source = "the test";
  for (size_t i = 0; i < residuals.size(); ++i) {
    FactorRow one = row(software + std::to_string(i), Factor::products, 1.0, 0.0);
    one.traits.stack = software;
    profile.runs.push_back({one, 0.05, 2 * residuals[i], residuals[i]});
  }
  return profile;
}

// Five families of one software, |residual| / spread 1 each: the percentile is 1 at every level, and five
// families widen it by 1 + 0.5 / 6. At tier measured the residuals here are twice as large.
TEST(ResidualInterval, IsTheEightiethPercentileWidenedWhereEvidenceIsThin) {
  const std::vector<StackProfile> profiles = {profile_of("s", {0.05, -0.05, 0.05, -0.05, 0.05})};
  IntervalQuery query{"s", "h100-sxm-80gb", "dense", "", "", true};
  EXPECT_NEAR(interval_width(profiles, query), 1.0 + 0.5 / 6, 1e-12);
  query.stack = false;
  EXPECT_NEAR(interval_width(profiles, query), 2.0 * (1.0 + 0.5 / 6), 1e-12);
  // A software that nobody measured has what tier measured leaves, by a half wider.
  query = {"other", "h100-sxm-80gb", "dense", "", "", true};
  EXPECT_NEAR(interval_width(profiles, query), 3.0, 1e-12);
  EXPECT_EQ(interval_width({}, query), kNinetiethPercentile);
}

// Its own family is large and left out; what stays is 1.
TEST(ResidualInterval, NeverRestsOnTheFamilyThatItIsFor) {
  const std::vector<StackProfile> profiles = {profile_of("s", {0.5, 0.05, 0.05, 0.05, 0.05})};
  const IntervalQuery query{"s", "h100-sxm-80gb", "dense", "s0", "", true};
  EXPECT_NEAR(interval_width(profiles, query), 1.0 + 0.5 / 5, 1e-12);
}

TEST(StackProfile, ReadsWhatItWrites) {
  StackProfile profile = profile_of("s", {0.05, -0.05});
  const FactorTerm own = {.factor = Factor::host, .first_year = 2021, .last_year = 2024, .stack = "s"};
  const FactorTerm of_all = {.factor = Factor::products, .kernels_of = "gb200", .precision = "fp8"};
  const FactorTerm grows = {.factor = Factor::data_per_doubling, .stack = "s", .most_nodes = 16};
  profile.model = {{{own, 1.25}, {of_all, 1.1}, {grows, 1.05}},
                   {{0.001, 0.0, 0.0}, {0.0, 0.001, 0.0}, {0.0, 0.0, 0.002}}};
  profile.runs[1].row.traits.nodes = 8;
  profile.folds = {{"s0", "lab", {{{of_all, 1.5}}, {}}}};
  profile.measured = summary_of_residuals({0.1, -0.1});
  const std::string text = stack_profile_text(profile);
  const StackProfile read = parse_stack_profile(text, "s.json");
  EXPECT_EQ(stack_profile_text(read), text);
  EXPECT_EQ(read.model.entries, profile.model.entries);
  EXPECT_EQ(read.fold("s0")->model.entries, profile.folds[0].model.entries);
  EXPECT_EQ(read.fold("s1"), nullptr);
  EXPECT_EQ(read.runs[1].row.traits.nodes, 8);
  EXPECT_THROW(parse_stack_profile(R"({"schema": "orrery.stack_profile/1"})", "s.json"), InputError);

  SiteProfile site;
  site.gpu = "gb200";
  site.software = "s";
  site.model = {{{{Factor::memory, 2021, 2024}, 1.25}}, {{0.001}}};
  site.kernel_profiles = {"77cd70b766f8cfaa"};
  site.runs = {{"mine", "one", 0.05, 0.2, 0.01, site.model}};
  EXPECT_EQ(site_profile_text(parse_site_profile(site_profile_text(site), "site.json")),
            site_profile_text(site));
}

// predicted / measured - 1 of ln(measured / predicted) = +-0.1: e^-0.1 - 1 and e^0.1 - 1.
TEST(StackProfile, SummarisesResidualsAsErrors) {
  const ErrorSummary summary = summary_of_residuals({0.1, -0.1});
  EXPECT_EQ(summary.rows, 2);
  EXPECT_NEAR(summary.mape, (0.0951626 + 0.1051709) / 2, 1e-6);
  EXPECT_NEAR(summary.bias, (-0.0951626 + 0.1051709) / 2, 1e-6);
}

}  // namespace
}  // namespace orrery
