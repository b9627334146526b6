#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <stdexcept>

#include "reports/answers/compare.hpp"
#include "reports/answers/scale.hpp"

namespace orrery {
namespace {

Breakdown breakdown_of(std::initializer_list<std::pair<BreakdownTerm, double>> terms) {
  Breakdown breakdown{};
  for (const auto& [term, seconds] : terms) breakdown[static_cast<size_t>(term)] = seconds;
  return breakdown;
}

ComparablePrediction side(const Breakdown& breakdown, int gpus, double tokens) {
  ComparablePrediction result;
  Prediction& prediction = result.prediction;
  prediction.breakdown = breakdown;
  prediction.step_time = seconds(std::accumulate(breakdown.begin(), breakdown.end(), 0.0));
  prediction.gpus = gpus;
  prediction.tokens_per_s = tokens / prediction.step_time.base();
  return result;
}

TEST(AttributeDifference, IsTermByTermAndAddsUp) {
  const Breakdown a = breakdown_of({{BreakdownTerm::forward, 1.0}, {BreakdownTerm::data_comm_exposed, 0.25}});
  const Breakdown b = breakdown_of({{BreakdownTerm::forward, 0.5}, {BreakdownTerm::data_comm_exposed, 1.0}});
  const std::vector<TermDifference> terms = attribute_difference(a, b, 0.25);
  ASSERT_EQ(terms.size(), static_cast<size_t>(kBreakdownTerms));
  EXPECT_EQ(terms[static_cast<size_t>(BreakdownTerm::forward)].delta_s, -0.5);
  EXPECT_EQ(terms[static_cast<size_t>(BreakdownTerm::data_comm_exposed)].delta_s, 0.75);
  EXPECT_EQ(terms[static_cast<size_t>(BreakdownTerm::optimizer)].delta_s, 0.0);
}

TEST(AttributeDifference, OfEqualBreakdownsIsExactlyZero) {
  const Breakdown a = breakdown_of({{BreakdownTerm::forward, 0.1}, {BreakdownTerm::backward, 0.2}});
  for (const TermDifference& term : attribute_difference(a, a, 0.0)) EXPECT_EQ(term.delta_s, 0.0);
}

TEST(AttributeDifference, AddsUpWithinAThousandthHoweverSmallTheDifference) {
  // The breakdown's own sum is off its step by 1e-13 s; the steps differ by no more than that.
  const Breakdown a = breakdown_of({{BreakdownTerm::forward, 3.0}, {BreakdownTerm::backward, 6.0}});
  const Breakdown b =
      breakdown_of({{BreakdownTerm::forward, 3.0 + 4e-13}, {BreakdownTerm::backward, 6.0 - 1e-13}});
  const double delta = 2e-13;
  double sum = 0.0;
  for (const TermDifference& term : attribute_difference(a, b, delta)) sum += term.delta_s;
  EXPECT_NEAR(sum, delta, 1e-3 * delta);
}

TEST(AttributeDifference, RefusesTimeThatNoTermHolds) {
  // The steps differ by a quarter of a second that is in neither breakdown; 1e-8 of a step are too much as
  // well.
  const Breakdown a = breakdown_of({{BreakdownTerm::forward, 1.0}});
  const Breakdown b = breakdown_of({{BreakdownTerm::forward, 1.5}});
  EXPECT_THROW(attribute_difference(a, b, 0.75), std::logic_error);
  EXPECT_THROW(attribute_difference(a, b, 0.5 + 2e-8), std::logic_error);
  EXPECT_NO_THROW(attribute_difference(a, b, 0.5 + 1e-12));
}

TEST(Losses, OfWeakScalingAreTheAddedSecondsOverTheStep) {
  // Twice the GPUs, twice the tokens; half a second of communication comes on top of two seconds:
  // efficiency 2.0 / 2.5 = 0.8, all of the loss is communication.
  const auto then = side(breakdown_of({{BreakdownTerm::forward, 2.0}}), 8, 8000);
  const auto now =
      side(breakdown_of({{BreakdownTerm::forward, 2.0}, {BreakdownTerm::data_comm_exposed, 0.5}}), 16, 16000);
  double sum = 0.0;
  for (const TermLoss& loss : losses_against(then, now)) {
    EXPECT_EQ(loss.loss, loss.term == BreakdownTerm::data_comm_exposed ? 0.2 : 0.0);
    sum += loss.loss;
  }
  EXPECT_DOUBLE_EQ(1.0 - sum, 0.8);
}

TEST(Losses, OfStrongScalingHoldWhatDoesNotShrink) {
  // The same tokens on twice the GPUs: compute halves, the optimizer's 0.5 s stay where 0.25 s would be its
  // share. Step 2.5 s -> 1.5 s, efficiency 2.5 / (2 x 1.5) = 5/6, loss 0.25 / 1.5 = 1/6.
  const auto then =
      side(breakdown_of({{BreakdownTerm::forward, 2.0}, {BreakdownTerm::optimizer, 0.5}}), 8, 8000);
  const auto now =
      side(breakdown_of({{BreakdownTerm::forward, 1.0}, {BreakdownTerm::optimizer, 0.5}}), 16, 8000);
  const std::vector<TermLoss> losses = losses_against(then, now);
  const TermLoss& optimizer = losses[static_cast<size_t>(BreakdownTerm::optimizer)];
  EXPECT_NEAR(optimizer.loss, 1.0 / 6.0, 1e-15);
  EXPECT_DOUBLE_EQ(optimizer.delta_s, 0.25);
  EXPECT_EQ(optimizer.reason, "500 ms instead of 500 ms: it does not shrink with a GPU's share of the batch");
  EXPECT_EQ(losses[static_cast<size_t>(BreakdownTerm::forward)].loss, 0.0);
}

TEST(Losses, OfComputeSayWhatBecameOfIt) {
  // Twice the GPUs, twice the tokens; forward takes 1.8 s or 2.2 s instead of 2 s.
  const auto reason = [](double now, double hidden_before, double hidden_now) {
    auto before = side(breakdown_of({{BreakdownTerm::forward, 2.0}}), 8, 8000);
    auto after = side(breakdown_of({{BreakdownTerm::forward, now}}), 16, 16000);
    before.overlap_slowdown = after.overlap_slowdown = 0.25;
    CommunicationTotal line;
    line.total = seconds(hidden_before);
    before.prediction.communication = {line};
    line.total = seconds(hidden_now);
    after.prediction.communication = {line};
    return losses_against(before, after)[static_cast<size_t>(BreakdownTerm::forward)].reason;
  };
  EXPECT_EQ(reason(1.8, 1.0, 1.0), "faster per FLOP on 16 GPUs than on 8");
  EXPECT_EQ(reason(2.2, 1.0, 1.0), "slower per FLOP on 16 GPUs than on 8: the slowest one sets the pace");
  // A second more beside collectives that slow kernels by a quarter: 1 s x .25 / 1.25 = .2 s.
  EXPECT_EQ(reason(2.2, 1.0, 2.0),
            "slower per FLOP on 16 GPUs than on 8: beside collectives for more of the time");
  EXPECT_EQ(reason(1.8, 2.0, 1.0),
            "faster per FLOP on 16 GPUs than on 8: beside collectives for less of the time");
  EXPECT_EQ(reason(1.8, 1.0, 2.0), "faster per FLOP on 16 GPUs than on 8");
}

}  // namespace
}  // namespace orrery
