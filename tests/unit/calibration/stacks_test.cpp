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
  result.traits = {"", gpu, "", "bf16", year};
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
//     I = 2 / (0.05^2 + 2 x 0.05^2) = 266.7 where both share one: 0.029091, exp 1.0295.
TEST(StackFit, IsRidgeRegressionWithAFamilysErrorIntegratedOut) {
  const std::vector<FactorRow> rows = {row("a", Factor::products, 1.0, 0.04),
                                       row("a", Factor::products, 1.0, 0.04)};
  FactorPriors alone;
  alone.family = 0.0;
  EXPECT_NEAR(fit_factors(pointers(rows), kProducts, alone).entries.at(0).value, 1.036, 1e-3);
  const FactorModel together = fit_factors(pointers(rows), kProducts);
  EXPECT_NEAR(together.entries.at(0).value, 1.0295, 6e-4);  // rounded to four digits
  EXPECT_NEAR(together.covariance.at(0).at(0), 1.0 / (800.0 / 3 + 100), 1e-6);
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
  // Four models whose attention is 20 % slower than predicted, with different shares of it.
  for (int i = 0; i < 4; ++i) {
    for (const double share : {0.2, 0.4, 0.6}) {
      FactorRow one = row(std::string(1, static_cast<char>('a' + i)), Factor::attention, share, share * 0.18);
      one.slope[static_cast<size_t>(Factor::products)] = 1.0 - share;
      one.source_group = i % 2 == 0 ? "here" : "there";
      rows.push_back(one);
    }
  }
  const FactorModel model = learn_factors(pointers(rows));
  ASSERT_FALSE(model.entries.empty());
  EXPECT_EQ(model.entries[0].term.factor, Factor::attention);
  EXPECT_NEAR(model.entries[0].value, 1.2, 0.06);
  // The same from one source alone: its machines may be what is slow.
  for (FactorRow& one : rows) one.source_group = "here";
  EXPECT_TRUE(choose_terms(pointers(rows)).empty());
}

// Collectives that would have to take 2.5 times as long are not what is slow, however well that fits: the
// prior holds a factor of 1.5 likely.
TEST(StackFit, ShipsNoValueBeyondBelief) {
  const auto rows_with = [](double factor) {
    std::vector<FactorRow> rows;
    for (int i = 0; i < 12; ++i) {
      for (const double share : {0.1, 0.2, 0.4}) {
        rows.push_back(row(std::string(1, static_cast<char>('a' + i)), Factor::tensor_communication, share,
                           share * std::log(factor)));
        rows.back().source_group = i % 2 == 0 ? "here" : "there";
      }
    }
    return rows;
  };
  const FactorModel believed = learn_factors(pointers(rows_with(1.5)));
  ASSERT_EQ(believed.entries.size(), 1U);
  EXPECT_NEAR(believed.entries[0].value, 1.5, 0.1);
  EXPECT_TRUE(learn_factors(pointers(rows_with(2.5))).entries.empty());
}

TEST(StackFit, ShipsNothingThatOneFamilyAloneAsksForOrThatDoesNotHold) {
  std::vector<FactorRow> one_family = {row("a", Factor::products, 1.0, 0.1),
                                       row("a", Factor::products, 1.0, 0.1)};
  one_family[1].source_group = "there";
  EXPECT_TRUE(choose_terms(pointers(one_family)).empty());
  std::vector<FactorRow> at_odds = {row("a", Factor::products, 1.0, 0.1),
                                    row("b", Factor::products, 1.0, -0.1)};
  at_odds[1].source_group = "there";
  EXPECT_TRUE(choose_terms(pointers(at_odds)).empty());
}

// Two sources ask for opposite corrections of the same factor: families of either agree, the sources do not.
TEST(StackFit, ShipsNothingThatAnotherSourceContradicts) {
  std::vector<FactorRow> rows;
  for (int i = 0; i < 8; ++i) {
    FactorRow one =
        row(std::string(1, static_cast<char>('a' + i)), Factor::products, 1.0, i < 6 ? 0.1 : -0.1);
    one.source_group = i < 6 ? "here" : "there";
    rows.push_back(one);
  }
  EXPECT_LT(left_out_error(pointers(rows), kProducts, &FactorRow::family),
            left_out_error(pointers(rows), {}, &FactorRow::family));
  EXPECT_TRUE(choose_terms(pointers(rows)).empty());
}

