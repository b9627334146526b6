// Laws of the attention times that predictions use: every shipped profile, every kernel that it has, shapes
// of training. Inside one class (head size, mask, pass, kernel) more work is never faster by more than 3 %:
// what is measured and what is interpolated beside it must fit together that well.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "calibration/kernels/kernel_model.hpp"
#include "calibration/kernels/kernel_profile.hpp"

namespace orrery {
namespace {

constexpr double kNoise = 0.03;
// What was taken off the rows of serving modules is "about 10 us": between calls of a few tiles, which take
// the same time, the rows know nothing below this.
constexpr Seconds kTaken = microseconds(1);
constexpr int kShapes = 1000;  // a kernel

/// A kernel of a GPU, ready to ask.
struct Kernel {
  std::string name;  ///< "h100-sxm-80gb flash3"
  std::shared_ptr<const CostModel> model;
  AttentionKernel kernel;

  Seconds time(AttentionShape shape) const {
    shape.kernel = kernel;
    return model->time({"attention", shape}).time;
  }
  KernelTime answer(AttentionShape shape) const {
    shape.kernel = kernel;
    return model->time({"attention", shape});
  }
};

std::vector<Kernel> all_kernels(const std::function<void(DeviceSpec&)>& change = {}) {
  std::vector<Kernel> kernels;
  for (const std::string& gpu : kernel_profile_names()) {
    const KernelProfile profile = load_profile_named(gpu);
    DeviceSpec device = profile.device;
    if (change) change(device);
    for (const bool sustained : {false, true}) {
      const std::shared_ptr<const CostModel> model =
          make_kernel_model(device, {.date = {2025, 6}, .sustained = sustained});
      for (const AttentionFit& fit : profile.attention)
        kernels.push_back({gpu + " " + std::string(name_of(fit.kernel)), model, fit.kernel});
    }
  }
  return kernels;
}

class Shapes {
 public:
  explicit Shapes(unsigned seed) : random_(seed) {}

  std::int64_t power(double least, double most) {
    return static_cast<std::int64_t>(std::exp2(least + (most - least) * unit_(random_)));
  }
  bool coin() { return unit_(random_) < 0.5; }

  AttentionShape next() {
    constexpr std::int64_t kSizes[] = {64, 80, 96, 128, 192, 256};
    AttentionShape shape;
    shape.batch = power(0.0, 4.0);
    shape.seq_q = shape.seq_kv = 128 * power(2.0, 8.0);  // 512 to 32,768
    shape.heads = power(2.0, 7.0);
    shape.kv_heads = coin() ? shape.heads : std::max<std::int64_t>(1, shape.heads / 8);
    shape.head_dim = shape.value_dim = kSizes[power(0.0, 2.58) - 1];
    if (shape.head_dim == 192 && coin()) shape.value_dim = 128;
    shape.causal = coin();
    shape.pass = coin() ? AttentionPass::forward : AttentionPass::backward;
    return shape;
  }

