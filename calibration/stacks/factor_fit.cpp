#include "calibration/stacks/factor_fit.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <string_view>

#include "calibration/least_squares/least_squares.hpp"

namespace orrery {
namespace {

constexpr int kReweightings = 5;
constexpr double kLeastGain = 0.001;  // of the error, for a term to be shipped
constexpr size_t kMostTerms = 4;
constexpr double kMostDeviations = 1.5;  // of its prior, that a shipped value may lie from one
constexpr double kLeastSlope = 0.01;     // of some row, for a factor to be tried
constexpr int kDigits = 4;
using Rows = std::span<const FactorRow* const>;
using Terms = std::span<const FactorTerm>;

/// Slopes by row and term, row after row.
std::vector<double> design_of(Rows rows, Terms entries) {
  std::vector<double> design(rows.size() * entries.size(), 0.0);
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = 0; j < entries.size(); ++j) {
      if (!entries[j].matches(rows[i]->gpu, rows[i]->year)) continue;
      design[i * entries.size() + j] = rows[i]->slope[static_cast<size_t>(entries[j].factor)];
    }
  }
  return design;
}

/// Groups of rows by number, in the order of their names.
struct Groups {
  std::vector<size_t> of_row;
  size_t count = 0;
};

Groups groups_of(Rows rows, std::string FactorRow::*group) {
  std::map<std::string_view, size_t> numbers;
  for (const FactorRow* row : rows) numbers.emplace(row->*group, 0);
  Groups groups;
  for (auto& [name, number] : numbers) number = groups.count++;
  groups.of_row.reserve(rows.size());
  for (const FactorRow* row : rows) groups.of_row.push_back(numbers.at(row->*group));
  return groups;
}

struct Solution {
  Eigen::VectorXd logs;
  Eigen::MatrixXd covariance;
};

/// The normal equations of one reweighting. Plain loops: a choice of terms solves a hundred thousand of
/// these.
class NormalEquations {
 public:
  explicit NormalEquations(size_t unknowns)
      : size_(unknowns), matrix_(unknowns * unknowns), right_(unknowns) {}

  void add_prior(size_t unknown, double deviation) {
    matrix_[unknown * size_ + unknown] += 1.0 / (deviation * deviation);
  }
  /// Adds weight times the square of (target - row b).
  void add(const double* row, double target, double weight) {
    for (size_t j = 0; j < size_; ++j) {
      if (row[j] == 0.0) continue;
      const double weighted = weight * row[j];
      for (size_t k = 0; k <= j; ++k) matrix_[j * size_ + k] += weighted * row[k];
      right_[j] += weighted * target;
    }
  }
  Solution solve(bool with_covariance) const {
    const auto size = static_cast<Eigen::Index>(size_);
    Eigen::MatrixXd normal(size, size);
    Eigen::VectorXd right(size);
    for (Eigen::Index j = 0; j < size; ++j) {
      right(j) = right_[static_cast<size_t>(j)];
      for (Eigen::Index k = 0; k <= j; ++k)
        normal(j, k) = normal(k, j) = matrix_[static_cast<size_t>(j) * size_ + static_cast<size_t>(k)];
    }
    const Eigen::LLT<Eigen::MatrixXd> factored(normal);
    Solution solution{factored.solve(right), {}};
    if (with_covariance) solution.covariance = factored.solve(Eigen::MatrixXd::Identity(size, size));
    return solution;
  }

 private:
  size_t size_;
  std::vector<double> matrix_;  // its lower half
  std::vector<double> right_;
};

/// Fits of the same terms to these or those of some rows.
class TermFits {
 public:
  TermFits(Rows rows, Terms entries, const Groups& families, const FactorPriors& priors)
      : rows_(rows),
        entries_(entries),
        priors_(priors),
        families_(families),
        unknowns_(entries.size()),
        design_(design_of(rows, entries)),
        moves_(families.count, 0) {
    for (size_t i = 0; i < rows.size(); ++i) {
      for (size_t j = 0; j < unknowns_; ++j) {
        if (design_[i * unknowns_ + j] != 0.0) moves_[families_.of_row[i]] = 1;
      }
    }
  }

  /// Whether the terms move a row's family: no other tells anything of them.
  bool counts(size_t row) const { return moves_[families_.of_row[row]] != 0; }

