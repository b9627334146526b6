#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/base/json_reader.hpp"
#include "sim/base/quantity.hpp"
#include "sim/workload/operator.hpp"

namespace orrery {

/// How a table was measured: rows of different campaigns are never fitted together.
enum class Campaign {
  burst,        ///< CUDA graph replay at locked clocks, cold weights (aiconfigurator); kernels/ "burst"
  compiler,     ///< XLA's autotuned products, median kernel time
  sustained,    ///< loops of a training framework's kernels (SimuMax); kernels/ "sustained"
  peak_search,  ///< best shape of a search, mean of 100 runs after 50 (mamf-finder)
  random_loop,  ///< one product of normal random data in a loop (Horace He's)
  kernel,       ///< a kernel library's own benchmark (DeepGEMM, flash-attention), or a line that does not say
};

/// What every measured row has beside its shape and time.
struct MeasurementOrigin {
  std::string gpu;  ///< as the line says it
  std::string source;
  std::string place;               ///< "gemm.jsonl:12"
  std::optional<Watts> power;      ///< mean board draw while sampling
  bool states_conditions = false;  ///< a line of our format: burst and sustained rows of one shape are the
                                   ///< same kernel with the same inputs
};

struct GemmMeasurement : MeasurementOrigin {
  Campaign campaign = Campaign::burst;
  GemmShape shape;  ///< quantized_inputs says whether the time holds the quantise of the activations
  Seconds time;
};

struct AttentionMeasurement : MeasurementOrigin {
  std::string kernel;  ///< the table's name: "trtllm", "flash2", "FA4 2-CTA"
  Campaign campaign = Campaign::burst;
  AttentionShape shape;
  Seconds time;
  bool module_overhead =
      false;  ///< the time holds the serving framework's module: about 10 us and the write of K and V
};

/// A memory-bound kernel, or (`share` instead of a time) a published share of the memory bandwidth.
struct MemoryMeasurement : MeasurementOrigin {
  std::string name;  ///< "rmsnorm", "swiglu", "copy"
  MemoryShape shape;
  Seconds time;
  std::optional<double> share;
};

/// Time a kernel of a chain of empty ones.
struct LaunchMeasurement : MeasurementOrigin {
  std::string mode;  ///< "eager", "graph"
  Seconds time;
};

struct CopyMeasurement : MeasurementOrigin {
  std::string direction;  ///< "device", "host_to_device", "device_to_host", "peer"
  Bytes bytes;
  Seconds time;
};

/// A product while another kernel holds `blocks` SMs.
struct OverlapMeasurement : MeasurementOrigin {
  GemmShape shape;
  std::string beside;  ///< "all_reduce", "copy"
  int blocks = 0;
  Seconds time, alone;
};

/// One line with "op": "gemm". Nothing for what is not fitted as a product's own time: all-zero inputs, a
/// product beside something else. Problems go to the reader. `conditions` (our format) decides the campaign
/// where it is given, the method and note of the published tables else.
std::optional<GemmMeasurement> gemm_measurement(const SpecReader& row);

/// One line with "op": "attention" in bf16; nothing for other precisions and for lines without a mask or a
/// length. Rows without heads are taken with 2048 / head size of them (the flash-attention benchmark's
/// width). SimuMax's head size 192 stands for 192 / 128 (keys / values): its rates count 192 + 128, so the
/// times are made from the rates here.
std::optional<AttentionMeasurement> attention_measurement(const SpecReader& row);

/// One line with "op": "memory", "launch", "copy", or "gemm" with `beside`. Problems go to the reader.
MemoryMeasurement memory_measurement(const SpecReader& row);
LaunchMeasurement launch_measurement(const SpecReader& row);
CopyMeasurement copy_measurement(const SpecReader& row);
OverlapMeasurement overlap_measurement(const SpecReader& row);

/// The same for a file whose lines are all of one kind, such as calibration/data/gemm.jsonl.
/// @throws InputError with file and line for a row that cannot be read
std::vector<GemmMeasurement> read_gemm_measurements(const std::string& path);
std::vector<AttentionMeasurement> read_attention_measurements(const std::string& path);

}  // namespace orrery
