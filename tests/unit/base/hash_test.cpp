#include "sim/base/hash.hpp"

#include <gtest/gtest.h>

namespace orrery {
namespace {

TEST(ContentHash, EqualsThePublishedVectorsOfFnv1a64) {
  // Test vectors of draft-eastlake-fnv, appendix C: "", "a", "foobar".
  EXPECT_EQ(content_hash(""), "cbf29ce484222325");
  EXPECT_EQ(content_hash("a"), "af63dc4c8601ec8c");
  EXPECT_EQ(content_hash("foobar"), "85944171f73967e8");
}

TEST(ContentHash, CountsEveryByteAndItsPlace) {
  EXPECT_NE(content_hash("ab"), content_hash("ba"));
  EXPECT_NE(content_hash(std::string_view("a\0", 2)), content_hash("a"));
  EXPECT_EQ(content_hash("\xff").size(), 16U);
}

}  // namespace
}  // namespace orrery
