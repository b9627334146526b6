#include "calibration/stacks/factor_fit.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "calibration/least_squares/least_squares.hpp"

namespace orrery {
namespace {

constexpr int kReweightings = 5;
constexpr double kLeastGain = 0.001;  // of the error, for a term to be shipped
constexpr size_t kMostTerms = 4;
constexpr double kLeastSlope = 0.01;  // of some row, for a factor to be tried
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

/// Rows of each family, by number.
std::vector<std::vector<size_t>> families_of(Rows rows) {
  std::map<std::string, std::vector<size_t>> families;
  for (size_t i = 0; i < rows.size(); ++i) families[rows[i]->family].push_back(i);
  std::vector<std::vector<size_t>> result;
  result.reserve(families.size());
  for (auto& [name, members] : families) result.push_back(std::move(members));
  return result;
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
  Solution solve() const {
    const auto size = static_cast<Eigen::Index>(size_);
    Eigen::MatrixXd normal(size, size);
    Eigen::VectorXd right(size);
    for (Eigen::Index j = 0; j < size; ++j) {
      right(j) = right_[static_cast<size_t>(j)];
      for (Eigen::Index k = 0; k <= j; ++k)
        normal(j, k) = normal(k, j) = matrix_[static_cast<size_t>(j) * size_ + static_cast<size_t>(k)];
    }
    const Eigen::LLT<Eigen::MatrixXd> factored(normal);
    return {factored.solve(right), factored.solve(Eigen::MatrixXd::Identity(size, size))};
  }

 private:
  size_t size_;
  std::vector<double> matrix_;  // its lower half
  std::vector<double> right_;
};

Solution solve(Rows rows, Terms entries, const FactorPriors& priors) {
  const size_t unknowns = entries.size();
  const std::vector<double> design = design_of(rows, entries);
  const auto families = families_of(rows);
  const double usual = 1.0 / (priors.noise * priors.noise);
  std::vector<double> weight(rows.size(), usual);
  std::vector<double> along(unknowns), residual(rows.size());
  Solution solution;
  for (int round = 0; round < kReweightings; ++round) {
    NormalEquations equations(unknowns);
    for (size_t j = 0; j < unknowns; ++j)
      equations.add_prior(j, priors.factor[static_cast<size_t>(entries[j].factor)]);
    for (size_t i = 0; i < rows.size(); ++i)
      equations.add(design.data() + i * unknowns, rows[i]->log_ratio, weight[i]);
    // The family's own error integrated out: less the square of the weighted sums over what holds it.
    std::vector<double> holds(families.size(), 0.0);
    for (size_t f = 0; f < families.size() && priors.family > 0; ++f) {
      std::fill(along.begin(), along.end(), 0.0);
      double along_target = 0.0;
      holds[f] = 1.0 / (priors.family * priors.family);
      for (const size_t i : families[f]) {
        for (size_t j = 0; j < unknowns; ++j) along[j] += weight[i] * design[i * unknowns + j];
        along_target += weight[i] * rows[i]->log_ratio;
        holds[f] += weight[i];
      }
      equations.add(along.data(), along_target, -1.0 / holds[f]);
    }
    solution = equations.solve();
    for (size_t i = 0; i < rows.size(); ++i) {
      residual[i] = rows[i]->log_ratio;
      for (size_t j = 0; j < unknowns; ++j)
        residual[i] -= design[i * unknowns + j] * solution.logs(static_cast<Eigen::Index>(j));
    }
    for (size_t f = 0; f < families.size(); ++f) {
      double own = 0.0;
      for (const size_t i : families[f]) own += holds[f] > 0.0 ? weight[i] * residual[i] / holds[f] : 0.0;
      for (const size_t i : families[f]) {
        const double size = std::abs(residual[i] - own) / priors.noise;
        weight[i] = size <= 1.0 ? usual : usual / size;
      }
    }
  }
  return solution;
}

std::set<std::string> names_of(Rows rows, std::string FactorRow::*group) {
  std::set<std::string> names;
  for (const FactorRow* row : rows) names.insert(row->*group);
  return names;
}

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
std::vector<double> left_out_errors(Rows rows, Terms terms, std::string FactorRow::*group,
                                    const FactorPriors& priors) {
  std::vector<double> errors(rows.size(), 0.0);
  for (const std::string& name : names_of(rows, group)) {
    std::vector<const FactorRow*> others;
    for (const FactorRow* row : rows) {
      if (row->*group != name) others.push_back(row);
    }
    const bool fits = !terms.empty() && !others.empty();
    const Eigen::VectorXd logs = fits ? solve(others, terms, priors).logs : Eigen::VectorXd();
    for (size_t i = 0; i < rows.size(); ++i) {
      if (rows[i]->*group != name) continue;
      double predicted = 0.0;
      for (size_t j = 0; fits && j < terms.size(); ++j) {
        if (terms[j].matches(rows[i]->gpu, rows[i]->year))
          predicted +=
              rows[i]->slope[static_cast<size_t>(terms[j].factor)] * logs(static_cast<Eigen::Index>(j));
      }
      errors[i] = std::abs(std::expm1(predicted - rows[i]->log_ratio));
    }
  }
  return errors;
}

/// Whether a source is predicted worse by what the others teach than it was before.
bool contradicted(Rows rows, const std::vector<double>& before, const std::vector<double>& then) {
  std::map<std::string, double> rise;
  for (size_t i = 0; i < rows.size(); ++i) rise[rows[i]->source_group] += then[i] - before[i];
  return std::any_of(rise.begin(), rise.end(), [](const auto& source) { return source.second > 0.0; });
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
  const Solution solution = solve(rows, terms, priors);
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
  double sum = 0.0;
  for (const double error : left_out_errors(rows, terms, group, priors)) sum += error;
  return rows.empty() ? 0.0 : sum / static_cast<double>(rows.size());
}

std::vector<FactorTerm> choose_terms(Rows rows, const FactorPriors& priors) {
  std::vector<FactorTerm> chosen;
  const std::vector<FactorTerm> possible = possible_terms(rows);
  if (possible.empty()) return chosen;
  double best = left_out_error(rows, chosen, &FactorRow::family, priors);
  std::vector<double> of_sources = left_out_errors(rows, chosen, &FactorRow::source_group, priors);
  while (chosen.size() < kMostTerms) {
    std::vector<std::pair<double, size_t>> tried;
    std::vector<FactorTerm> next = chosen;
    next.emplace_back();
    for (size_t i = 0; i < possible.size(); ++i) {
      if (std::find(chosen.begin(), chosen.end(), possible[i]) != chosen.end()) continue;
      next.back() = possible[i];
      tried.emplace_back(left_out_error(rows, next, &FactorRow::family, priors), i);
    }
    std::sort(tried.begin(), tried.end());
    bool added = false;
    for (const auto& [error, i] : tried) {
      if (error > best - kLeastGain) break;
      next.back() = possible[i];
      std::vector<double> then = left_out_errors(rows, next, &FactorRow::source_group, priors);
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
