#include <gtest/gtest.h>

#include <cmath>

#include "reports/answers/comparable_prediction.hpp"
#include "topologies/build_topology.hpp"

namespace orrery {
namespace {

constexpr double kNinetieth = 1.2815515655446004;  // percentile of the standard normal

/// `compute` seconds of kernels that err by 10 %, `communication` seconds exposed that err by 20 %.
ComparablePrediction side(double compute, double communication, const char* gpu = "x") {
  ComparablePrediction result;
  Prediction& prediction = result.prediction;
  prediction.gpu = gpu;
  prediction.gpus = 8;
  prediction.breakdown[static_cast<size_t>(BreakdownTerm::forward)] = compute;
  prediction.breakdown[static_cast<size_t>(BreakdownTerm::data_comm_exposed)] = communication;
  prediction.step_time = seconds(compute + communication);
  prediction.tokens_per_s = 1000.0 / (compute + communication);
  result.kernel_spread = 0.1;
  result.communication_spread.fill(0.2);
  result.collective_profile = "c";
  return result;
}

TEST(DifferenceInterval, IsAPointWhereAllErrorsAreShared) {
  const auto interval = difference_interval(side(3.0, 1.0), side(3.0, 1.0));
  EXPECT_EQ(interval[0], 0.0);
  EXPECT_EQ(interval[1], 0.0);
}

TEST(DifferenceInterval, HoldsOnlyTheErrorOfWhatDiffers) {
  // The same kernels, one more second of communication: its own 20 % and nothing of the kernels' 10 %.
  const auto interval = difference_interval(side(3.0, 1.0), side(3.0, 2.0));
  EXPECT_NEAR(interval[0], 1.0 - kNinetieth * 0.2, 1e-12);
  EXPECT_NEAR(interval[1], 1.0 + kNinetieth * 0.2, 1e-12);
}

TEST(DifferenceInterval, OfTwoGpusAddsTheirKernelErrorsInSquares) {
  // 10 % of 3 s and 10 % of 4 s, independent: 0.5 s.
  const auto interval = difference_interval(side(3.0, 0.0), side(4.0, 0.0, "y"));
  EXPECT_NEAR(interval[1] - interval[0], 2 * kNinetieth * 0.5, 1e-12);
}

TEST(DifferenceInterval, KindsOfCollectivesDoNotCancel) {
  // A second of all-reduces inside nodes becomes a second of reduce_scatters across the fabric: the same
  // profile, but two errors, 20 % of a second each.
  ComparablePrediction a = side(3.0, 0.0), b = side(3.0, 1.0);
  a.prediction.breakdown[static_cast<size_t>(BreakdownTerm::tensor_comm_exposed)] = 1.0;
  a.prediction.step_time = seconds(4.0);
  const auto interval = difference_interval(a, b);
  EXPECT_NEAR(interval[1] - interval[0], 2 * kNinetieth * std::hypot(0.2, 0.2), 1e-12);
}

TEST(DifferenceInterval, OfOneSoftwareCancelsWhatItsHostTimesShare) {
  // Two seconds more of host time: 20 % of it, or of 1 s and of 3 s each where the software differs.
  ComparablePrediction a = side(3.0, 0.0), b = side(3.0, 0.0);
  a.prediction.breakdown[static_cast<size_t>(BreakdownTerm::other)] = 1.0;
  b.prediction.breakdown[static_cast<size_t>(BreakdownTerm::other)] = 3.0;
  a.prediction.step_time = seconds(4.0);
  b.prediction.step_time = seconds(6.0);
  auto interval = difference_interval(a, b);
  EXPECT_NEAR(interval[1] - interval[0], 2 * kNinetieth * 0.4, 1e-12);
  b.software = "another";
  interval = difference_interval(a, b);
  EXPECT_NEAR(interval[1] - interval[0], 2 * kNinetieth * std::hypot(0.2, 0.6), 1e-12);
}

TEST(EfficiencyInterval, IsAPointWhereTheSharesAreEqual) {
  // Twice the step with the same shares: any shared error cancels in the ratio.
  const auto interval = efficiency_interval(side(3.0, 1.0), side(6.0, 2.0));
  EXPECT_DOUBLE_EQ(interval[0], 0.5);
  EXPECT_DOUBLE_EQ(interval[1], 0.5);
}

ClusterSpec cluster(const char* text) {
  const Json json = Json::parse(text);
  Problems problems("test");
  ClusterSpec spec = read_cluster_spec(SpecReader(json, "/cluster", problems));
  problems.throw_if_any();
  return spec;
}

TEST(HourlyPrice, IsThatOfTheGpusOrThePurchaseWrittenOff) {
  const ClusterSpec rented =
      cluster(R"({"preset": "dgx-h100", "nodes": 2, "price": {"gpu_hour": "2.5 USD"}})");
  EXPECT_DOUBLE_EQ(hourly_price(rented, build_topology(rented)).value(), 40.0);  // 16 GPUs
  // Two nodes, a leaf for each of 8 rails, each with two NICs below and two cables to one spine: 2 x 300,000
  // + 9 x 20,000 + (16 + 16) x 1,000 = 812,000 USD in two years of 8,766 hours.
  const ClusterSpec bought = cluster(
      R"({"preset": "dgx-h100", "nodes": 2, "price": {"node": "300000 USD", "switch": "20000 USD", "optics": "1000 USD", "years": 2}})");
  EXPECT_NEAR(hourly_price(bought, build_topology(bought)).value(), 812000.0 / 17532.0, 1e-9);
  const ClusterSpec unpriced = cluster(R"({"preset": "dgx-h100", "nodes": 2})");
  EXPECT_FALSE(hourly_price(unpriced, build_topology(unpriced)).has_value());
}

}  // namespace
}  // namespace orrery
