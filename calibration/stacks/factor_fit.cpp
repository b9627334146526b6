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
constexpr std::array kOfKernels = {Factor::products, Factor::grouped_products, Factor::attention,
                                   Factor::memory};
using Rows = std::span<const FactorRow* const>;
using Terms = std::span<const FactorTerm>;

/// Slopes by row and term, row after row.
std::vector<double> design_of(Rows rows, Terms entries) {
  std::vector<double> design(rows.size() * entries.size(), 0.0);
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = 0; j < entries.size(); ++j) {
      if (!entries[j].matches(rows[i]->traits)) continue;
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

/// Terms of a stack's own runs: a factor of some weight, runs that can tell it.
void add_own_terms(Rows rows, const std::string& stack, std::vector<FactorTerm>& terms) {
  Shown all;
  std::map<std::string, Shown> gpus;
  std::map<int, Shown> years;
  std::array<double, kFactors> most{};
  for (const FactorRow* row : rows) {
    if (row->traits.stack != stack) continue;
    all.add(*row);
    gpus[row->traits.gpu].add(*row);
    years[row->traits.year].add(*row);
    for (size_t f = 0; f < most.size(); ++f) most[f] = std::max(most[f], std::abs(row->slope[f]));
  }
  if (!all.tells()) return;
  const int first = years.begin()->first, last = years.rbegin()->first;
  for (int number = 0; number < kFactors; ++number) {
    if (most[static_cast<size_t>(number)] < kLeastSlope) continue;
    const FactorTerm term = {
        .factor = static_cast<Factor>(number), .first_year = first, .last_year = last, .stack = stack};
    terms.push_back(term);
    for (const auto& [gpu, shown] : gpus) {
      if (gpus.size() == 1 || !shown.tells()) continue;
      terms.push_back(term);
      terms.back().gpu = gpu;
    }
    for (const auto& [year, shown] : years) {
      if (years.size() == 1 || !shown.tells()) continue;
      terms.push_back(term);
      terms.back().first_year = terms.back().last_year = year;
    }
  }
}

/// Terms of a chip's kernels that move some run of the stack, learned from the runs of all stacks.
void add_kernel_terms(Rows rows, const std::string& stack, std::vector<FactorTerm>& terms) {
  struct Seen {
    Shown shown;
    std::set<int> years;
    std::set<std::string> stacks;
  };
  for (const Factor factor : kOfKernels) {
    std::map<std::pair<std::string, std::string>, Seen> tables;  // by GPU and precision, empty: any
    for (const FactorRow* row : rows) {
      const RunTraits& run = row->traits;
      if (run.kernels_of.empty() || std::abs(row->slope[static_cast<size_t>(factor)]) < kLeastSlope) continue;
      for (const std::string& precision : {std::string(), run.precision}) {
        Seen& seen = tables[{run.kernels_of, precision}];
        seen.shown.add(*row);
        seen.years.insert(run.year);
        seen.stacks.insert(run.stack);
      }
    }
    for (const auto& [table, seen] : tables) {
      if (!seen.shown.tells() || seen.stacks.count(stack) == 0) continue;
      terms.push_back({.factor = factor,
                       .first_year = *seen.years.begin(),
                       .last_year = *seen.years.rbegin(),
                       .kernels_of = table.first,
                       .precision = table.second});
    }
  }
}

/// |predicted / measured - 1| of each of a stack's rows, predicted (along the slopes) by a fit to the rows of
/// other groups. Zero for those of other stacks.
std::vector<double> left_out_errors(Rows rows, const std::string& stack, Terms terms, const Groups& groups,
                                    const Groups& families, const FactorPriors& priors) {
  std::vector<double> errors(rows.size(), 0.0);
  const TermFits fits(rows, terms, families, priors);
  std::vector<size_t> counting;                            // rows
  std::vector<std::vector<size_t>> members(groups.count);  // rows of the stack
  std::vector<char> counts(groups.count, 0);               // whether one of a group's rows does
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i]->traits.stack == stack) members[groups.of_row[i]].push_back(i);
    if (terms.empty() || !fits.counts(i)) continue;
    counting.push_back(i);
    counts[groups.of_row[i]] = 1;
  }
  std::optional<Eigen::VectorXd> of_all;  // without a group that tells nothing
  std::vector<size_t> others;
  for (size_t group = 0; group < groups.count; ++group) {
    if (members[group].empty()) continue;
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

/// Mean over the stack's rows of what left_out_errors gave.
double mean_of(Rows rows, const std::string& stack, const std::vector<double>& errors) {
  double sum = 0.0;
  int count = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i]->traits.stack != stack) continue;
    sum += errors[i];
    ++count;
  }
  return count == 0 ? 0.0 : sum / count;
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

Factors FactorModel::factors_for(const RunTraits& run) const {
  Factors factors;
  for (const FactorEntry& entry : entries) {
    if (entry.term.matches(run)) factors[entry.term.factor] *= entry.value;
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

double left_out_error(Rows rows, Terms terms, std::string FactorRow::*group, const std::string& stack,
                      const FactorPriors& priors) {
  const Groups families = groups_of(rows, &FactorRow::family);
  const Groups groups = groups_of(rows, group);
  return mean_of(rows, stack, left_out_errors(rows, stack, terms, groups, families, priors));
}

std::vector<FactorTerm> choose_terms(Rows rows, const std::string& stack, const FactorPriors& priors) {
  std::vector<FactorTerm> chosen, possible;
  add_own_terms(rows, stack, possible);
  add_kernel_terms(rows, stack, possible);
  if (possible.empty()) return chosen;
  const Groups families = groups_of(rows, &FactorRow::family);
  const Groups sources = groups_of(rows, &FactorRow::source_group);
  const auto errors = [&](Terms terms, const Groups& groups) {
    return left_out_errors(rows, stack, terms, groups, families, priors);
  };
  double best = mean_of(rows, stack, errors(chosen, families));
  std::vector<double> of_sources = errors(chosen, sources);
  while (chosen.size() < kMostTerms) {
    std::vector<std::pair<double, size_t>> tried;
    std::vector<FactorTerm> next = chosen;
    next.emplace_back();
    for (size_t i = 0; i < possible.size(); ++i) {
      if (std::find(chosen.begin(), chosen.end(), possible[i]) != chosen.end()) continue;
      next.back() = possible[i];
      tried.emplace_back(mean_of(rows, stack, errors(next, families)), i);
    }
    std::sort(tried.begin(), tried.end());
    bool added = false;
    for (const auto& [error, i] : tried) {
      if (error > best - kLeastGain) break;
      next.back() = possible[i];
      if (beyond_belief(rows, next, priors)) continue;
      std::vector<double> then = errors(next, sources);
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

FactorModel learn_factors(Rows rows, const std::string& stack, const FactorPriors& priors) {
  return fit_factors(rows, choose_terms(rows, stack, priors), priors);
}

}  // namespace orrery
