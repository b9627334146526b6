#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

#include "kernels/harness/record.hpp"

namespace orrery::kernels {

/// C[m,n] = A[m,k] B[k,n] `batch` times, C in row-major order: m are tokens, n output features, as in the
/// contract's kernel lines.
struct GemmCase {
  std::int64_t m = 0, n = 0, k = 0, batch = 1;
  std::string precision = "bf16";
  int output_bytes = 2;       ///< 2: 16-bit result; 4: fp32; 8: fp32 added to what is there (beta = 1)
  std::string layout = "tn";  ///< cuBLAS's transposes: forward tn, data gradient nn, weight gradient nt
  bool grouped = false;       ///< `batch` groups of m rows on average

  double flops() const;
  /// Bytes of both operands and of the result, all copies of a batch, once each.
  double bytes() const;
  /// "4096 x 4096 x 4096 bf16 tn"
  std::string title() const;
  /// Sets m n k batch precision output_bytes layout, and grouped where it is.
  void write(Record* record) const;
  auto operator<=>(const GemmCase&) const = default;
};

const std::vector<std::string>& gemm_precisions();
/// Bits of an operand's element in that precision.
int operand_bits(const std::string& precision);
/// Bytes written an output element where a line does not say: 4 for tf32 and fp32, else 2.
int default_output_bytes(const std::string& precision);

/// The matrix products of a shapes file (the contract's kernel lines, as `orrery presets models NAME
/// --shapes` prints them), each once, in the file's order. Lines of other operators are counted and passed
/// over.
/// @param name  of the file, for messages
/// @throws OptionError with one line "FILE:LINE: ..." for each problem
std::vector<GemmCase> read_gemm_cases(std::istream& lines, const std::string& name, std::size_t* other_lines);

/// The same from a file, or from the standard input for "-".
/// @throws OptionError also for a file that cannot be read
std::vector<GemmCase> read_gemm_file(const std::string& path, std::size_t* other_lines);

/// Built-in products: the widths of transformer layers of 2,048 to 16,384, whole and split over 8 GPUs, from
/// 128 to 16,384 tokens, forward; at three token counts also the data gradient and the accumulated weight
/// gradient. Of fp16, tf32 and fp32 the forward products at two token counts alone. In an order shuffled by
/// the seed, so that those that a time limit leaves out are spread evenly.
std::vector<GemmCase> gemm_grid(const std::vector<std::string>& precisions, std::uint64_t seed, bool quick);

/// Rows of each of `groups` groups that have `mean_rows` on average: every row is dealt to a group with a
/// probability proportional to 1 + unevenness * u, u uniform in (0, 1) for each group; sums to the whole
/// exactly.
std::vector<std::int64_t> uneven_rows(std::int64_t groups, std::int64_t mean_rows, double unevenness,
                                      std::uint64_t seed);

}  // namespace orrery::kernels
