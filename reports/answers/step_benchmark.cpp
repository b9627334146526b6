// What a prediction costs: plans estimated a second (a search's inner loop), and the GPT-3 175B example
// simulated from 1,024 to 16,384 GPUs, folded and in full, and folded at 100,352. Goals (full scope): 1,024
// GPUs in 3 s, 16,384 in 120 s and 8 GiB, also where flows contend; folded: 16,384 in 10 s and 2 GiB, 100,352
// in 60 s; cpu_per_n_log_n must not grow along a ladder by more than the machine's noise.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "models/estimate.hpp"
#include "models/lowering.hpp"
#include "reports/answers/calibrated_models.hpp"
#include "reports/answers/predict.hpp"
#include "reports/experiment/experiment.hpp"
#include "sim/base/errors.hpp"
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
  const CalibratedModels models = calibrations.models(experiment, {.tier = Tier::measured});
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

/// CPU seconds of this process and of the children it has waited for (SimGrid runs in one).
double cpu_seconds() {
  double seconds = 0.0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    getrusage(who, &usage);
    seconds += static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
  }
  return seconds;
}

/// Starts the kernel's count of this process's peak memory again (proc(5), clear_refs).
void forget_peak_memory() { std::ofstream("/proc/self/clear_refs") << "5"; }

double peak_memory_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string key; status >> key;) {
    double kib = 0.0;
    if (key == "VmHWM:" && status >> kib) return kib / 1024.0;
  }
  return 0.0;
}

struct Rung {
  int gpus;
  bool full;
  Json fabric;
};

/// The example with data-parallel replicas and the batch scaled to a number of GPUs: 192 micro-batches each.
Experiment scaled_example(const Rung& rung) {
  const std::string file = std::string(ORRERY_SOURCE_DIR) + "/examples/gpt3-175b-1024-a100.json";
  Json document = read_json_file(file);
  document["cluster"]["nodes"] = rung.gpus / 8;
  document["cluster"]["fabric"] = rung.fabric;
  document["training"]["global_batch"] = 1536 * (rung.gpus / 128) / 8;
  Json& fabric = document["cluster"]["fabric"];
  try {
    return read_experiment(document, file);
  } catch (const InputError&) {
    if (!fabric.contains("oversubscription")) throw;
    fabric["oversubscription"] = {fabric["oversubscription"][0]};  // two tiers do
    return read_experiment(document, file);
  }
}

void Simulate(benchmark::State& state, const Rung& rung) {
  const Experiment experiment = scaled_example(rung);
  PredictOptions options;
  options.full_scope = rung.full;
  options.echo = false;
  const double n = rung.gpus;
  double cpu_s = 0.0;
  double tasks = 0.0;
  forget_peak_memory();
  for (auto _ : state) {
    const double before = cpu_seconds();
    const Prediction prediction = predict(experiment, options);
    cpu_s += cpu_seconds() - before;
    tasks = static_cast<double>(prediction.simulated->graph.tasks.size());
    state.counters["step_s"] = prediction.step_time.base();
    state.counters["contended"] = prediction.contended ? 1 : 0;
  }
  cpu_s /= static_cast<double>(state.iterations());
  state.counters["tasks"] = tasks;
  state.counters["cpu_s"] = cpu_s;
  state.counters["peak_MiB"] = peak_memory_mib();
  state.counters["cpu_per_n_log_n"] = cpu_s / (n * std::log2(n)) * 1e6;
}

void add_ladder() {
  const auto add = [](const std::string& name, Rung rung) {
    const std::string scope = rung.full ? "full/" : "folded/";
    benchmark::RegisterBenchmark(("Simulate/" + name + scope + std::to_string(rung.gpus)).c_str(),
                                 [rung](benchmark::State& state) { Simulate(state, rung); })
        ->Unit(benchmark::kMillisecond)
        ->Iterations(1);
  };
  // 16,384 GPUs need more than three tiers of the preset's switches of 40 ports.
  const std::vector<std::pair<std::string, Json>> fabrics = {
      {"adaptive/", {{"routing", "adaptive"}, {"switch_radix", 64}}},
      {"static/", {{"routing", "static"}, {"switch_radix", 64}}},
      {"ecmp/", {{"routing", "ecmp"}, {"switch_radix", 64}}},
      {"oversubscribed/", {{"routing", "adaptive"}, {"switch_radix", 64}, {"oversubscription", {4, 1}}}}};
  for (const auto& [name, fabric] : fabrics) {
    for (int gpus = 1024; gpus <= 16384; gpus *= 2) {
      if (name != "ecmp/") add(name, {gpus, false, fabric});
      add(name, {gpus, true, fabric});
    }
  }
  // 784 replicas of 128 GPUs, switches of 128 ports.
  add("adaptive/", {100'352, false, {{"routing", "adaptive"}, {"switch_radix", 128}}});
}

const bool kLadderAdded = (add_ladder(), true);

}  // namespace
}  // namespace orrery
