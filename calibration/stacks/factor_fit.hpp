#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "sim/cost/factors.hpp"

namespace orrery {

/// What a term picks runs by.
struct RunTraits {
  std::string stack;  ///< preset of models/software
  std::string gpu;
  std::string kernels_of;  ///< GPU whose kernel tables predict it
  std::string precision;   ///< of training
  int year = 0;            ///< of the software
};

/// A measured run as the fits see it: how far its prediction is off, and which way each factor moves it.
struct FactorRow {
  std::string id, source_group;
  std::string family;  ///< equal for runs of one source_group and one set of model dimensions
  std::string kind;    ///< of model: "dense", "moe", "encoder", "lora"
  RunTraits traits;
  /// ln(measured / predicted) with all factors at one: carried back along the slopes from where they were
  /// taken.
  double log_ratio = 0;
  std::array<double, kFactors> slope{};  ///< d ln(predicted) / d ln(factor)
};

/// Which times of which runs: those of a GPU, its kernel tables or a precision alone where one is named, and
/// those of a span of releases. What was learned from releases of some years says nothing of others.
struct FactorTerm {
  Factor factor = Factor::products;
  std::string gpu = {};  ///< empty: any, as below
  int first_year = kAnyYear, last_year = kAnyYear;
  std::string kernels_of = {}, precision = {};
  std::string stack = {};  ///< whose runs it is learned from; empty: those of all stacks

  static constexpr int kAnyYear = 0;
  bool matches(const RunTraits& run) const {
    const auto is = [](const std::string& wanted, const std::string& found) {
      return wanted.empty() || wanted == found;
    };
    return is(gpu, run.gpu) && is(kernels_of, run.kernels_of) && is(precision, run.precision) &&
           is(stack, run.stack) &&
           (first_year == kAnyYear || (first_year <= run.year && run.year <= last_year));
  }
  bool operator==(const FactorTerm&) const = default;
};

/// A term with what was learned of it.
struct FactorEntry {
  FactorTerm term;
  double value = 1.0;
  bool operator==(const FactorEntry&) const = default;
};

struct FactorModel {
  std::vector<FactorEntry> entries;
  /// Of the logarithms of the entries' values, given the rows and the priors.
  std::vector<std::vector<double>> covariance;

  Factors factors_for(const RunTraits& run) const;
};

/// Sizes of the errors that a fit assumes, as standard deviations of logarithms.
struct FactorPriors {
  double noise =
      0.05;  ///< of a run beside its family's: what no factor explains (repeats spread by 2 to 5 %)
  double family = 0.05;  ///< that the runs of a model share; 0: none
  /// Of each factor around one: products and attention within what kernels differ between a benchmark and
  /// training, communication and host time within a factor of 1.5.
  std::array<double, kFactors> factor = {0.10, 0.30, 0.15, 0.15, 0.30, 0.40, 0.40, 0.40, 0.10, 0.40};
};

/// Maximum of the posterior over the logarithms of the factors: with x the slopes of a run, b the logarithms,
///     ln(measured / predicted) = x b + u_family + noise,   b ~ N(0, prior^2), u ~ N(0, family^2)
/// and Huber's loss beyond one standard deviation (iteratively reweighted). The family's own error u is
/// integrated out: it keeps a model with many runs from deciding alone, and is not part of a prediction.
/// Source: linear mixed model (Henderson 1975); values are rounded to four digits.
FactorModel fit_factors(std::span<const FactorRow* const> rows, std::span<const FactorTerm> terms,
                        const FactorPriors& priors = {});

/// Mean of |predicted / measured - 1| over the rows of a stack, each predicted (along the slopes) by a fit of
/// `terms` to the rows of other groups: FactorRow::family or FactorRow::source_group.
double left_out_error(std::span<const FactorRow* const> rows, std::span<const FactorTerm> terms,
                      std::string FactorRow::*group, const std::string& stack = {},
                      const FactorPriors& priors = {});

/// Terms that pay for the runs of one stack, `rows` being those of all. Candidates are each factor for all
/// runs of the stack, for those of each GPU and for those of each year of the software; and each factor of
/// kernels for the runs that one GPU's tables predict, in any or in one precision, whatever stack launches
/// them: how fast a kernel is in training belongs to the chip and not to the stack. All where runs of two
/// families and of two sources show them. From none on, the one that lowers the error of the stack's families
/// left out most is added as long as it does so by a tenth of a percentage point and does not raise the error
/// of its sources left out; at most four. None whose value lies more than one and a
/// half standard deviations of its prior from one (communication: a factor of 1.8): that a collective which
/// measurements time takes twice as long in training says that something else is missing. None where all rows
/// are of one family or source.
std::vector<FactorTerm> choose_terms(std::span<const FactorRow* const> rows, const std::string& stack = {},
                                     const FactorPriors& priors = {});

/// choose_terms, then fit_factors.
FactorModel learn_factors(std::span<const FactorRow* const> rows, const std::string& stack = {},
                          const FactorPriors& priors = {});

}  // namespace orrery
