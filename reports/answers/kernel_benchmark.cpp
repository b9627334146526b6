// What answering kernels costs: the model alone, and the inner path of `orrery kernel --input` (a line read,
// its kernel timed, its answer written as JSON), a hundred thousand lines a second a core being the goal.
#include <benchmark/benchmark.h>

#include <array>
#include <string>

#include "calibration/kernels/kernel_model.hpp"
#include "reports/answers/kernel.hpp"
#include "reports/writers/kernel_writer.hpp"

namespace orrery {
namespace {

const KernelOptions& options() {
  static const KernelOptions kOptions{.gpu = "h100-sxm-80gb", .calibration = "", .tier = Tier::measured};
  return kOptions;
}

constexpr std::array<const char*, 4> kLines = {
    R"({"op": "gemm", "m": 8192, "n": 5120, "k": 4096, "precision": "bf16", "name": "up", "count": 32})",
    R"({"op": "gemm", "m": 4096, "n": 14336, "k": 4100, "batch": 2, "precision": "fp8", "output_bytes": 8})",
    R"({"op": "attention", "batch": 2, "seq_length": 6144, "heads": 32, "kv_heads": 8, "head_dim": 128, "causal": true, "pass": "backward", "precision": "bf16", "kernel": "cudnn"})",
    R"({"op": "rmsnorm", "rows": 8192, "columns": 4096, "pass": "backward", "precision": "bf16"})"};

void model_time(benchmark::State& state) {
  const auto model = kernel_cost_model(options());
  KernelReader reader(model->device());
  KernelProblems problems;
  KernelLine kernel;
  reader.read(kLines.at(static_cast<size_t>(state.range(0))), "benchmark", kernel, problems);
  for (auto each : state) benchmark::DoNotOptimize(model->time(kernel.op));
  state.SetLabel(std::string(kernel.op.name));
}
BENCHMARK(model_time)->DenseRange(0, 3);

void read_line(benchmark::State& state) {
  const auto model = kernel_cost_model(options());
  KernelReader reader(model->device());
  KernelProblems problems;
  KernelLine kernel;
  size_t next = 0;
  for (auto each : state) {
    benchmark::DoNotOptimize(reader.read(kLines.at(next++ % kLines.size()), "benchmark", kernel, problems));
  }
}
BENCHMARK(read_line);

void line_to_json(benchmark::State& state) {
  const auto model = kernel_cost_model(options());
  KernelReader reader(model->device());
  KernelJsonWriter writer(kernel_document(*model, options()));
  KernelProblems problems;
  KernelLine kernel;
  KernelAnswer answer;
  std::string text;
  size_t next = 0;
  for (auto each : state) {
    reader.read(kLines.at(next++ % kLines.size()), "benchmark", kernel, problems);
    answer_kernel(*model, kernel, "benchmark", answer, problems);
    text.clear();
    writer.answer(kernel, answer, text);
    benchmark::DoNotOptimize(text.data());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(line_to_json);

}  // namespace
}  // namespace orrery
