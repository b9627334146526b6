#include "calibration/stacks/factor_fit.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "calibration/least_squares/least_squares.hpp"

namespace orrery {
namespace {

constexpr int kReweightings = 5;
constexpr double kLeastGain = 0.001;  // of the error, for a factor to be taken in
constexpr double kLeastSlope = 0.01;  // of some run, for a factor to be learned from its group
constexpr int kDigits = 4;
constexpr double kPinned = 1e12;  // inverse of a variance that leaves nothing but zero
using Rows = std::span<const FactorRow* const>;
using Terms = std::span<const FactorTerm>;

/// Measured with nothing beside it: in training none is faster.
constexpr std::array kCommunication = {Factor::tensor_communication, Factor::expert_communication,
                                       Factor::data_communication, Factor::data_per_doubling,
                                       Factor::pipeline_communication};
bool is_communication(Factor factor) {
  return std::find(kCommunication.begin(), kCommunication.end(), factor) != kCommunication.end();
}

/// Factors that are taken in together: all of communication, which shares what an idle machine does not
/// show (other traffic, ranks that wait for one another); any other by itself.
std::vector<std::vector<Factor>> causes() {
  std::vector<std::vector<Factor>> all;
  for (int number = 0; number < kFactors; ++number) {
    const auto factor = static_cast<Factor>(number);
    if (!is_communication(factor)) all.push_back({factor});
  }
  all.emplace_back(kCommunication.begin(), kCommunication.end());
  return all;
}

/// Groups of rows by number, in the order of their names.
struct Groups {
  std::vector<size_t> of_row;
  std::vector<std::vector<size_t>> members;
};

Groups groups_of(Rows rows, std::string FactorRow::*group) {
  std::map<std::string_view, size_t> numbers;
  for (const FactorRow* row : rows) numbers.emplace(row->*group, 0);
  Groups groups;
  for (auto& [name, number] : numbers) {
    number = groups.members.size();
    groups.members.emplace_back();
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    groups.of_row.push_back(numbers.at(rows[i]->*group));
    groups.members[groups.of_row.back()].push_back(i);
  }
  return groups;
}

struct Solution {
  Eigen::VectorXd unknowns;  ///< logarithms of the terms' values, then the sources' own errors
  Eigen::MatrixXd covariance;
};

/// A linear mixed model of rows (fit_factors): terms and sources are its unknowns, families are integrated
/// out.
class MixedModel {
 public:
  MixedModel(Rows rows, Terms terms, const FactorPriors& priors)
      : rows_(rows),
        priors_(priors),
        terms_(terms.size()),
        families_(groups_of(rows, &FactorRow::family)),
        usual_(1.0 / (priors.noise * priors.noise)) {
    const Groups sources = groups_of(rows, &FactorRow::source_group);
    size_ = terms_ + (priors.source > 0.0 ? sources.members.size() : 0);
    for (size_t i = 0; i < rows.size(); ++i) {
      std::vector<Slope>& slopes = slopes_.emplace_back();
      for (size_t j = 0; j < terms_; ++j) {
        const double slope = rows[i]->slope[static_cast<size_t>(terms[j].factor)];
        if (slope != 0.0 && terms[j].matches(rows[i]->traits)) slopes.push_back({j, slope});
      }
      if (priors.source > 0.0) slopes.push_back({terms_ + sources.of_row[i], 1.0});
    }
    for (const FactorTerm& term : terms) {
      deviations_.push_back(priors.factor[static_cast<size_t>(term.factor)]);
      bounded_.push_back(priors.bounded && is_communication(term.factor) ? 1 : 0);
    }
    deviations_.resize(size_, priors.source);
  }

  Solution solve() {
    Equations last = reweighted();
    Eigen::MatrixXd covariance = last.covariance();  // before a value at its bound is pinned there
    return {solved(last), std::move(covariance)};
  }

  /// predicted / measured - 1 of each row, predicted by the equations without its family.
  std::vector<double> left_out_errors() {
    const Equations all = reweighted();
    std::vector<double> errors(rows_.size());
    for (size_t family = 0; family < families_.members.size(); ++family) {
      Equations others = all;
      add(family, -1.0, others);
      const Eigen::VectorXd logs = solved(others);
      for (const size_t i : families_.members[family])
        errors[i] = std::expm1(along(i, logs, terms_) - rows_[i]->log_ratio);
    }
    return errors;
  }

 private:
  struct Slope {
    size_t unknown;
    double value;
  };
  /// Normal equations; of the matrix its lower half.
  struct Equations {
    Eigen::MatrixXd matrix;
    Eigen::VectorXd right;

    Eigen::LLT<Eigen::MatrixXd> factored() const {
      return Eigen::LLT<Eigen::MatrixXd>(matrix.selfadjointView<Eigen::Lower>());
    }
    Eigen::VectorXd unknowns() const { return factored().solve(right); }
    Eigen::MatrixXd covariance() const {
      return factored().solve(Eigen::MatrixXd::Identity(matrix.rows(), matrix.cols()));
    }
  };

