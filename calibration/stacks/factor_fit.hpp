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
  int nodes = 1;           ///< that its data groups span
};

/// What a factor has one value for each of.
enum class FactorGrouping {
  chip,                ///< whose kernel tables predict a run
  chip_and_precision,  ///< the same by the precision of training
  stack,               ///< that trains it
};

/// By what causes each: products have a table, and a power to run at, for each chip and precision; other
/// kernels and collectives inside a node are the chip's and its links'; what the host does, and how
/// gradients, tokens and activations are sent, is the stack's code.
FactorGrouping grouping_of(Factor factor);

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

/// Which times of which runs: those of a chip's kernel tables, a precision or a stack alone where one is
/// named, and those of a span of releases. What was learned from releases of some years says nothing of
/// others.
struct FactorTerm {
  Factor factor = Factor::products;
  int first_year = kAnyYear, last_year = kAnyYear;
  std::string kernels_of = {}, precision = {}, stack = {};  ///< empty: any
  int most_nodes = 0;  ///< of the data groups of the runs that teach `data_per_doubling` (Factors::Growth)

  static constexpr int kAnyYear = 0;
  bool matches(const RunTraits& run) const {
    const auto is = [](const std::string& wanted, const std::string& found) {
      return wanted.empty() || wanted == found;
    };
    return is(kernels_of, run.kernels_of) && is(precision, run.precision) && is(stack, run.stack) &&
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
  /// Nodes of data groups up to which the runs went that taught how much more these take on more; 0: nothing
  /// was learned of that.
  int most_nodes_for(const RunTraits& run) const;
  /// Standard deviation of ln of how many times as long a run's communication of a kind takes (that of data
  /// groups with its growth over their nodes): what the covariance leaves; on more nodes than the runs that
  /// taught it had, also the growth that then is left out, one-sided as it is, and all that was learned. 0
  /// without a covariance, and where nothing was learned of the kind.
  double communication_deviation(const RunTraits& run, Factor kind) const;
};

/// Sizes of the errors that a fit assumes, as standard deviations of logarithms.
struct FactorPriors {
  double noise =
      0.05;  ///< of a run beside its family's: what no factor explains (repeats spread by 2 to 5 %)
  double family = 0.05;  ///< that the runs of a model share; 0: none
  /// That the runs of a source share, its machines' own; 0: none. Submitters of one configuration in one
  /// round of MLPerf spread by 2 %.
  double source = 0.02;
  /// Of each factor around one (assumed): products within what kernels differ between a benchmark and
  /// training, communication and host time within a fifth.
  std::array<double, kFactors> factor = {0.10, 0.15, 0.075, 0.075, 0.15, 0.20, 0.20, 0.20, 0.10, 0.20};
  /// Communication is not below one: it was measured with nothing beside it.
  bool bounded = true;

  /// For a few runs of one place. What they share is what is asked for, so that no family's or source's own
  /// error is taken out; and one place may be further from what was measured than a chip or a stack is.
  static FactorPriors of_a_site() {
    return {.noise = 0.03,
            .family = 0.0,
            .source = 0.0,
            .factor = {0.10, 0.30, 0.15, 0.15, 0.30, 0.40, 0.40, 0.40, 0.10, 0.40},
            .bounded = false};
  }
};

/// The terms of some factors: one for each group of runs (grouping_of) that the factor moves, in the order of
/// factors and groups; a stack's for the years of those runs, two chips of one year being compared alike.
std::vector<FactorTerm> terms_of(std::span<const FactorRow* const> rows, std::span<const Factor> factors);

/// Maximum of the posterior over the logarithms of the factors: with x the slopes of a run, b the logarithms,
///     ln(measured / predicted) = x b + u_family + v_source + noise,
///     b ~ N(0, prior^2), u ~ N(0, family^2), v ~ N(0, source^2)
/// b of communication not below 0, and Huber's loss beyond one standard deviation (iteratively reweighted).
/// What families and sources share of their own keeps a model or a cluster with many runs from deciding
/// alone, and is not part of a prediction. Source: linear mixed model with random slopes (Henderson 1975;
/// Laird and Ware 1982); values are rounded to four digits.
FactorModel fit_factors(std::span<const FactorRow* const> rows, std::span<const FactorTerm> terms,
                        const FactorPriors& priors = {});

/// Mean of |predicted / measured - 1| over the rows, each predicted (along the slopes) by a fit of `terms` to
/// the rows of other families, with Huber's weights of the fit to all.
double left_out_error(std::span<const FactorRow* const> rows, std::span<const FactorTerm> terms,
                      const FactorPriors& priors = {});

/// Factors that pay: from none on, the one that lowers the error of families left out most is added as long
/// as it does so by a tenth of a percentage point; those of communication together. None where all rows are
/// of one family.
std::vector<Factor> choose_factors(std::span<const FactorRow* const> rows, const FactorPriors& priors = {});

/// choose_factors, terms_of, fit_factors.
FactorModel learn_factors(std::span<const FactorRow* const> rows, const FactorPriors& priors = {});

}  // namespace orrery
