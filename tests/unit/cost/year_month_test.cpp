#include "sim/cost/year_month.hpp"

#include <gtest/gtest.h>

namespace orrery {
namespace {

TEST(YearMonth, ReadsAndWritesTheSameText) {
  for (const char* text : {"2023-11", "1999-01", "0000-12"}) {
    const auto date = parse_year_month(text);
    ASSERT_TRUE(date.has_value()) << text;
    EXPECT_EQ(to_text(*date), text);
  }
  EXPECT_EQ(*parse_year_month("2023-11"), (YearMonth{2023, 11}));
}

TEST(YearMonth, RefusesEverythingElse) {
  for (const char* text :
       {"", "2023", "2023-00", "2023-13", "2023-1", "23-01", "2023/01", "2023-01 ", "+023-01", "2023-0a"}) {
    EXPECT_FALSE(parse_year_month(text).has_value()) << text;
  }
}

TEST(YearMonth, Orders) {
  EXPECT_LT((YearMonth{2023, 12}), (YearMonth{2024, 1}));
  EXPECT_LT((YearMonth{2023, 1}), (YearMonth{2023, 2}));
}

}  // namespace
}  // namespace orrery
