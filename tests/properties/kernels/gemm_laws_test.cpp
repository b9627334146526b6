#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>

#include "calibration/kernels/kernel_model.hpp"
#include "calibration/kernels/profile_library.hpp"

namespace orrery {
namespace {

// The alignment class: every dimension a multiple of 128 elements, so that no tile of the form is cut and
// every row of an operand is aligned, in any precision.
constexpr std::int64_t kAlignment = 128;
constexpr double kAllowed = 0.03;  // a product with more work is never faster by more than this

struct Dimension {
  std::string_view name;
  std::int64_t GemmShape::*value;
};
constexpr Dimension kDimensions[] = {
    {"m", &GemmShape::m}, {"n", &GemmShape::n}, {"k", &GemmShape::k}, {"batch", &GemmShape::batch}};

/// Shapes of the class, log-uniform up to 32768 in m and n and 16384 in k.
class Sweep {
 public:
  explicit Sweep(std::uint32_t seed) : random_(seed) {}

  GemmShape shape(Precision precision) {
    GemmShape shape;
    shape.m = dimension(8.0);
    shape.n = dimension(8.0);
    shape.k = dimension(7.0);
    if (below(5) == 0) shape.batch = 1 + below(8);
    shape.precision = precision;
    return shape;
  }

  /// The shape with one dimension at two or three times its size.
  GemmShape doubled(GemmShape shape, const Dimension& dimension) {
    shape.*dimension.value *= 2 + below(2);
    return shape;
  }

  /// The shape with one dimension grown: by one step of the class, or to two or three times its size.
  GemmShape grown(GemmShape shape, const Dimension& dimension) {
    std::int64_t& value = shape.*dimension.value;
    const std::int64_t step = dimension.value == &GemmShape::batch ? 1 : kAlignment;
    const std::int64_t how = below(3);
    value = how == 0 ? value + step : value * (how + 1);
    return shape;
  }

 private:
  std::int64_t below(std::int64_t count) {
    return static_cast<std::int64_t>(unit_(random_) * static_cast<double>(count));
  }
  std::int64_t dimension(double doublings) {
    return kAlignment * static_cast<std::int64_t>(std::exp2(unit_(random_) * doublings));
  }
  std::mt19937 random_;
  std::uniform_real_distribution<double> unit_{0.0, 1.0};
};

std::string text_of(const GemmShape& shape) {
  return std::to_string(shape.m) + " x " + std::to_string(shape.n) + " x " + std::to_string(shape.k) +
         " batch " + std::to_string(shape.batch);
}

KernelTime time_of(const CostModel& model, const GemmShape& shape) {
  return model.time(Operator{"product", shape});
}

/// Every shipped profile, on the GPU it was measured on.
class GemmLaws : public testing::TestWithParam<std::string> {
 protected:
  GemmLaws() : profile_{load_profile_named(GetParam()), ProfileFit::own} {}

  template <typename Check>
  void for_each_precision(Check check) const {
    for (size_t i = 0; i < profile_.profile.device.peak.size(); ++i) {
      const auto precision = static_cast<Precision>(i);
      if (profile_.profile.device.peak[i]) check(precision);
    }
  }

