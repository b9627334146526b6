#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "calibration/kernels/measurement_files.hpp"
#include "calibration/kernels/profile_library.hpp"
#include "calibration/kernels/profile_tables.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/quantile.hpp"

namespace orrery {
namespace {

/// The figures of calibration/README.md: products of the burst tables of every GPU and precision together,
/// each (n, k) family predicted by what the others taught.
TEST(KernelAccuracy, BurstProductsTogetherStayWithinWhatTheReadmeSays) {
  constexpr std::array kBursts = {Campaign::burst};
  const std::string root = ORRERY_SOURCE_DIR;
  const KernelRules rules = shipped_kernel_rules();
  const MeasurementSet set = read_measurements({root + "/calibration/data/gemm.jsonl"},
                                               preset_names("topologies/presets/gpus"), rules);
  std::vector<double> all, without_l40s;
  for (const std::string& gpu : kernel_profile_names()) {
    const DeviceSpec device = load_profile_named(gpu).device;
    for (size_t i = 0; i < device.peak.size(); ++i) {
      const auto table = fit_products(device, static_cast<Precision>(i), set.gemm, kBursts, nullptr);
      if (!table) continue;
      for (const double error : table->error.log_errors) {
        all.push_back(std::abs(std::expm1(error)));
        if (gpu != "l40s") without_l40s.push_back(all.back());
      }
    }
  }
  ASSERT_GT(all.size(), 800U);
  for (const auto* errors : {&all, &without_l40s}) {
    std::printf("%zu products: median %.2f %%, 95th percentile %.1f %%\n", errors->size(),
                100 * *quantile(*errors, 0.5), 100 * *quantile(*errors, 0.95));
  }
  EXPECT_LE(*quantile(all, 0.5), 0.05);
  EXPECT_LE(*quantile(all, 0.95), 0.17);
  EXPECT_LE(*quantile(without_l40s, 0.95), 0.15);
}

}  // namespace
}  // namespace orrery
