// What a prediction costs: plans estimated a second (a search's inner loop), and the 1,024-GPU GPT-3 175B
// example with every GPU simulated. The goals that docs/accuracy.md states are checked by hand against these;
// ratios are what counts between machines.
#include <benchmark/benchmark.h>

#include <vector>

#include "models/estimate.hpp"
#include "models/lowering.hpp"
#include "reports/answers/calibrated_models.hpp"
#include "reports/answers/predict.hpp"
#include "reports/experiment/experiment.hpp"
#include "sim/base/json_reader.hpp"
#include "sim/engine/engine.hpp"
#include "topologies/build_topology.hpp"

namespace orrery {
namespace {

Experiment example(const char* name) {
  const std::string file = std::string(ORRERY_SOURCE_DIR) + "/examples/" + name;
  return read_experiment(read_json_file(file), file);
}

/// Plans of the experiment's GPUs that a search would try: degrees, interleaving, micro-batch.
std::vector<std::pair<TrainingSpec, ParallelPlan>> plans_of(const Experiment& experiment) {
  std::vector<std::pair<TrainingSpec, ParallelPlan>> plans;
  const int gpus = experiment.parallel.gpus();
  for (const int tensor : {1, 2, 4, 8}) {
    for (const int pipeline : {1, 2, 4, 8, 16}) {
      for (const int interleave : {1, 2}) {
        for (const int micro_batch : {1, 2, 4}) {
          ParallelPlan plan = experiment.parallel;
          TrainingSpec training = experiment.training;
          plan.tensor = tensor;
          plan.pipeline = pipeline;
          plan.context = 1;
          plan.data = gpus / (tensor * pipeline);
          plan.shard_group = plan.data;
          plan.interleave = interleave;
          plan.schedule = interleave > 1 ? ScheduleKind::interleaved : ScheduleKind::one_f_one_b;
          training.micro_batch = micro_batch;
          const int stages = pipeline * interleave;
          if (gpus % (tensor * pipeline) != 0 || experiment.model.layers % stages != 0) continue;
          if (interleave > 1 && pipeline == 1) continue;
          if (training.global_batch % (micro_batch * plan.data) != 0) continue;
          if (interleave > 1 && plan.micro_batches(training) % pipeline != 0) continue;
          plan.stage_layers.assign(static_cast<size_t>(stages), experiment.model.layers / stages);
          plans.emplace_back(training, plan);
        }
      }
    }
  }
  return plans;
}

void EstimatePlans(benchmark::State& state, const char* name) {
  const Experiment experiment = example(name);
  CalibrationStore calibrations;
  const CalibratedModels models = calibrations.models(experiment, Tier::measured, "");
  StepPlanner planner(experiment.model, experiment.software, experiment.shape, *models.kernels,
                      *models.collectives);
  PassOrders orders;
  const auto plans = plans_of(experiment);
  for (auto _ : state) {
    for (const auto& [training, plan] : plans) {
      benchmark::DoNotOptimize(estimate_step(planner.plan(training, plan), orders));
    }
  }
  state.counters["plans"] = static_cast<double>(plans.size());
  state.counters["plans_per_second"] =
      benchmark::Counter(static_cast<double>(plans.size()) * static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate);
}
BENCHMARK_CAPTURE(EstimatePlans, gpt3_175b_1024_a100, "gpt3-175b-1024-a100.json")
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(EstimatePlans, llama3_70b_h100, "llama3-70b-h100.json")->Unit(benchmark::kMillisecond);

void SimulateFullScope(benchmark::State& state) {
  const Experiment experiment = example("gpt3-175b-1024-a100.json");
  PredictOptions options;
  options.full_scope = true;
  for (auto _ : state) benchmark::DoNotOptimize(predict(experiment, options));
}
BENCHMARK(SimulateFullScope)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace orrery