  LoadedProfile profile_;
};

/// A row of the table is given as it was measured, and measured times contradict one another: they are left
/// to what they are, everything between them obeys. Tables in 8 and 4 bits hold the quantise, models mostly
/// ask for products without.
TEST_P(GemmLaws, MoreWorkIsNeverFaster) {
  const CalibratedKernelModel model(profile_.profile.device, profile_, {});
  for_each_precision([&](Precision precision) {
    Sweep sweep(7);
    for (int trial = 0; trial < 8000; ++trial) {
      GemmShape small = sweep.shape(precision);
      small.quantized_inputs = trial / 4 % 2 == 0;
      const Dimension& dimension = kDimensions[trial % 4];
      const GemmShape large = sweep.grown(small, dimension);
      const KernelTime before = time_of(model, small), after = time_of(model, large);
      if (before.evidence == Evidence::measured || after.evidence == Evidence::measured) continue;
      EXPECT_GE(after.time.base(), before.time.base() * (1.0 - kAllowed))
          << name_of(precision) << " " << text_of(small) << " -> " << text_of(large);
    }
  });
}

/// Fewer rows or columns than the tables have: what their narrowest rows leave must not outgrow the form.
TEST_P(GemmLaws, MoreOfANarrowProductIsNeverFaster) {
  const CalibratedKernelModel model(profile_.profile.device, profile_, {});
  for_each_precision([&](Precision precision) {
    Sweep sweep(19);
    for (int trial = 0; trial < 8000; ++trial) {
      GemmShape small = sweep.shape(precision);
      std::int64_t GemmShape::*const narrow = trial % 2 == 0 ? &GemmShape::n : &GemmShape::m;
      small.*narrow = std::int64_t{32} << trial / 2 % 2;
      small.quantized_inputs = trial / 4 % 2 == 0;
      const GemmShape large = sweep.doubled(small, kDimensions[trial / 8 % 4]);
      const KernelTime before = time_of(model, small), after = time_of(model, large);
      EXPECT_GE(after.time.base(), before.time.base() * (1.0 - kAllowed))
          << name_of(precision) << " " << text_of(small) << " -> " << text_of(large);
    }
  });
}

/// Operands and result cross the memory once but for what the cache may hold of them.
TEST_P(GemmLaws, NoProductOutrunsThePeakOrTheMemory) {
  DeviceSpec device = profile_.profile.device;
  device.l2_cache = Bytes(0);  // a profile does not hold it
  const CalibratedKernelModel model(device, profile_, {});
  for_each_precision([&](Precision precision) {
    Sweep sweep(23);
    for (int trial = 0; trial < 8000; ++trial) {
      GemmShape shape = sweep.shape(precision);
      if (trial % 2 == 0) shape.m = 64;
      const KernelTime time = time_of(model, shape);
      if (time.evidence == Evidence::measured) continue;
      const auto m = static_cast<double>(shape.m), n = static_cast<double>(shape.n),
                 k = static_cast<double>(shape.k), batch = static_cast<double>(shape.batch);
      const Bytes traffic(batch * ((m + n) * k * operand_bytes(precision) + m * n * shape.output_bytes));
      constexpr double kRoundOff = 1.0 + 1e-9;
      EXPECT_LE(traffic / time.time, device.memory_bandwidth * kRoundOff) << text_of(shape);
      EXPECT_LE(shape.flops() / time.time, *device.peak_for(precision) * kRoundOff) << text_of(shape);
    }
  });
}

TEST_P(GemmLaws, TimesAreFiniteAndPositive) {
  const CalibratedKernelModel model(profile_.profile.device, profile_, {});
  for_each_precision([&](Precision precision) {
    Sweep sweep(11);
    for (int trial = 0; trial < 2000; ++trial) {
      GemmShape shape = sweep.shape(precision);
      if (trial % 3 == 1) shape.k += 1, shape.n += 3;                               // misaligned
      if (trial % 3 == 2) shape.m = shape.n = shape.k = 1 + trial % 5;              // tiny
      if (trial % 7 == 0) shape.m = 1'000'000'000, shape.quantized_inputs = false;  // far outside
      const KernelTime time = time_of(model, shape);
      EXPECT_TRUE(std::isfinite(time.time.base())) << text_of(shape);
      EXPECT_GT(time.time.base(), 0.0) << text_of(shape);
    }
  });
}

TEST_P(GemmLaws, MoreBandwidthIsNeverSlower) {
  DeviceSpec better = profile_.profile.device;
  better.memory_bandwidth = BytesPerSecond(1.3 * better.memory_bandwidth.base());
  const CalibratedKernelModel model(profile_.profile.device, profile_, {}), faster(better, profile_, {});
  for_each_precision([&](Precision precision) {
    Sweep sweep(13);
    for (int trial = 0; trial < 2000; ++trial) {
      const GemmShape shape = sweep.shape(precision);
      EXPECT_LE(time_of(faster, shape).time.base(), time_of(model, shape).time.base() * (1.0 + 1e-12))
          << name_of(precision) << " " << text_of(shape);
    }
  });
}

TEST_P(GemmLaws, APrecisionWithoutAPeakIsRefused) {
  const DeviceSpec& device = profile_.profile.device;
  const CalibratedKernelModel model(device, profile_, {});
  int refused = 0;
  for (size_t i = 0; i < device.peak.size(); ++i) {
    if (device.peak[i]) continue;
    const GemmShape shape = Sweep(17).shape(static_cast<Precision>(i));
    EXPECT_THROW(time_of(model, shape), std::invalid_argument) << name_of(shape.precision);
    ++refused;
  }
  if (device.architecture != "blackwell") {
    EXPECT_GT(refused, 0) << "only Blackwell multiplies in every precision";
  }
}

INSTANTIATE_TEST_SUITE_P(Profiles, GemmLaws, testing::ValuesIn(kernel_profile_names()),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           for (char& letter : name) {
                             if (letter == '-') letter = '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace orrery