  /// @param used  rows to fit to, rising; those that do not count change nothing
  Solution solve(const std::vector<size_t>& used, bool with_covariance) const {
    const double usual = 1.0 / (priors_.noise * priors_.noise);
    std::vector<double> weight(rows_.size(), usual), residual(rows_.size());
    std::vector<double> along(families_.count * unknowns_), along_target(families_.count);
    std::vector<double> holds(families_.count), own(families_.count);
    Solution solution;
    for (int round = 0; round < kReweightings; ++round) {
      NormalEquations equations(unknowns_);
      for (size_t j = 0; j < unknowns_; ++j)
        equations.add_prior(j, priors_.factor[static_cast<size_t>(entries_[j].factor)]);
      for (const size_t i : used) equations.add(slopes(i), rows_[i]->log_ratio, weight[i]);
      // The family's own error integrated out: less the square of the weighted sums over what holds it.
      if (priors_.family > 0) {
        std::fill(along.begin(), along.end(), 0.0);
        std::fill(along_target.begin(), along_target.end(), 0.0);
        std::fill(holds.begin(), holds.end(), 1.0 / (priors_.family * priors_.family));
        for (const size_t i : used) {
          const size_t family = families_.of_row[i];
          for (size_t j = 0; j < unknowns_; ++j) along[family * unknowns_ + j] += weight[i] * slopes(i)[j];
          along_target[family] += weight[i] * rows_[i]->log_ratio;
          holds[family] += weight[i];
        }
        for (size_t f = 0; f < families_.count; ++f)
          equations.add(along.data() + f * unknowns_, along_target[f], -1.0 / holds[f]);
      }
      const bool last = round + 1 == kReweightings;
      solution = equations.solve(with_covariance && last);
      if (last) break;
      std::fill(own.begin(), own.end(), 0.0);
      for (const size_t i : used) {
        residual[i] = rows_[i]->log_ratio;
        for (size_t j = 0; j < unknowns_; ++j)
          residual[i] -= slopes(i)[j] * solution.logs(static_cast<Eigen::Index>(j));
        const size_t family = families_.of_row[i];
        own[family] += holds[family] > 0.0 ? weight[i] * residual[i] / holds[family] : 0.0;
      }
      for (const size_t i : used) {
        const double size = std::abs(residual[i] - own[families_.of_row[i]]) / priors_.noise;
        weight[i] = size <= 1.0 ? usual : usual / size;
      }
    }
    return solution;
  }

  double predicted(size_t row, const Eigen::VectorXd& logs) const {
    double result = 0.0;
    for (size_t j = 0; j < unknowns_; ++j) result += slopes(row)[j] * logs(static_cast<Eigen::Index>(j));
    return result;
  }

 private:
  const double* slopes(size_t row) const { return design_.data() + row * unknowns_; }

  Rows rows_;
  Terms entries_;
  const FactorPriors& priors_;
  const Groups& families_;
  size_t unknowns_;
  std::vector<double> design_;
  std::vector<char> moves_;  // by family
};

/// Who shows a term.
struct Shown {
  std::set<std::string> families, sources;

  void add(const FactorRow& row) {
    families.insert(row.family);
    sources.insert(row.source_group);
  }
  /// Two models, or their own errors pass for the software's; two sources, or their machines do.
  bool tells() const { return families.size() > 1 && sources.size() > 1; }
};

/// Terms that could move these rows: a factor of some weight, runs that can tell it.
std::vector<FactorTerm> possible_terms(Rows rows) {
  Shown all;
  std::map<std::string, Shown> gpus;
  std::map<int, Shown> years;
  std::array<double, kFactors> most{};
  for (const FactorRow* row : rows) {
    all.add(*row);
    gpus[row->gpu].add(*row);
    years[row->year].add(*row);
    for (size_t f = 0; f < most.size(); ++f) most[f] = std::max(most[f], std::abs(row->slope[f]));
  }
  std::vector<FactorTerm> terms;
  if (!all.tells()) return terms;
  const int first = years.begin()->first, last = years.rbegin()->first;
  for (int number = 0; number < kFactors; ++number) {
    if (most[static_cast<size_t>(number)] < kLeastSlope) continue;
    const auto factor = static_cast<Factor>(number);
    terms.push_back({factor, "", first, last});
    for (const auto& [gpu, shown] : gpus) {
      if (gpus.size() > 1 && shown.tells()) terms.push_back({factor, gpu, first, last});
    }
    for (const auto& [year, shown] : years) {
      if (years.size() > 1 && shown.tells()) terms.push_back({factor, "", year, year});
    }
  }
  return terms;
}

/// |predicted / measured - 1| of each row, predicted (along the slopes) by a fit to the rows of other groups.
std::vector<double> left_out_errors(Rows rows, Terms terms, const Groups& groups, const Groups& families,
                                    const FactorPriors& priors) {
  std::vector<double> errors(rows.size(), 0.0);
  const TermFits fits(rows, terms, families, priors);
  std::vector<size_t> counting;  // rows
  std::vector<std::vector<size_t>> members(groups.count);
  std::vector<char> counts(groups.count, 0);  // whether one of a group's rows does
  for (size_t i = 0; i < rows.size(); ++i) {
    members[groups.of_row[i]].push_back(i);
    if (terms.empty() || !fits.counts(i)) continue;
    counting.push_back(i);
    counts[groups.of_row[i]] = 1;
  }
  std::optional<Eigen::VectorXd> of_all;  // without a group that tells nothing
  std::vector<size_t> others;
  for (size_t group = 0; group < groups.count; ++group) {
    Eigen::VectorXd logs;
    const bool fitted = !terms.empty() && members[group].size() < rows.size();
    if (fitted && counts[group] == 0) {
      if (!of_all) of_all = fits.solve(counting, false).logs;
      logs = *of_all;
    } else if (fitted) {
      others.clear();
      for (const size_t i : counting) {
        if (groups.of_row[i] != group) others.push_back(i);
      }
      logs = fits.solve(others, false).logs;
    }
    for (const size_t i : members[group]) {
      errors[i] = std::abs(std::expm1((fitted ? fits.predicted(i, logs) : 0.0) - rows[i]->log_ratio));
    }
  }
  return errors;
}

