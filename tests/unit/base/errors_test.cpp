#include "sim/base/errors.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace orrery {
namespace {

using Names = std::vector<std::string>;

TEST(InputProblem, IsOneLine) {
  EXPECT_EQ(
      (InputProblem{"experiment.json", "/parallel/tensor", "3.0", "an integer in [1, 1024]", {}}.line()),
      "experiment.json: /parallel/tensor: found 3.0, expected an integer in [1, 1024]");
  EXPECT_EQ((InputProblem{"experiment.json", "", "a list", "an object", {}}.line()),
            "experiment.json: found a list, expected an object");
  EXPECT_EQ((InputProblem{"experiment.json", "", {}, {}, "plan needs 96 GPUs, cluster has 64"}.line()),
            "experiment.json: plan needs 96 GPUs, cluster has 64");
  EXPECT_EQ((InputProblem{"a\nb.json", "/x\ty", "1", "2\x7f", {}}.line()),
            "a\\u000ab.json: /x\\u0009y: found 1, expected 2\\u007f");
}

TEST(Problems, AreThrownTogetherInTheOrderFound) {
  Problems problems("f.json");
  EXPECT_NO_THROW(problems.throw_if_any());
  EXPECT_TRUE(problems.empty());
  problems.add("/z", "1", "2");
  problems.add_message("/a", "does not fit");
  problems.add(InputProblem{"other.json", "", "nothing", "an object", {}});
  problems.add("/z", "1", "2");  // the same again is the same problem
  ASSERT_EQ(problems.list().size(), 3U);
  try {
    problems.throw_if_any();
    FAIL() << "nothing was thrown";
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(),
                 "f.json: /z: found 1, expected 2\n"
                 "f.json: /a: does not fit\n"
                 "other.json: found nothing, expected an object");
    EXPECT_EQ(error.problems(), problems.list());
  }
}

TEST(Problems, SayWhichKeysWereRefused) {
  Problems problems("f.json");
  problems.add("/plan/tensor", "0", "1");
  problems.add("/plan/stages/2/layers", "0", "1");
  problems.add("/planned/data", "0", "1");
  problems.add("/plan", "0", "1");
  problems.add_message("", "of the whole file");
  problems.add(InputProblem{"other.json", "/plan/zero", "0", "1", {}});
  EXPECT_EQ(problems.refused_below("/plan"), (std::set<std::string>{"tensor", "stages"}));
  EXPECT_EQ(problems.refused_below(""), (std::set<std::string>{"plan", "planned"}));
  EXPECT_TRUE(problems.refused_below("/plan/tensor").empty());
}

TEST(NearestName, CountsInsertionsDeletionsReplacementsAndSwaps) {
  const Names keys = {"tensor", "pipeline", "data"};
  EXPECT_EQ(nearest_name("tensor", keys), "tensor");
  EXPECT_EQ(nearest_name("tensro", keys), "tensor");  // one swap
  EXPECT_EQ(nearest_name("tenso", keys), "tensor");   // one insertion
  EXPECT_EQ(nearest_name("pipelines", keys), "pipeline");
  EXPECT_EQ(nearest_name("date", keys), "data");
  EXPECT_EQ(nearest_name("pipe", keys), "");  // four letters away, two allowed
  EXPECT_EQ(nearest_name("", keys), "");
  EXPECT_EQ(nearest_name("x", Names{"ab", "c"}), "");  // every letter would change
  EXPECT_EQ(nearest_name("anything", Names{}), "");
}

TEST(NearestName, AllowsAThirdOfTheLengthAndNotOneMore) {
  const Names one = {"abcdefghi"};
  EXPECT_EQ(nearest_name("abcdefXYZ", one), "abcdefghi");  // three of nine
  EXPECT_EQ(nearest_name("abcdeWXYZ", one), "");           // four of nine
  EXPECT_EQ(nearest_name("adcb", Names{"abcd"}), "abcd");  // two is always allowed
}

TEST(NearestName, PrefersANameThatGoesOnBehindAHyphen) {
  const Names gpus = {"gh200", "h100-sxm-96gb-hbm2e", "h100-sxm-80gb", "h1000"};
  EXPECT_EQ(nearest_name("h100", gpus), "h100-sxm-80gb");  // not gh200, two letters away, nor h1000
  EXPECT_EQ(nearest_name("gh20", gpus), "gh200");
  EXPECT_EQ(nearest_name("h1", gpus), "");  // cut short elsewhere
}

TEST(NearestName, TakesTheFirstOfEquals) {
  EXPECT_EQ(nearest_name("cat", Names{"car", "cab"}), "car");
  EXPECT_EQ(nearest_name("cab", Names{"car", "cab"}), "cab");
}

TEST(NearestName, DoesNotCompareHugeNames) {
  EXPECT_EQ(nearest_name(std::string(201, 'a'), Names{std::string(201, 'a')}), "");
  EXPECT_EQ(nearest_name(std::string(200, 'a'), Names{std::string(201, 'a')}), std::string(201, 'a'));
}

TEST(ListNames, ReadsAsAListWithTheNearestFirst) {
  EXPECT_EQ(list_names(Names{}), "");
  EXPECT_EQ(list_names(Names{"a"}), "a");
  EXPECT_EQ(list_names(Names{"a", "b"}), "a or b");
  EXPECT_EQ(list_names(Names{"a", "b", "c"}), "a, b or c");
  EXPECT_EQ(list_names(Names{"ring", "tree", "nvls"}, "nvl"), "nvls, ring or tree");
  EXPECT_EQ(list_names(Names{"a", "b", "c"}, {}, 2), "a, b, ...");
}

TEST(OneOf, PutsTheNearestFirstInQuotes) {
  const Names keys = {"tensor", "pipeline", "data"};
  EXPECT_EQ(one_of(keys), "one of tensor, pipeline, data");
  EXPECT_EQ(one_of(keys, "pipe"), "one of tensor, pipeline, data");
  EXPECT_EQ(one_of(keys, "pipelin"), "\"pipeline\" or one of tensor, data");
  EXPECT_EQ(one_of(Names{"ring", "tree"}, "rign"), "\"ring\" or \"tree\"");
  EXPECT_EQ(one_of(Names{"ring"}, "rign"), "\"ring\"");
  EXPECT_EQ(one_of(Names{"ring"}), "\"ring\"");
  EXPECT_EQ(one_of(keys, "datas", 2), "\"data\" or one of tensor, ...");
  EXPECT_EQ(one_of(keys, {}, 2), "one of tensor, pipeline, ...");
}

}  // namespace
}  // namespace orrery
