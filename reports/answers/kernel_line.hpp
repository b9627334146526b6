#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "reports/answers/flat_json_line.hpp"
#include "sim/base/errors.hpp"
#include "sim/cost/device_spec.hpp"
#include "sim/workload/operator.hpp"

namespace orrery {

/// What one line of a kernel file asks for (contract section 3.2).
struct KernelLine {
  Operator op;            ///< its name is the line's "op": "gemm", "attention", "memory", "rmsnorm"
  std::string_view name;  ///< the line's "name": where the kernel comes from; may be empty
  std::optional<std::int64_t> count;            ///< how often the asker runs it
  std::int64_t rows = 0, columns = 0;           ///< of an operator named in memory_operators.hpp
  AttentionPass pass = AttentionPass::forward;  ///< of those
  std::string_view members;                     ///< the line's text between its braces, for echoing
  bool gives_precision = false;                 ///< the line names its precision
};

/// Problems of a long file: the first of them are kept, the rest is counted.
class KernelProblems {
 public:
  void add(InputProblem problem);
  bool empty() const { return count_ == 0; }
  /// @throws InputError with the first problems and a line for how many more there are, if there are any
  void throw_if_any(const std::string& file) const;

 private:
  static constexpr size_t kMostListed = 50;
  std::vector<InputProblem> first_;
  std::int64_t count_ = 0;
};

/// Reads kernel lines for one GPU, strictly: unknown keys, missing keys, wrong types, impossible shapes and
/// precisions without a peak are refused with file, line and pointer. One reader a thread.
///
/// Keys by "op" (those in brackets may be left out): every line [name, count];
///   gemm       m n k [batch 1] [precision bf16] [output_bytes: 4 for fp32 and tf32, else 2] [layout]
///              [grouped false] [includes_quantize false]
///   attention  batch seq_length [kv_seq_length] heads [kv_heads] head_dim [value_dim] [causal true] [window
///              0] [pass forward] [precision bf16] [kernel cudnn]
///   memory     bytes [kind streaming] [launches 1]
///   an operator of memory_operators.hpp   rows columns [top_k 1] [pass forward] [precision bf16]
class KernelReader {
 public:
  /// @param device  must outlive the reader; names the precisions that products may have
  explicit KernelReader(const DeviceSpec& device);

  /// True if the line asks for a kernel; what is wrong goes to `problems`.
  /// @param file  for messages: "shapes.jsonl:12"
  bool read(std::string_view line, const std::string& file, KernelLine& kernel, KernelProblems& problems);

 private:
  const DeviceSpec& device_;
  FlatJsonLine line_;
};

/// Names that a line's "op" may have.
std::vector<std::string> kernel_op_names();

}  // namespace orrery
