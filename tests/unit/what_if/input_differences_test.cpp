#include "reports/answers/input_differences.hpp"

#include <gtest/gtest.h>

namespace orrery {
namespace {

ResolvedExperiment values(const char* text) {
  ResolvedExperiment experiment;
  experiment.values = Json::parse(text);
  return experiment;
}

TEST(InputDifferences, AreListedByPathInTheOrderOfA) {
  const auto differences = input_differences(
      values(
          R"({"name": "a", "cluster": {"nodes": 2, "fabric": {"kind": "leaf_spine", "oversubscription": [1]}}, "x": 1})"),
      values(
          R"({"name": "b", "x": 2, "cluster": {"nodes": 2, "fabric": {"kind": "leaf_spine", "oversubscription": [2]}}})"));
  ASSERT_EQ(differences.size(), 2U);
  EXPECT_EQ(differences[0].path, "cluster.fabric.oversubscription");
  EXPECT_EQ(differences[0].a, Json::parse("[1]"));
  EXPECT_EQ(differences[0].b, Json::parse("[2]"));
  EXPECT_EQ(differences[1].path, "x");
}

TEST(InputDifferences, OfWhatOneSideAloneHasStandBesideNull) {
  const auto differences =
      input_differences(values(R"({"m": {"moe": {"experts": 8}}})"), values(R"({"m": {"mtp": 1}})"));
  ASSERT_EQ(differences.size(), 2U);
  EXPECT_EQ(differences[0].path, "m.moe.experts");
  EXPECT_EQ(differences[0].b, nullptr);
  EXPECT_EQ(differences[1].path, "m.mtp");
  EXPECT_EQ(differences[1].a, nullptr);
}

TEST(InputDifferences, AnObjectAgainstAValueIsBoth) {
  const auto differences =
      input_differences(values(R"({"r": "full"})"), values(R"({"r": {"kind": "full"}})"));
  ASSERT_EQ(differences.size(), 2U);
  EXPECT_EQ(differences[0].path, "r");
  EXPECT_EQ(differences[0].a, "full");
  EXPECT_EQ(differences[1].path, "r.kind");
}

TEST(InputDifferences, LeaveOutLabels) {
  EXPECT_TRUE(input_differences(values(R"({"name": "a", "measured": {"mfu": 0.4}, "x": 1})"),
                                values(R"({"name": "b", "x": 1})"))
                  .empty());
}

}  // namespace
}  // namespace orrery
