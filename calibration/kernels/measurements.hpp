#pragma once

#include <string>
#include <vector>

#include "sim/base/json_reader.hpp"
#include "sim/base/quantity.hpp"
#include "sim/workload/operator.hpp"

namespace orrery {

/// How a table was measured: rows of different campaigns are never fitted together.
enum class Campaign {
  burst,        ///< CUDA graph replay at locked clocks, cold weights (aiconfigurator)
  compiler,     ///< XLA's autotuned products, median kernel time
  sustained,    ///< benchmark loops of a training framework's kernels (SimuMax)
  peak_search,  ///< best shape of a search, mean of 100 runs after 50 (mamf-finder)
  kernel,       ///< a kernel library's own benchmark (DeepGEMM, flash-attention)
};

struct GemmMeasurement {
  std::string gpu;
  Campaign campaign = Campaign::burst;
  GemmShape shape;  ///< quantized_inputs says whether the time holds the quantise of the activations
  Seconds time;
  std::string source;
};

struct AttentionMeasurement {
  std::string gpu;
  std::string kernel;  ///< the table's name: "trtllm", "flash2", "FA4 2-CTA"
  Campaign campaign = Campaign::burst;
  AttentionShape shape;
  Seconds time;
  bool module_overhead =
      false;  ///< the time holds the serving framework's module: about 10 us and the write of K and V
  std::string source;
};

/// Rows of calibration/data/gemm.jsonl that describe one dense product; grouped products, all-zero inputs and
/// GPUs that are not named are left out.
/// @throws InputError with file and line for a row that cannot be read
std::vector<GemmMeasurement> read_gemm_measurements(const std::string& path);

/// Rows of calibration/data/attention.jsonl in bf16. Rows without heads are taken with 2048 / head size of
/// them (the flash-attention benchmark's width). SimuMax's head size 192 stands for 192 / 128 (keys /
/// values): its rates count 192 + 128, so the times are made from the rates here.
std::vector<AttentionMeasurement> read_attention_measurements(const std::string& path);

}  // namespace orrery
