#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "calibration/kernels/profile_library.hpp"
#include "reports/answers/calibrate.hpp"
#include "sim/base/errors.hpp"

// Golden: calibration/profiles holds what `orrery calibrate calibration/data --gpu NAME --base none` gives.
// It may change with the tables, the rules, the forms and the fits; then calibration/README.md says how to
// write the profiles again.

namespace orrery {
namespace {

const std::string kRoot = ORRERY_SOURCE_DIR;

std::string fitted(const std::string& gpu, const std::string& base) {
  CalibrateOptions options;
  options.measurements = {kRoot + "/calibration/data"};
  options.gpu = gpu;
  options.base = base;
  options.held_out = false;
  return calibrate(options).text;
}

std::string shipped(const std::string& gpu) {
  return read_text_file(kRoot + "/calibration/profiles/" + gpu + ".json");
}

class ShippedProfile : public testing::TestWithParam<std::string> {};

TEST_P(ShippedProfile, IsWhatItsMeasurementsGiveByteForByte) {
  const std::string& gpu = GetParam();
  EXPECT_TRUE(fitted(gpu, "none") == shipped(gpu))
      << gpu << " differs from what its measurements give: see calibration/README.md";
}

std::string test_name(const testing::TestParamInfo<std::string>& gpu) {
  std::string name = gpu.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Gpus, ShippedProfile, testing::ValuesIn(kernel_profile_names()), test_name);

TEST(ShippedProfiles, TheBaseChangesNothingWhereEverythingIsMeasured) {
  EXPECT_TRUE(fitted("l40s", "") == shipped("l40s"));
}

}  // namespace
}  // namespace orrery
