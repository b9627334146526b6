#include "sim/base/quantity.hpp"

#include <gtest/gtest.h>

#include <type_traits>

namespace orrery {
namespace {

template <typename T, typename U>
constexpr bool kSame = std::is_same_v<std::remove_cvref_t<T>, U>;

// Dimensions add and subtract; what has none left is a plain number.
static_assert(kSame<decltype(Bytes(1) / Seconds(1)), BytesPerSecond>);
static_assert(kSame<decltype(Bytes(1) / BytesPerSecond(1)), Seconds>);
static_assert(kSame<decltype(BytesPerSecond(1) * Seconds(1)), Bytes>);
static_assert(kSame<decltype(Flops(1) / FlopsPerSecond(1)), Seconds>);
static_assert(kSame<decltype(Watts(1) * Seconds(1)), Joules>);
static_assert(kSame<decltype(Joules(1) / Seconds(1)), Watts>);
static_assert(kSame<decltype(1.0 / Seconds(1)), Hertz>);
static_assert(kSame<decltype(1.0 / Hertz(1)), Seconds>);
static_assert(kSame<decltype(Hertz(1) * Seconds(1)), double>);
static_assert(kSame<decltype(Bytes(1) / Bytes(1)), double>);
static_assert(kSame<decltype(2.0 * Dollars(1)), Dollars>);
static_assert(kSame<decltype(Flops(1) / Bytes(1)), Quantity<0, -1, 1, 0, 0>>);  // arithmetic intensity

template <typename A, typename B>
concept Addable = requires(A a, B b) {
  a + b;
};
template <typename A, typename B>
concept Comparable = requires(A a, B b) {
  a < b;
};

// Different dimensions, and bare numbers, neither add, compare nor convert.
static_assert(Addable<Seconds, Seconds>);
static_assert(!Addable<Seconds, Bytes>);
static_assert(!Addable<Seconds, double>);
static_assert(!Addable<BytesPerSecond, Bytes>);
static_assert(Comparable<Bytes, Bytes>);
static_assert(!Comparable<Bytes, Seconds>);
static_assert(!Comparable<Bytes, double>);
static_assert(!std::is_convertible_v<double, Seconds>);
static_assert(!std::is_convertible_v<Seconds, double>);
static_assert(!std::is_convertible_v<Seconds, Bytes>);
static_assert(std::is_trivially_copyable_v<Seconds> && sizeof(Seconds) == sizeof(double));

TEST(Quantity, NamedFunctionsGiveBaseUnits) {
  EXPECT_DOUBLE_EQ(microseconds(2).base(), 2e-6);
  EXPECT_DOUBLE_EQ(milliseconds(3).base(), 3e-3);
  EXPECT_EQ(kibibytes(2).base(), 2048.0);
  EXPECT_EQ(mebibytes(1).base(), 1048576.0);
  EXPECT_EQ(gibibytes(80).base(), 85899345920.0);
  EXPECT_EQ(gigabytes_per_second(450).base(), 450e9);
  EXPECT_EQ(gigabits_per_second(400).base(), 50e9);  // 400 Gb/s are 50 GB/s
  EXPECT_EQ(teraflops(989).base(), 989e12);
}

TEST(Quantity, ArithmeticIsThatOfTheBaseValues) {
  Seconds t = seconds(2) + seconds(3);
  EXPECT_EQ(t, seconds(5));
  t -= seconds(1);
  t *= 3.0;
  t /= 2.0;
  t += seconds(0.5);
  EXPECT_EQ(t.base(), 6.5);
  EXPECT_EQ((-t).base(), -6.5);
  EXPECT_EQ((t - seconds(6)).base(), 0.5);
  EXPECT_EQ(Seconds().base(), 0.0);
  EXPECT_EQ(gibibytes(1) / kibibytes(1), 1048576.0);
  EXPECT_EQ((bytes(1e9) / gigabytes_per_second(100)).base(), 0.01);
  EXPECT_EQ((Hertz(2) * Hertz(3) * Seconds(4)).base(), 24.0);
}

TEST(Quantity, OrderAndExtremes) {
  EXPECT_LT(microseconds(1), milliseconds(1));
  EXPECT_GE(bytes(8), bytes(8));
  EXPECT_EQ(max(seconds(1), seconds(2)), seconds(2));
  EXPECT_EQ(min(seconds(1), seconds(2)), seconds(1));
  EXPECT_EQ(max(seconds(-1), seconds(-2)), seconds(-1));
}

}  // namespace
}  // namespace orrery
