#include "sim/base/precision.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace orrery {
namespace {

TEST(Precision, NamesAreTheContractsInEnumOrder) {
  const std::vector<std::string> contract = {"fp32",        "tf32",      "fp16",  "bf16", "fp8",
                                             "fp8_current", "fp8_block", "mxfp8", "nvfp4"};
  ASSERT_EQ(precision_names().size(), contract.size());
  for (size_t i = 0; i < contract.size(); ++i) {
    EXPECT_EQ(precision_names()[i], contract[i]);
    const auto precision = static_cast<Precision>(i);
    EXPECT_EQ(name_of(precision), contract[i]);
    EXPECT_EQ(precision_named(contract[i]), precision);
  }
}

TEST(Precision, UnknownNamesGiveNothing) {
  for (const char* name : {"", "BF16", "bf16 ", "float16", "fp4"})
    EXPECT_FALSE(precision_named(name)) << name;
}

TEST(Precision, BytesFollowFromTheBitsOfTheFormat) {
  struct Case {
    Precision precision;
    double operand_bits;
    double activation_bits;
    bool quantized;
  };
  // tf32 keeps 32-bit storage; recipes of 8 and 4 bits keep bf16 outside matrix products.
  const std::vector<Case> cases = {{Precision::fp32, 32, 32, false},    {Precision::tf32, 32, 32, false},
                                   {Precision::fp16, 16, 16, false},    {Precision::bf16, 16, 16, false},
                                   {Precision::fp8, 8, 16, true},       {Precision::fp8_current, 8, 16, true},
                                   {Precision::fp8_block, 8, 16, true}, {Precision::mxfp8, 8, 16, true},
                                   {Precision::nvfp4, 4, 16, true}};
  for (const Case& c : cases) {
    EXPECT_EQ(operand_bytes(c.precision) * 8, c.operand_bits) << name_of(c.precision);
    EXPECT_EQ(activation_bytes(c.precision) * 8, c.activation_bits) << name_of(c.precision);
    EXPECT_EQ(is_quantized(c.precision), c.quantized) << name_of(c.precision);
  }
}

TEST(Precision, StoredOperandsCarryTheirBlockScales) {
  // 1 x 128 blocks with a scale of 4 bytes, 1 x 32 with one byte, 1 x 16 with one byte; one scale a tensor.
  EXPECT_EQ(stored_operand_bytes(Precision::fp8_block) * 128, 128 + 4);
  EXPECT_EQ(stored_operand_bytes(Precision::mxfp8) * 32, 32 + 1);
  EXPECT_EQ(stored_operand_bytes(Precision::nvfp4) * 16, 8 + 1);
  for (const Precision precision :
       {Precision::fp32, Precision::bf16, Precision::fp8, Precision::fp8_current}) {
    EXPECT_EQ(stored_operand_bytes(precision), operand_bytes(precision));
  }
}

}  // namespace
}  // namespace orrery