TEST(StackFit, AFactorOfAGpuOrYearIsForThemAlone) {
  FactorModel model;
  model.entries = {
      {{Factor::products, "gb200"}, 1.1}, {{Factor::products, "", 2020, 2021}, 1.2}, {{Factor::host}, 2.0}};
  const auto of = [&model](const std::string& gpu, int year) {
    return model.factors_for({"", gpu, "", "bf16", year});
  };
  EXPECT_EQ(of("h100-sxm-80gb", 2024)[Factor::products], 1.0);
  EXPECT_EQ(of("gb200", 2024)[Factor::products], 1.1);
  EXPECT_NEAR(of("gb200", 2021)[Factor::products], 1.32, 1e-12);
  EXPECT_EQ(of("x", 1999)[Factor::host], 2.0);
  EXPECT_EQ(text_of(model), "products (gb200): 1.10, products 2020-2021: 1.20, host: 2.00");
  EXPECT_EQ(text_of(model, {"", "x", "", "bf16", 2021}), "products 2020-2021: 1.20, host: 2.00");
  EXPECT_EQ(text_of({{{{Factor::products, "gb200"}, 1.1}}, {}}, {"", "x", "", "bf16", 2021}), "");
}

// Two stacks of one source each, whose products in bf16 on one chip take 8 % longer than predicted: either
// learns it with the other's runs beside, neither without. In fp16 nothing is missing, and nothing is taken.
TEST(StackFit, LearnsAChipsKernelsFromTheRunsOfAllStacks) {
  std::vector<FactorRow> rows;
  for (int i = 0; i < 12; ++i) {
    for (const std::string precision : {"bf16", "fp16"}) {
      for (const double share : {0.5, 0.7}) {
        FactorRow one = row(std::string(1, static_cast<char>('a' + i)), Factor::products, share,
                            precision == "bf16" ? share * 0.08 : 0.0);
        one.source_group = i < 6 ? "here" : "there";
        one.traits = {i < 6 ? "ours" : "theirs", i < 6 ? "large" : "small", "chip", precision, 2021 + i / 6};
        rows.push_back(one);
      }
    }
  }
  const FactorModel model = learn_factors(pointers(rows), "ours");
  ASSERT_EQ(model.entries.size(), 1U);
  EXPECT_EQ(model.entries[0].term, (FactorTerm{.factor = Factor::products,
                                               .first_year = 2021,
                                               .last_year = 2022,
                                               .kernels_of = "chip",
                                               .precision = "bf16"}));
  EXPECT_NEAR(model.entries[0].value, 1.08, 0.02);
  EXPECT_EQ(text_of(model),
            "products (kernels of chip in bf16) 2021-2022: " + fmt::format("{:.2f}", model.entries[0].value));
  EXPECT_EQ(model.factors_for({"ours", "small", "chip", "fp16", 2021})[Factor::products], 1.0);
  EXPECT_GT(model.factors_for({"ours", "small", "chip", "bf16", 2021})[Factor::products], 1.05);
  EXPECT_EQ(model.factors_for({"ours", "small", "chip", "bf16", 2023})[Factor::products], 1.0);
  std::erase_if(rows, [](const FactorRow& one) { return one.traits.stack == "theirs"; });
  EXPECT_TRUE(learn_factors(pointers(rows), "ours").entries.empty());
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
  const FactorTerm own = {
      .factor = Factor::memory, .gpu = "gb200", .first_year = 2021, .last_year = 2024, .stack = "s"};
  const FactorTerm of_all = {.factor = Factor::products, .kernels_of = "gb200", .precision = "fp8"};
  profile.model = {{{own, 1.25}, {of_all, 1.1}}, {{0.001, 0.0}, {0.0, 0.001}}};
  profile.folds = {{"s0", "lab", {{{of_all, 1.5}}, {}}}};
  profile.measured = summary_of_residuals({0.1, -0.1});
  const std::string text = stack_profile_text(profile);
  const StackProfile read = parse_stack_profile(text, "s.json");
  EXPECT_EQ(stack_profile_text(read), text);
  EXPECT_EQ(read.model.entries, profile.model.entries);
  EXPECT_EQ(read.fold("s0")->model.entries, profile.folds[0].model.entries);
  EXPECT_EQ(read.fold("s1"), nullptr);
  EXPECT_THROW(parse_stack_profile(R"({"schema": "orrery.stack_profile/1"})", "s.json"), InputError);

  SiteProfile site;
  site.gpu = "gb200";
  site.software = "s";
  site.model = {{{{Factor::memory, "gb200", 2021, 2024}, 1.25}}, {{0.001}}};
  site.runs = {{"mine", 0.05, 0.2, 0.01, site.model}};
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
