#include "calibration/kernels/held_out.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <set>
#include <utility>

#include "calibration/kernels/fit_gemm.hpp"

namespace orrery {

std::vector<int> family_folds(std::span<const std::string> families, int folds, std::uint64_t seed) {
  std::map<std::string, int> rows_of;
  for (const std::string& family : families) ++rows_of[family];
  std::vector<std::string> order;
  order.reserve(rows_of.size());
  for (const auto& [family, rows] : rows_of) order.push_back(family);
  std::mt19937_64 random(seed);
  for (size_t left = order.size(); left > 1; --left) std::swap(order[left - 1], order[random() % left]);

  std::vector<int> filled(static_cast<size_t>(std::max(1, folds)), 0);
  std::map<std::string, int> fold_of;
  for (const std::string& family : order) {
    const auto emptiest = std::min_element(filled.begin(), filled.end());
    fold_of[family] = static_cast<int>(emptiest - filled.begin());
    *emptiest += rows_of[family];
  }
  std::vector<int> result;
  result.reserve(families.size());
  for (const std::string& family : families) result.push_back(fold_of[family]);
  return result;
}

std::vector<double> left_out_errors(std::span<const int> fold_of, const LearnAndPredict& learn) {
  const std::set<int> folds(fold_of.begin(), fold_of.end());
  if (folds.size() < 2) return {};
  std::vector<double> errors(fold_of.size(), 0.0);
  for (const int fold : folds) {
    std::vector<size_t> train, test;
    for (size_t row = 0; row < fold_of.size(); ++row) (fold_of[row] == fold ? test : train).push_back(row);
    const std::vector<double> of_test = learn(train, test);
    for (size_t i = 0; i < test.size(); ++i) errors[test[i]] = of_test.at(i);
  }
  return errors;
}

HeldOut hold_out_a_fifth(std::span<const HeldOutRow> rows, std::uint64_t seed, const LearnAndPredict& learn) {
  constexpr int kFolds = 5;
  constexpr size_t kWorst = 5;
  std::vector<std::string> families;
  for (const HeldOutRow& row : rows) families.push_back(row.family);
  const std::vector<int> fold_of = family_folds(families, kFolds, seed);
  const std::vector<double> errors = left_out_errors(fold_of, learn);
  HeldOut result;
  if (errors.empty()) return result;

  std::vector<double> fifth;
  std::vector<size_t> order;
  for (size_t row = 0; row < rows.size(); ++row) {
    if (fold_of[row] == 0) fifth.push_back(errors[row]);
    order.push_back(row);
  }
  summarize(fifth, result.fifth);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return std::abs(errors[a]) > std::abs(errors[b]); });
  for (const size_t row : order) {
    if (result.worst.size() == kWorst) break;
    result.worst.push_back({rows[row].shape, rows[row].measured, std::exp(errors[row]) * rows[row].measured});
  }
  return result;
}

}  // namespace orrery
