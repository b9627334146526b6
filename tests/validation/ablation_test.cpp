// What each modelled effect is worth on the shipped runs, and that docs/accuracy.md says so.
#include <gtest/gtest.h>

#include "sim/base/json_reader.hpp"
#include "tests/validation/ablation.hpp"

namespace orrery {
namespace {

// Contention is left out: it needs two simulations of every run, and moves the error by hundredths of a
// point.
class AblationTable : public ::testing::TestWithParam<int> {};
constexpr int kParts = 4;  // tests, each with a part of the effects: none takes long

TEST_P(AblationTable, IsWhatTheDocumentSays) {
  const std::string document = read_text_file(std::string(ORRERY_SOURCE_DIR) + "/docs/accuracy.md");
  for (const Ablation& ablation : ablate_shipped_runs(false, GetParam(), kParts)) {
    const std::string line = ablation_line(ablation);
    EXPECT_NE(document.find("\n" + line), std::string::npos) << line;
  }
}
INSTANTIATE_TEST_SUITE_P(Effects, AblationTable, ::testing::Range(0, kParts));

}  // namespace
}  // namespace orrery