  Equations reweighted() {
    weights_.assign(rows_.size(), usual_);
    for (int round = 1; round < kReweightings; ++round) {
      Equations now = equations();
      reweight(solved(now));
    }
    return equations();
  }

  /// The unknowns, bounded ones that would fall below zero (factors below one) pinned there, one set after
  /// the other.
  Eigen::VectorXd solved(Equations& equations) const {
    while (true) {
      Eigen::VectorXd unknowns = equations.unknowns();
      bool below = false;
      for (size_t j = 0; j < terms_; ++j) {
        const auto at = static_cast<Eigen::Index>(j);
        if (bounded_[j] == 0 || unknowns(at) >= 0.0 || equations.matrix(at, at) >= kPinned) continue;
        equations.matrix(at, at) += kPinned;
        below = true;
      }
      if (!below) return unknowns;
    }
  }

  Equations equations() const {
    const auto size = static_cast<Eigen::Index>(size_);
    Equations result{Eigen::MatrixXd::Zero(size, size), Eigen::VectorXd::Zero(size)};
    for (Eigen::Index j = 0; j < size; ++j) {
      const double deviation = deviations_[static_cast<size_t>(j)];
      result.matrix(j, j) = 1.0 / (deviation * deviation);
    }
    for (size_t family = 0; family < families_.members.size(); ++family) add(family, 1.0, result);
    return result;
  }

  /// Adds (sign 1) or takes away (-1) the rows of a family, its own error integrated out: less the square of
  /// their weighted sums over what holds that error.
  void add(size_t family, double sign, Equations& equations) const {
    std::map<size_t, double> sums;
    double target = 0.0, holds = family_hold();
    const auto add_square = [&equations](const auto& slopes, double target_of, double weight) {
      for (const auto& [j, x] : slopes) {
        const auto at = static_cast<Eigen::Index>(j);
        for (const auto& [k, z] : slopes) {
          if (k > j) break;
          equations.matrix(at, static_cast<Eigen::Index>(k)) += weight * x * z;
        }
        equations.right(at) += weight * x * target_of;
      }
    };
    for (const size_t i : families_.members[family]) {
      const double weight = weights_[i];
      add_square(slopes_[i], rows_[i]->log_ratio, sign * weight);
      for (const Slope& slope : slopes_[i]) sums[slope.unknown] += weight * slope.value;
      target += weight * rows_[i]->log_ratio;
      holds += weight;
    }
    if (priors_.family > 0.0) add_square(sums, target, -sign / holds);
  }

  double family_hold() const { return priors_.family > 0.0 ? 1.0 / (priors_.family * priors_.family) : 0.0; }

  /// What the first so many unknowns say of a row.
  double along(size_t row, const Eigen::VectorXd& unknowns, size_t count) const {
    double sum = 0.0;
    for (const Slope& slope : slopes_[row]) {
      if (slope.unknown < count) sum += slope.value * unknowns(static_cast<Eigen::Index>(slope.unknown));
    }
    return sum;
  }

  void reweight(const Eigen::VectorXd& unknowns) {
    for (const std::vector<size_t>& family : families_.members) {
      std::vector<double> residuals;
      double own = 0.0, holds = family_hold();
      for (const size_t i : family) {
        residuals.push_back(rows_[i]->log_ratio - along(i, unknowns, size_));
        own += weights_[i] * residuals.back();
        holds += weights_[i];
      }
      own = priors_.family > 0.0 ? own / holds : 0.0;
      for (size_t m = 0; m < family.size(); ++m) {
        const double size = std::abs(residuals[m] - own) / priors_.noise;
        weights_[family[m]] = size <= 1.0 ? usual_ : usual_ / size;
      }
    }
  }

