#pragma once

#include <string>
#include <vector>

#include "reports/answers/compare.hpp"
#include "reports/experiment/settings.hpp"

namespace orrery {

/// One line of a file of variants: an experiment with some values set otherwise.
struct Variant {  // NOLINT(bugprone-exception-escape): moving ordered JSON allocates nothing
  std::string name;
  int of = -1;  ///< the variant that it changes and is compared with; -1: the experiment itself
  Json set;     ///< {"path.to.key": value}
};

/// Reads `orrery.variants/1`: {"variants": [{"name", "of", "set"}]}. @throws InputError
std::vector<Variant> read_variants(const Json& document, const std::string& file);
/// The document that an argument names: a file, "-", or the stem of a file in data_root()/examples/variants.
/// @throws InputError
ExperimentDocument read_variants_document(const std::string& argument);

/// A variant beside what it changes.
struct VariantAnswer {
  Variant variant;
  Comparison against;  ///< A: what it changes; B: the variant
};

/// The answer to `compare --variants`.
struct VariantsComparison {
  ComparablePrediction base;
  std::vector<VariantAnswer> variants;
  bool fits() const;
};

/// Predicts the experiment and all its variants, and sets each beside what it changes.
/// @throws InputError naming the variant that is refused
VariantsComparison compare_variants(const ExperimentDocument& base, const std::vector<Variant>& variants,
                                    const PredictOptions& options);

}  // namespace orrery