 private:
  std::mt19937 random_;
  std::uniform_real_distribution<double> unit_{0.0, 1.0};
};

std::string text_of(const AttentionShape& shape) {
  return std::to_string(shape.batch) + " x " + std::to_string(shape.seq_q) + " x " +
         std::to_string(shape.seq_kv) + ", " + std::to_string(shape.heads) + " heads of " +
         std::to_string(shape.head_dim) + (shape.causal ? " causal" : " full") +
         (shape.pass == AttentionPass::forward ? " forward" : " backward") + ", window " +
         std::to_string(shape.window);
}

/// A shape that `grow` makes of another, which it may change, takes no less time.
void expect_never_faster(unsigned seed, const std::function<AttentionShape(AttentionShape&, Shapes&)>& grow,
                         double noise = kNoise, Seconds taken = kTaken) {
  for (const Kernel& kernel : all_kernels()) {
    Shapes shapes(seed);
    int worse = 0;
    double worst = 0.0;
    std::string where;
    for (int trial = 0; trial < kShapes; ++trial) {
      AttentionShape less = shapes.next();
      const AttentionShape more = grow(less, shapes);
      const Seconds before = kernel.time(less), after = kernel.time(more);
      if (before - after <= taken) continue;
      const double lost = 1.0 - after / before;
      worse += lost > noise ? 1 : 0;
      if (lost > worst) {
        worst = lost;
        where = text_of(less) + " -> " + text_of(more);
      }
    }
    EXPECT_EQ(worse, 0) << kernel.name << ": worst by " << worst << " at " << where;
  }
}

TEST(AttentionLaws, LongerSequencesAreNeverFaster) {
  expect_never_faster(1, [](AttentionShape& shape, Shapes& shapes) {
    AttentionShape longer = shape;
    longer.seq_q = longer.seq_kv = shape.seq_q + 128 * shapes.power(0.0, 5.0);
    return longer;
  });
}

TEST(AttentionLaws, MoreKeysAreNeverFaster) {
  expect_never_faster(2, [](AttentionShape& shape, Shapes& shapes) {
    shape.seq_q = std::max<std::int64_t>(128, shape.seq_q / shapes.power(0.0, 3.0));
    AttentionShape more = shape;
    more.seq_kv += 128 * shapes.power(0.0, 5.0);
    return more;
  });
}

TEST(AttentionLaws, MoreHeadsAreNeverFaster) {
  expect_never_faster(3, [](AttentionShape& shape, Shapes& shapes) {
    AttentionShape more = shape;
    more.heads += shapes.power(0.0, 4.0);
    if (shape.kv_heads == shape.heads) more.kv_heads = more.heads;
    return more;
  });
}

TEST(AttentionLaws, MoreSequencesAreNeverFaster) {
  expect_never_faster(4, [](AttentionShape& shape, Shapes& shapes) {
    AttentionShape more = shape;
    more.batch += shapes.power(0.0, 3.0);
    return more;
  });
}

TEST(AttentionLaws, AMaskIsNeverSlower) {
  expect_never_faster(5, [](AttentionShape& shape, Shapes&) {
    AttentionShape full = shape;
    shape.causal = true;
    full.causal = false;
    return full;
  });
}

TEST(AttentionLaws, AWindowIsNeverSlower) {
  expect_never_faster(
      6,
      [](AttentionShape& shape, Shapes& shapes) {
        const AttentionShape whole = shape;
        shape.window = shapes.power(5.0, 13.0);
        return whole;
      },
      1e-12, Seconds(0));
}

TEST(AttentionLaws, AWiderWindowIsNeverFaster) {
  expect_never_faster(
      7,
      [](AttentionShape& shape, Shapes& shapes) {
        AttentionShape wider = shape;
        shape.window = shapes.power(5.0, 13.0);
        wider.window = shape.window + shapes.power(0.0, 10.0);
        return wider;
      },
      1e-12, Seconds(0));
}

TEST(AttentionLaws, MoreBandwidthIsNeverSlower) {
  const std::vector<Kernel> as_measured = all_kernels();
  const std::vector<Kernel> wider =
      all_kernels([](DeviceSpec& device) { device.memory_bandwidth = device.memory_bandwidth * 1.3; });
  ASSERT_EQ(as_measured.size(), wider.size());
  for (size_t i = 0; i < wider.size(); ++i) {
    Shapes shapes(8);
    for (int trial = 0; trial < kShapes; ++trial) {
      const AttentionShape shape = shapes.next();
      EXPECT_LE(wider[i].time(shape).base(), as_measured[i].time(shape).base() * (1.0 + 1e-12))
          << wider[i].name << " " << text_of(shape);
    }
  }
}

TEST(AttentionLaws, EveryShapeHasAFiniteTimeAndHonestEvidence) {
  for (const Kernel& kernel : all_kernels()) {
    Shapes shapes(9);
    for (int trial = 0; trial < kShapes; ++trial) {
      AttentionShape shape = shapes.next();
      if (trial % 3 == 0) shape.window = shapes.power(0.0, 14.0);
      if (trial % 4 == 0) shape.seq_q = std::max<std::int64_t>(1, shape.seq_q / 8);
      const KernelTime answer = kernel.answer(shape);
      EXPECT_TRUE(std::isfinite(answer.time.base())) << kernel.name << " " << text_of(shape);
      EXPECT_GT(answer.time, Seconds(0)) << kernel.name << " " << text_of(shape);
      EXPECT_GT(answer.relative_spread, 0.0) << kernel.name << " " << text_of(shape);
      // The tables have neither windows, nor parts of a sequence, nor heads of 96 and 256.
      const bool windowed = shape.window > 0 && shape.window < shape.seq_kv;
      const bool unmeasured =
          windowed || shape.seq_q != shape.seq_kv || shape.head_dim == 96 || shape.head_dim == 256;
      if (unmeasured) {
        EXPECT_GE(answer.evidence, Evidence::extrapolated) << kernel.name << " " << text_of(shape);
      }
    }
  }
}

}  // namespace
}  // namespace orrery
