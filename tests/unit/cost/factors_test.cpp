#include "sim/cost/factors.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace orrery {
namespace {

TEST(Factors, AreOneByDefaultAndNamedInOrder) {
  const Factors none;
  for (int i = 0; i < kFactors; ++i) {
    const auto factor = static_cast<Factor>(i);
    EXPECT_EQ(none[factor], 1.0);
    EXPECT_EQ(factor_named(factor_names()[static_cast<size_t>(i)]), factor);
  }
  EXPECT_EQ(factor_named("product"), std::nullopt);
}

TEST(Factors, EachKernelTakesThatOfItsKind) {
  Factors factors;
  factors[Factor::products] = 2.0;
  factors[Factor::grouped_products] = 1.5;
  factors[Factor::attention] = 3.0;
  factors[Factor::memory] = 5.0;
  EXPECT_EQ(factors.on({"p", GemmShape{}}), 2.0);
  EXPECT_EQ(factors.on({"g", GemmShape{.grouped = true}}), 3.0);  // 2 x 1.5
  EXPECT_EQ(factors.on({"a", AttentionShape{}}), 3.0);
  EXPECT_EQ(factors.on({"m", MemoryShape{}}), 5.0);
}

TEST(Factors, DataGroupsPayForEachDoublingOfTheirNodes) {
  Factors factors;
  factors[Factor::tensor_communication] = 2.0;
  factors[Factor::expert_communication] = 3.0;
  factors[Factor::pipeline_communication] = 4.0;
  factors[Factor::data_communication] = 1.25;
  factors[Factor::data_per_doubling] = 1.1;
  EXPECT_EQ(factors.on(GroupKind::tensor, 4), 2.0);
  EXPECT_EQ(factors.on(GroupKind::context, 4), 2.0);
  EXPECT_EQ(factors.on(GroupKind::expert, 4), 3.0);
  EXPECT_EQ(factors.on(GroupKind::pipeline, 2), 4.0);
  EXPECT_EQ(factors.on(GroupKind::data, 1), 1.25);
  EXPECT_NEAR(factors.on(GroupKind::data, 8), 1.25 * 1.1 * 1.1 * 1.1, 1e-15);
}

TEST(Factors, TheirGrowthEndsWhereTheRunsDid) {
  Factors stack, site;
  stack.growths = {{1.1, 16}};
  site.growths = {{1.2, 4}};
  EXPECT_NEAR(stack.on(GroupKind::data, 8), std::pow(1.1, 3), 1e-15);
  EXPECT_EQ(stack.on(GroupKind::data, 64), stack.on(GroupKind::data, 16));
  EXPECT_EQ(stack.on(GroupKind::data, 1), 1.0);
  EXPECT_EQ(stack.on(GroupKind::tensor, 64), 1.0);
  // Each ends with its own runs: four doublings of one, two of the other.
  EXPECT_NEAR((stack * site).on(GroupKind::data, 64), std::pow(1.1, 4) * std::pow(1.2, 2), 1e-15);
}

TEST(Factors, MultiplyOneByOne) {
  Factors stack, site;
  stack[Factor::host] = 1.5;
  site[Factor::host] = 2.0;
  site[Factor::memory] = 0.5;
  EXPECT_EQ((stack * site)[Factor::host], 3.0);
  EXPECT_EQ((stack * site)[Factor::memory], 0.5);
  EXPECT_EQ((stack * site)[Factor::products], 1.0);
}

}  // namespace
}  // namespace orrery
