#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "sim/cost/factors.hpp"

namespace orrery {

/// A measured run as the fits see it: how far its prediction is off, and which way each factor moves it.
struct FactorRow {
  std::string id, source_group;
  std::string family;     ///< equal for runs of one source_group and one set of model dimensions
  std::string gpu, kind;  ///< kind of model: "dense", "moe", "encoder", "lora"
  int year = 0;           ///< of the software
  /// ln(measured / predicted) with all factors at one: carried back along the slopes from where they were
  /// taken.
  double log_ratio = 0;
  std::array<double, kFactors> slope{};  ///< d ln(predicted) / d ln(factor)
};

/// Which times of which runs: a GPU's alone where one is named, and those of a span of releases. What was
/// learned from releases of some years says nothing of others.
struct FactorTerm {
  Factor factor = Factor::products;
  std::string gpu = {};  ///< empty: any
  int first_year = kAnyYear, last_year = kAnyYear;

  static constexpr int kAnyYear = 0;
  bool matches(const std::string& of_gpu, int of_year) const {
    return (gpu.empty() || gpu == of_gpu) &&
           (first_year == kAnyYear || (first_year <= of_year && of_year <= last_year));
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

  Factors factors_for(const std::string& gpu, int year) const;
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

/// Mean of |predicted / measured - 1| over the rows, each predicted (along the slopes) by a fit of `terms` to
/// the rows of other groups: FactorRow::family or FactorRow::source_group.
double left_out_error(std::span<const FactorRow* const> rows, std::span<const FactorTerm> terms,
                      std::string FactorRow::*group, const FactorPriors& priors = {});

/// Terms that pay. Candidates are each factor for all runs, for those of each GPU and for those of each year
/// of the software, where runs of two families and of two sources show them. From none on, the one that
/// lowers the error of families left out most is added as long as it does so by a tenth of a percentage point
/// and does not raise the error of sources left out; at most four. None whose value lies more than one and a
/// half standard deviations of its prior from one (communication: a factor of 1.8): that a collective which
/// measurements time takes twice as long in training says that something else is missing. None where all rows
/// are of one family or source.
std::vector<FactorTerm> choose_terms(std::span<const FactorRow* const> rows, const FactorPriors& priors = {});

/// choose_terms, then fit_factors.
FactorModel learn_factors(std::span<const FactorRow* const> rows, const FactorPriors& priors = {});

}  // namespace orrery
