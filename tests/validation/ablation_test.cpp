// What each modelled effect is worth on the shipped runs, and that docs/accuracy.md says so.
#include <gtest/gtest.h>

#include "sim/base/json_reader.hpp"
#include "tests/validation/ablation.hpp"

namespace orrery {
namespace {

TEST(AblationTable, IsWhatTheDocumentSays) {
  const std::string document = read_text_file(std::string(ORRERY_SOURCE_DIR) + "/docs/accuracy.md");
  EXPECT_EQ(document, with_ablation_table(document, ablation_table(ablate_shipped_runs())));
}

}  // namespace
}  // namespace orrery
