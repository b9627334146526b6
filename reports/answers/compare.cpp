#include "reports/answers/compare.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <future>
#include <stdexcept>
#include <utility>

#include "sim/base/unit_text.hpp"
#include "sim/engine/child_process.hpp"

namespace orrery {
namespace {

constexpr size_t kTermsExplained = 3;
constexpr double kLeastShareExplained = 0.05;  // of the largest term's difference
constexpr double kRounding = 1e-9;             // of a step: differences below are what sums of doubles leave

std::string signed_seconds(double value) {
  return (value < 0 ? "-" : "+") + format_quantity(seconds(std::abs(value)));
}

/// Terms by size of their difference, the largest first.
std::vector<const TermDifference*> by_size(const std::vector<TermDifference>& terms) {
  std::vector<const TermDifference*> sorted;
  sorted.reserve(terms.size());
  for (const TermDifference& term : terms) sorted.push_back(&term);
  std::stable_sort(sorted.begin(), sorted.end(), [](const TermDifference* a, const TermDifference* b) {
    return std::abs(a->delta_s) > std::abs(b->delta_s);
  });
  return sorted;
}

std::string explain(const Comparison& comparison) {
  const double step = comparison.a.prediction.step_time.base();
  const std::vector<const TermDifference*> terms = by_size(comparison.terms);
  const double largest = std::abs(terms.front()->delta_s);
  if (comparison.delta_s == 0.0 && largest == 0.0) {
    return comparison.inputs.empty() ? "A and B are the same experiment and take the same time."
                                     : "B takes exactly as long as A: nothing that differs moves the step.";
  }
  std::string text = comparison.delta_s == 0.0
                         ? "B takes as long as A, with the time in other places."
                         : fmt::format("B takes {} ({:.1f} %) {} than A.",
                                       format_quantity(seconds(std::abs(comparison.delta_s))),
                                       100.0 * std::abs(comparison.relative_change()),
                                       comparison.delta_s > 0 ? "longer" : "less");
  for (size_t i = 0; i < std::min(kTermsExplained, terms.size()); ++i) {
    const TermDifference& term = *terms[i];
    if (std::abs(term.delta_s) < std::max(kLeastShareExplained * largest, kRounding * step)) break;
    text += fmt::format(" {} {}{}{}.", name_of(term.term), signed_seconds(term.delta_s),
                        term.reason.empty() ? "" : ": ", term.reason);
  }
  return text;
}

/// What makes seconds of one step a poor measure of A against B.
std::vector<std::string> warnings_of(const Comparison& comparison) {
  std::vector<std::string> warnings;
  const Prediction& a = comparison.a.prediction;
  const Prediction& b = comparison.b.prediction;
  // Tokens of a step are exact integers; their rates carry the rounding of one division each.
  const double tokens_a = std::round(a.tokens_per_s * a.step_time.base());
  const double tokens_b = std::round(b.tokens_per_s * b.step_time.base());
  if (a.gpus != b.gpus || tokens_a != tokens_b) {
    warnings.push_back(
        fmt::format("seconds are of one step each: A does {:.0f} tokens on {} GPUs, B {:.0f} on {}; compare "
                    "tokens/s per GPU",
                    tokens_a, a.gpus, tokens_b, b.gpus));
  }
  if (comparison.a.slowest_rank && comparison.b.slowest_rank && a.plan.pipeline == b.plan.pipeline &&
      comparison.a.slowest_rank != comparison.b.slowest_rank) {
    warnings.push_back(
        fmt::format("the slowest rank is {} in A and {} in B: some time may move between compute and bubble "
                    "for that alone",
                    *comparison.a.slowest_rank, *comparison.b.slowest_rank));
  }
  return warnings;
}

}  // namespace

std::vector<TermDifference> attribute_difference(const Breakdown& a, const Breakdown& b, double delta_s) {
  std::vector<TermDifference> terms;
  double sum = 0.0;
  double step = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    terms.push_back({static_cast<BreakdownTerm>(i), a[i], b[i], b[i] - a[i], ""});
    sum += terms.back().delta_s;
    step += std::max(a[i], b[i]);
  }
  if (std::abs(sum - delta_s) > kRounding * step) {
    throw std::logic_error(
        fmt::format("the terms of two breakdowns differ by {} s, their steps by {} s: one of "
                    "them does not add up to its step",
                    sum, delta_s));
  }
  const auto largest = std::max_element(terms.begin(), terms.end(),
                                        [](const TermDifference& left, const TermDifference& right) {
                                          return std::abs(left.delta_s) < std::abs(right.delta_s);
                                        });
  largest->delta_s += delta_s - sum;
  return terms;
}

Comparison compare(const Experiment& a, const Experiment& b, const PredictOptions& options, int threads) {
  if (!options.echo) throw std::invalid_argument("compare needs the experiments written out");
  CalibrationStore calibrations;
  // Deferred: runs in get(), on this thread.
  auto later = std::async(worker_count(threads) > 1 ? std::launch::async : std::launch::deferred,
                          [&] { return predict_to_compare(b, options, calibrations); });
  ComparablePrediction of_a = predict_to_compare(a, options, calibrations);
  return compare_predictions(std::move(of_a), later.get());
}

Comparison compare_predictions(ComparablePrediction a, ComparablePrediction b) {
  Comparison comparison;
  comparison.a = std::move(a);
  comparison.b = std::move(b);
  const Prediction& left = comparison.a.prediction;
  const Prediction& right = comparison.b.prediction;
  comparison.delta_s = right.step_time.base() - left.step_time.base();
  comparison.interval = difference_interval(comparison.a, comparison.b);
  comparison.terms = attribute_difference(left.breakdown, right.breakdown, comparison.delta_s);
  for (TermDifference& term : comparison.terms) {
    if (std::abs(term.delta_s) > kRounding * left.step_time.base())
      term.reason = reason_of_term(term.term, comparison.a, comparison.b);
  }
  comparison.inputs = input_differences(left.experiment, right.experiment);
  comparison.operations = paired_operations(left, right);
  std::erase_if(comparison.operations, [](const OperationPair& pair) { return pair.a == pair.b; });
  comparison.explanation = explain(comparison);
  comparison.warnings = warnings_of(comparison);
  return comparison;
}

}  // namespace orrery