  Rows rows_;
  const FactorPriors& priors_;
  size_t terms_, size_ = 0;
  Groups families_;
  double usual_;
  std::vector<std::vector<Slope>> slopes_;  // of each row, unknowns rising
  std::vector<double> deviations_;          // of each unknown
  std::vector<char> bounded_;               // of each term
  std::vector<double> weights_;             // of each row
};

}  // namespace

FactorGrouping grouping_of(Factor factor) {
  using enum Factor;
  switch (factor) {
    case products:
      return FactorGrouping::chip_and_precision;
    case grouped_products:
    case attention:
    case memory:
    case tensor_communication:
      return FactorGrouping::chip;
    case host:
    case expert_communication:
    case data_communication:
    case data_per_doubling:
    case pipeline_communication:
      return FactorGrouping::stack;
  }
  return FactorGrouping::stack;
}

Factors FactorModel::factors_for(const RunTraits& run) const {
  Factors factors;
  for (const FactorEntry& entry : entries) {
    if (!entry.term.matches(run)) continue;
    if (entry.term.most_nodes > 0) {
      factors.growths.push_back({entry.value, entry.term.most_nodes});
    } else {
      factors[entry.term.factor] *= entry.value;
    }
  }
  return factors;
}

int FactorModel::most_nodes_for(const RunTraits& run) const {
  int most = 0;
  for (const FactorEntry& entry : entries) {
    if (entry.term.matches(run) && entry.value != 1.0) most = std::max(most, entry.term.most_nodes);
  }
  return most;
}

double FactorModel::communication_deviation(const RunTraits& run, Factor kind) const {
  if (covariance.empty()) return 0.0;
  std::vector<double> weights(entries.size(), 0.0);
  double left_out = 0.0, learned = 0.0;
  bool beyond = false;  // the runs that taught it
  for (size_t j = 0; j < entries.size(); ++j) {
    const FactorTerm& term = entries[j].term;
    if (!term.matches(run)) continue;
    if (term.factor == kind) weights[j] = 1.0;
    if (term.factor != Factor::data_per_doubling || kind != Factor::data_communication) continue;
    const int counted = term.most_nodes > 0 ? std::min(run.nodes, term.most_nodes) : run.nodes;
    weights[j] = std::log2(counted);
    left_out += (std::log2(run.nodes) - weights[j]) * std::log(entries[j].value);
    beyond = beyond || counted < run.nodes;
  }
  for (size_t j = 0; beyond && j < entries.size(); ++j) learned += weights[j] * std::log(entries[j].value);
  double variance = left_out * left_out + learned * learned;
  for (size_t j = 0; j < entries.size(); ++j) {
    for (size_t k = 0; k < entries.size(); ++k) variance += weights[j] * covariance[j][k] * weights[k];
  }
  return std::sqrt(std::max(0.0, variance));
}

std::vector<FactorTerm> terms_of(Rows rows, std::span<const Factor> factors) {
  std::vector<FactorTerm> terms;
  for (const Factor factor : factors) {
    const FactorGrouping grouping = grouping_of(factor);
    std::map<std::pair<std::string, std::string>, std::set<int>> groups;  // and their years
    std::map<std::pair<std::string, std::string>, int> nodes;
    for (const FactorRow* row : rows) {
      const RunTraits& run = row->traits;
      const std::string& name = grouping == FactorGrouping::stack ? run.stack : run.kernels_of;
      if (name.empty() || std::abs(row->slope[static_cast<size_t>(factor)]) < kLeastSlope) continue;
      const bool by_precision = grouping == FactorGrouping::chip_and_precision;
      const std::pair<std::string, std::string> group = {name, by_precision ? run.precision : ""};
      groups[group].insert(run.year);
      nodes[group] = std::max(nodes[group], run.nodes);
    }
    for (const auto& [group, years] : groups) {
      FactorTerm& term = terms.emplace_back();
      term.factor = factor;
      (grouping == FactorGrouping::stack ? term.stack : term.kernels_of) = group.first;
      term.precision = group.second;
      if (factor == Factor::data_per_doubling) term.most_nodes = nodes.at(group);
      if (grouping != FactorGrouping::stack) continue;  // code changes, a chip does not
      term.first_year = *years.begin();
      term.last_year = *years.rbegin();
    }
  }
  return terms;
}

FactorModel fit_factors(Rows rows, Terms terms, const FactorPriors& priors) {
  FactorModel model;
  if (rows.empty() || terms.empty()) return model;
  const Solution solution = MixedModel(rows, terms, priors).solve();
  model.covariance.assign(terms.size(), {});
  for (size_t j = 0; j < terms.size(); ++j) {
    const auto at = static_cast<Eigen::Index>(j);
    model.entries.push_back({terms[j], rounded(std::exp(solution.unknowns(at)), kDigits)});
    for (size_t k = 0; k < terms.size(); ++k)
      model.covariance[j].push_back(rounded(solution.covariance(at, static_cast<Eigen::Index>(k)), kDigits));
  }
  return model;
}

double left_out_error(Rows rows, Terms terms, const FactorPriors& priors) {
  double sum = 0.0;
  for (const double error : MixedModel(rows, terms, priors).left_out_errors()) sum += std::abs(error);
  return rows.empty() ? 0.0 : sum / static_cast<double>(rows.size());
}

std::vector<Factor> choose_factors(Rows rows, const FactorPriors& priors) {
  std::vector<Factor> chosen;
  if (rows.empty()) return chosen;
  std::vector<std::vector<Factor>> left = causes();
  double best = left_out_error(rows, {}, priors);
  while (!left.empty()) {
    std::vector<std::pair<double, size_t>> tried;
    for (size_t number = 0; number < left.size(); ++number) {
      std::vector<Factor> next = chosen;
      next.insert(next.end(), left[number].begin(), left[number].end());
      tried.emplace_back(left_out_error(rows, terms_of(rows, next), priors), number);
    }
    const auto [error, number] = *std::min_element(tried.begin(), tried.end());
    if (error > best - kLeastGain) break;
    chosen.insert(chosen.end(), left[number].begin(), left[number].end());
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(number));
    best = error;
  }
  return chosen;
}

FactorModel learn_factors(Rows rows, const FactorPriors& priors) {
  const std::vector<Factor> factors = choose_factors(rows, priors);
  return fit_factors(rows, terms_of(rows, factors), priors);
}

}  // namespace orrery