double mean_of(const std::vector<double>& errors) {
  double sum = 0.0;
  for (const double error : errors) sum += error;
  return errors.empty() ? 0.0 : sum / static_cast<double>(errors.size());
}

/// Whether a source is predicted worse by what the others teach than it was before.
bool contradicted(Rows rows, const std::vector<double>& before, const std::vector<double>& then) {
  std::map<std::string, double> rise;
  for (size_t i = 0; i < rows.size(); ++i) rise[rows[i]->source_group] += then[i] - before[i];
  return std::any_of(rise.begin(), rise.end(), [](const auto& source) { return source.second > 0.0; });
}

/// Whether a value is one that the prior hardly holds possible: then it stands in for something else.
bool beyond_belief(Rows rows, Terms terms, const FactorPriors& priors) {
  const FactorModel model = fit_factors(rows, terms, priors);
  return std::any_of(model.entries.begin(), model.entries.end(), [&priors](const FactorEntry& entry) {
    const double prior = priors.factor[static_cast<size_t>(entry.term.factor)];
    return std::abs(std::log(entry.value)) > kMostDeviations * prior;
  });
}

}  // namespace

Factors FactorModel::factors_for(const std::string& gpu, int year) const {
  Factors factors;
  for (const FactorEntry& entry : entries) {
    if (entry.term.matches(gpu, year)) factors[entry.term.factor] *= entry.value;
  }
  return factors;
}

FactorModel fit_factors(Rows rows, Terms terms, const FactorPriors& priors) {
  FactorModel model;
  if (rows.empty() || terms.empty()) return model;
  const Groups families = groups_of(rows, &FactorRow::family);
  std::vector<size_t> all(rows.size());
  std::iota(all.begin(), all.end(), size_t{0});
  const Solution solution = TermFits(rows, terms, families, priors).solve(all, true);
  model.covariance.assign(terms.size(), {});
  for (size_t j = 0; j < terms.size(); ++j) {
    const auto at = static_cast<Eigen::Index>(j);
    model.entries.push_back({terms[j], rounded(std::exp(solution.logs(at)), kDigits)});
    for (size_t k = 0; k < terms.size(); ++k) {
      model.covariance[j].push_back(rounded(solution.covariance(at, static_cast<Eigen::Index>(k)), kDigits));
    }
  }
  return model;
}

double left_out_error(Rows rows, Terms terms, std::string FactorRow::*group, const FactorPriors& priors) {
  const Groups families = groups_of(rows, &FactorRow::family);
  return mean_of(left_out_errors(rows, terms, groups_of(rows, group), families, priors));
}

std::vector<FactorTerm> choose_terms(Rows rows, const FactorPriors& priors) {
  std::vector<FactorTerm> chosen;
  const std::vector<FactorTerm> possible = possible_terms(rows);
  if (possible.empty()) return chosen;
  const Groups families = groups_of(rows, &FactorRow::family);
  const Groups sources = groups_of(rows, &FactorRow::source_group);
  double best = mean_of(left_out_errors(rows, chosen, families, families, priors));
  std::vector<double> of_sources = left_out_errors(rows, chosen, sources, families, priors);
  while (chosen.size() < kMostTerms) {
    std::vector<std::pair<double, size_t>> tried;
    std::vector<FactorTerm> next = chosen;
    next.emplace_back();
    for (size_t i = 0; i < possible.size(); ++i) {
      if (std::find(chosen.begin(), chosen.end(), possible[i]) != chosen.end()) continue;
      next.back() = possible[i];
      tried.emplace_back(mean_of(left_out_errors(rows, next, families, families, priors)), i);
    }
    std::sort(tried.begin(), tried.end());
    bool added = false;
    for (const auto& [error, i] : tried) {
      if (error > best - kLeastGain) break;
      next.back() = possible[i];
      if (beyond_belief(rows, next, priors)) continue;
      std::vector<double> then = left_out_errors(rows, next, sources, families, priors);
      if (contradicted(rows, of_sources, then)) continue;
      chosen = next;
      best = error;
      of_sources = std::move(then);
      added = true;
      break;
    }
    if (!added) break;
  }
  return chosen;
}

FactorModel learn_factors(Rows rows, const FactorPriors& priors) {
  return fit_factors(rows, choose_terms(rows, priors), priors);
}

}  // namespace orrery
