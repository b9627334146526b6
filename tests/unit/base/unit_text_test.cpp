#include "sim/base/unit_text.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace orrery {
namespace {

template <typename Q>
double base_of(std::string_view text) {
  const std::optional<Q> value = parse_quantity<Q>(text);
  return value ? value->base() : std::numeric_limits<double>::quiet_NaN();
}

TEST(ParseQuantity, ReadsBitsAndBytesApart) {
  EXPECT_EQ(base_of<BytesPerSecond>("400 Gb/s"), 50e9);
  EXPECT_EQ(base_of<BytesPerSecond>("400 GB/s"), 400e9);
  EXPECT_EQ(base_of<Bytes>("8 b"), 1.0);
  EXPECT_EQ(base_of<Bytes>("8 B"), 8.0);
  EXPECT_EQ(base_of<Bytes>("1 Mib"), 131072.0);
}

TEST(ParseQuantity, ReadsEveryPrefix) {
  EXPECT_EQ(base_of<Bytes>("3 kB"), 3e3);
  EXPECT_EQ(base_of<Bytes>("3 MB"), 3e6);
  EXPECT_EQ(base_of<Bytes>("3 GB"), 3e9);
  EXPECT_EQ(base_of<Bytes>("3 TB"), 3e12);
  EXPECT_EQ(base_of<Bytes>("3 PB"), 3e15);
  EXPECT_EQ(base_of<Bytes>("3 KiB"), 3.0 * 1024);
  EXPECT_EQ(base_of<Bytes>("3 MiB"), 3.0 * 1024 * 1024);
  EXPECT_EQ(base_of<Bytes>("80 GiB"), 85899345920.0);
  EXPECT_EQ(base_of<Bytes>("1 TiB"), std::ldexp(1.0, 40));
  EXPECT_EQ(base_of<Bytes>("1 PiB"), std::ldexp(1.0, 50));
  EXPECT_EQ(base_of<BytesPerSecond>("1.5 GiB/s"), 1.5 * 1073741824.0);
  EXPECT_EQ(base_of<Seconds>("7 ms"), 7e-3);
  EXPECT_EQ(base_of<Seconds>("7 us"), 7e-6);
  EXPECT_EQ(base_of<Seconds>("7 ns"), 7e-9);
}

TEST(ParseQuantity, ReadsEveryUnit) {
  EXPECT_EQ(base_of<Seconds>("2.5 s"), 2.5);
  EXPECT_EQ(base_of<Seconds>("2 min"), 120.0);
  EXPECT_EQ(base_of<Seconds>("1.5 h"), 5400.0);
  EXPECT_EQ(base_of<Seconds>("1 day"), 86400.0);
  EXPECT_EQ(base_of<Seconds>("30 days"), 2592000.0);
  EXPECT_EQ(base_of<Hertz>("1.98 GHz"), 1.98e9);
  EXPECT_EQ(base_of<FlopsPerSecond>("989 TFLOP/s"), 989e12);
  EXPECT_EQ(base_of<Watts>("700 W"), 700.0);
  EXPECT_EQ(base_of<Watts>("6 MW"), 6e6);
  EXPECT_EQ(base_of<Joules>("5 J"), 5.0);
  EXPECT_EQ(base_of<Joules>("1 kWh"), 3.6e6);
  EXPECT_EQ(base_of<Dollars>("2.5 kUSD"), 2500.0);
  EXPECT_EQ(base_of<Dollars>("3 USD"), 3.0);
}

TEST(ParseQuantity, TheSpaceIsOptionalAndTheNumberMayHaveAnExponent) {
  EXPECT_EQ(base_of<Bytes>("1KiB"), 1024.0);
  EXPECT_EQ(base_of<BytesPerSecond>("450GB/s"), 450e9);
  EXPECT_EQ(base_of<Seconds>("1.5e-06 s"), 1.5e-6);
  EXPECT_EQ(base_of<Bytes>("1E3 kB"), 1e6);
  EXPECT_EQ(base_of<Bytes>("1e+3B"), 1e3);
  EXPECT_EQ(base_of<Bytes>("0 B"), 0.0);
}

TEST(ParseQuantity, AnSiPrefixMovesTheDecimalPointWithoutASecondRounding) {
  // 1.1 * 1e-6 rounds twice and is one unit in the last place off; the text names the double nearest
  // to 1.1e-6.
  EXPECT_EQ(base_of<Seconds>("1.1 us"), 1.1e-6);
  EXPECT_EQ(base_of<Seconds>("3.3 us"), 3.3e-6);
  EXPECT_EQ(base_of<BytesPerSecond>("0.3 GB/s"), 0.3e9);
}

TEST(ParseQuantity, RefusesWhatIsNotExactlyANumberAPrefixAndTheUnit) {
  for (const char* text : {"",         " ",
                           "B",        "450",
                           "450 ",     "GB/s",
                           " 1 B",     "1 B ",
                           "1  B",     "1\tB",
                           "-1 B",     "+1 B",
                           "-0 B",     ".5 B",
                           "1. B",     "1,5 B",
                           "0x10 B",   "inf B",
                           "nan B",    "1e999 B",
                           "1e B",     "1 KB",
                           "1 EB",     "1 mB",
                           "1 gB",     "1 kib",
                           "1 kiB",    "1 B/s",
                           "1 s",      "1 bytes",
                           "1 GB GB",  "1 GkB",
                           "1 GBx",    "1e99999999999999999999 B",
                           "1e308 PB", "1 B\n"}) {
    EXPECT_FALSE(parse_quantity<Bytes>(text)) << '"' << text << '"';
  }
  EXPECT_FALSE(parse_quantity<Bytes>(std::string_view("1 B\0", 4)));
  for (const char* text :
       {"450 GB", "450 GBps", "450 Gbps", "450 gb/s", "450 GB/S", "450 GB/h", "450 GB / s"}) {
    EXPECT_FALSE(parse_quantity<BytesPerSecond>(text)) << text;
  }
  for (const char* text : {"1 ks", "1 Ms", "1 mmin", "1 kh", "1 sec", "1 m", "1 S", "1 Kis"}) {
    EXPECT_FALSE(parse_quantity<Seconds>(text)) << text;
  }
  for (const char* text : {"989 TFLOPS", "989 TFLOPs", "989 TFLOP", "1 TiFLOP/s"}) {
    EXPECT_FALSE(parse_quantity<FlopsPerSecond>(text)) << text;
  }
  for (const char* text : {"1 mW", "1 w", "1 J", "1 KiW"}) EXPECT_FALSE(parse_quantity<Watts>(text)) << text;
  for (const char* text : {"$5", "5 usd", "5 EUR", "1 mUSD"})
    EXPECT_FALSE(parse_quantity<Dollars>(text)) << text;
  EXPECT_FALSE(parse_quantity<Joules>("1 W"));
  EXPECT_FALSE(parse_quantity<Hertz>("1 hz"));
}

TEST(ParseQuantity, AcceptsTheLargestDoubleAndRefusesTheStepAbove) {
  EXPECT_EQ(base_of<Bytes>("1.7976931348623157e308 B"), std::numeric_limits<double>::max());
  EXPECT_FALSE(parse_quantity<Bytes>("1.7976931348623159e308 B"));
  EXPECT_FALSE(parse_quantity<Bytes>("1.7976931348623157e308 KiB"));
}

/// Random doubles over the whole range of exponents: every one must come back the same, bit for bit.
template <typename Q>
void expect_round_trips(unsigned seed) {
  std::mt19937_64 random(seed);
  for (int i = 0; i < 20000; ++i) {
    const std::uint64_t bits = random() >> 1;  // no sign
    double value = 0.0;
    std::memcpy(&value, &bits, sizeof value);
    // Below the normal range some digits of the text have no bit to go to.
    if (!std::isfinite(value)) continue;
    const std::string text = exact_text(Q(value));
    const std::optional<Q> back = parse_quantity<Q>(text);
    ASSERT_TRUE(back) << text;
    ASSERT_EQ(back->base(), value) << text;
  }
  std::uniform_real_distribution<double> usual(0.0, 1e13);
  for (int i = 0; i < 20000; ++i) {
    const double value = i % 2 == 0 ? usual(random) : std::floor(usual(random));
    ASSERT_EQ(base_of<Q>(exact_text(Q(value))), value);
  }
}

TEST(ExactText, ReadsBackToTheSameDouble) {
  expect_round_trips<Seconds>(1);
  expect_round_trips<Bytes>(2);
  expect_round_trips<BytesPerSecond>(3);
  expect_round_trips<FlopsPerSecond>(4);
  expect_round_trips<Hertz>(5);
  expect_round_trips<Watts>(6);
  expect_round_trips<Joules>(7);
  expect_round_trips<Dollars>(8);
}

TEST(ExactText, WritesWholeNumbersWithoutAnExponent) {
  EXPECT_EQ(exact_text(gigabytes_per_second(25)), "25000000000 B/s");
  EXPECT_EQ(exact_text(seconds(1.5e-6)), "1.5e-06 s");
  EXPECT_EQ(exact_text(bytes(0.5)), "0.5 B");
  EXPECT_EQ(exact_text(Watts(0)), "0 W");
}

TEST(ShortestNumber, IsTheShortestTextThatReadsBack) {
  EXPECT_EQ(shortest_number(0.1), "0.1");
  EXPECT_EQ(shortest_number(7), "7");
  EXPECT_EQ(shortest_number(2.5e10), "2.5e+10");
  EXPECT_EQ(shortest_number(-1.0 / 3.0), "-0.3333333333333333");
}

TEST(FormatQuantity, KeepsThreeDigitsAndTheNumberBelowTheNextPrefix) {
  EXPECT_EQ(format_quantity(gigabytes_per_second(450)), "450 GB/s");
  EXPECT_EQ(format_quantity(microseconds(1.5)), "1.5 us");
  EXPECT_EQ(format_quantity(gibibytes(79.1)), "79.1 GiB");
  EXPECT_EQ(format_quantity(BytesPerSecond(999.4e6)), "999 MB/s");
  EXPECT_EQ(format_quantity(BytesPerSecond(999.6e6)), "1 GB/s");  // rounds up into the next prefix
  EXPECT_EQ(format_quantity(BytesPerSecond(12345e6)), "12.3 GB/s");
  EXPECT_EQ(format_quantity(BytesPerSecond(5e18)), "5000 PB/s");
  EXPECT_EQ(format_quantity(bytes(1023)), "1023 B");
  EXPECT_EQ(format_quantity(bytes(1024)), "1 KiB");
  EXPECT_EQ(format_quantity(mebibytes(1023.7)), "1 GiB");
  EXPECT_EQ(format_quantity(teraflops(989.4)), "989 TFLOP/s");
  EXPECT_EQ(format_quantity(Hertz(1.98e9)), "1.98 GHz");
  EXPECT_EQ(format_quantity(Watts(10200)), "10.2 kW");
  EXPECT_EQ(format_quantity(Joules(3.6e6)), "3.6 MJ");
  EXPECT_EQ(format_quantity(Dollars(2500)), "2.5 kUSD");
  EXPECT_EQ(format_quantity(Dollars(0.05)), "0.05 USD");
}

TEST(FormatQuantity, WritesTimesAsPeopleDo) {
  EXPECT_EQ(format_quantity(seconds(0)), "0 s");
  EXPECT_EQ(format_quantity(seconds(2.5e-10)), "0.25 ns");
  EXPECT_EQ(format_quantity(seconds(4.2134)), "4.21 s");
  EXPECT_EQ(format_quantity(seconds(0.9996)), "1 s");
  EXPECT_EQ(format_quantity(seconds(59.94)), "59.9 s");
  EXPECT_EQ(format_quantity(seconds(59.96)), "1 min 0 s");
  EXPECT_EQ(format_quantity(seconds(725)), "12 min 5 s");
  EXPECT_EQ(format_quantity(seconds(3599.4)), "59 min 59 s");
  EXPECT_EQ(format_quantity(seconds(3599.6)), "1 h 0 min");
  EXPECT_EQ(format_quantity(seconds(7500)), "2 h 5 min");
  EXPECT_EQ(format_quantity(seconds(86399)), "1 day");
  EXPECT_EQ(format_quantity(seconds(3.2 * 86400)), "3.2 days");
  EXPECT_EQ(format_quantity(seconds(-725)), "-12 min 5 s");
  EXPECT_EQ(format_quantity(microseconds(-3)), "-3 us");
}

TEST(FormatQuantity, SurvivesWhatIsNoNumber) {
  EXPECT_EQ(format_quantity(seconds(std::numeric_limits<double>::infinity())), "inf s");
  EXPECT_EQ(format_quantity(bytes(std::numeric_limits<double>::quiet_NaN())), "nan B");
}

TEST(FormatQuantity, IsWithinHalfAUnitOfTheThirdDigit) {
  std::mt19937_64 random(9);
  std::uniform_real_distribution<double> exponent(0.0, 17.9);
  for (int i = 0; i < 20000; ++i) {
    const double value = std::pow(10.0, exponent(random));
    // 0.5 % is half a unit of the third digit where it weighs most, at 1.00.
    const std::string text = format_quantity(BytesPerSecond(value));
    ASSERT_NEAR(base_of<BytesPerSecond>(text) / value, 1.0, 0.00501) << text;
  }
}

TEST(ExpectedUnitText, ShowsAnExampleThatIsAccepted) {
  const auto example = [](const std::string& text) {
    const size_t start = text.find('"');
    return text.substr(start + 1, text.rfind('"') - start - 1);
  };
  EXPECT_EQ(expected_unit_text<BytesPerSecond>(), "a string with a rate unit such as \"450 GB/s\"");
  EXPECT_TRUE(parse_quantity<Seconds>(example(expected_unit_text<Seconds>())));
  EXPECT_TRUE(parse_quantity<Bytes>(example(expected_unit_text<Bytes>())));
  EXPECT_TRUE(parse_quantity<BytesPerSecond>(example(expected_unit_text<BytesPerSecond>())));
  EXPECT_TRUE(parse_quantity<FlopsPerSecond>(example(expected_unit_text<FlopsPerSecond>())));
  EXPECT_TRUE(parse_quantity<Hertz>(example(expected_unit_text<Hertz>())));
  EXPECT_TRUE(parse_quantity<Watts>(example(expected_unit_text<Watts>())));
  EXPECT_TRUE(parse_quantity<Joules>(example(expected_unit_text<Joules>())));
  EXPECT_TRUE(parse_quantity<Dollars>(example(expected_unit_text<Dollars>())));
}

}  // namespace
}  // namespace orrery
