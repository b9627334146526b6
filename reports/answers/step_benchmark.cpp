// What a prediction costs: plans estimated a second (a search's inner loop), and the GPT-3 175B example
// simulated from 1,024 to 16,384 GPUs, folded and in full, and folded at 100,352. Goals (full scope): 1,024
// GPUs in 3 s, 16,384 in 120 s and 8 GiB, also where flows contend; folded: 16,384 in 10 s and 2 GiB, 100,352
// in 60 s; times_n_log_n of a Growth benchmark at most 1.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <algorithm>
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
struct CpuTime {
  double user_s = 0.0;
  double system_s = 0.0;  ///< mostly the kernel handing out memory
  double all() const { return user_s + system_s; }
};
CpuTime operator-(const CpuTime& a, const CpuTime& b) {
  return {a.user_s - b.user_s, a.system_s - b.system_s};
}

CpuTime cpu_time() {
  CpuTime time;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    getrusage(who, &usage);
    const auto seconds = [](const timeval& of) {
      return static_cast<double>(of.tv_sec) + 1e-6 * static_cast<double>(of.tv_usec);
    };
    time.user_s += seconds(usage.ru_utime);
    time.system_s += seconds(usage.ru_stime);
  }
  return time;
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

struct Cost {
  CpuTime cpu;
  Prediction prediction;
};

Cost cost_of(const Experiment& experiment, bool full) {
  PredictOptions options;
  options.full_scope = full;
  options.echo = false;
  const CpuTime before = cpu_time();
  Cost cost{.cpu = {}, .prediction = predict(experiment, options)};
  cost.cpu = cpu_time() - before;
  return cost;
}

double n_log_n(int n) { return n * std::log2(static_cast<double>(n)); }

void Simulate(benchmark::State& state, const Rung& rung) {
  const Experiment experiment = scaled_example(rung);
  forget_peak_memory();
  for (auto _ : state) {
    const auto [cpu, prediction] = cost_of(experiment, rung.full);
    state.counters["step_s"] = prediction.step_time.base();
    state.counters["contended"] = prediction.contended ? 1 : 0;
    state.counters["tasks"] = static_cast<double>(prediction.simulated->graph.tasks.size());
    state.counters["cpu_s"] = cpu.all();
    state.counters["user_s"] = cpu.user_s;
    state.counters["cpu_per_n_log_n"] = cpu.all() / n_log_n(rung.gpus) * 1e6;
  }
  state.counters["peak_MiB"] = peak_memory_mib();
}

/// How CPU time grows from one size to another, each by the least of its runs. They take turns, so that a
/// busy neighbour on the machine meets both, and the small one, soon over, runs more often.
void Growth(benchmark::State& state, const Rung& small, const Rung& large) {
  constexpr int kRounds = 3;
  constexpr int kOfSmall = 8;
  const Experiment small_example = scaled_example(small);
  const Experiment large_example = scaled_example(large);
  for (auto _ : state) {
    CpuTime of_small = cost_of(small_example, small.full).cpu;  // parses presets, so it is never the least
    CpuTime of_large = cost_of(large_example, large.full).cpu;
    const auto run_again = [](const Experiment& experiment, bool full, CpuTime& least) {
      const CpuTime cpu = cost_of(experiment, full).cpu;
      least = {std::min(least.user_s, cpu.user_s), std::min(least.system_s, cpu.system_s)};
    };
    for (int round = 0; round < kRounds; ++round) {
      for (int run = 0; run < kOfSmall; ++run) run_again(small_example, small.full, of_small);
      if (round > 0) run_again(large_example, large.full, of_large);
    }
    const double as_n_log_n = n_log_n(large.gpus) / n_log_n(small.gpus);
    state.counters["user_s_small"] = of_small.user_s;
    state.counters["user_s_large"] = of_large.user_s;
    state.counters["times_n_log_n"] = of_large.user_s / of_small.user_s / as_n_log_n;
    state.counters["with_system"] = of_large.all() / of_small.all() / as_n_log_n;
  }
}

void add(const std::string& name, const Rung& rung) {
  const std::string scope = rung.full ? "/full/" : "/folded/";
  benchmark::RegisterBenchmark(("Simulate/" + name + scope + std::to_string(rung.gpus)).c_str(),
                               [rung](benchmark::State& state) { Simulate(state, rung); })
      ->Unit(benchmark::kMillisecond)
      ->Iterations(1);
}

void add_growth(const std::string& name, const Rung& small, const Rung& large) {
  benchmark::RegisterBenchmark(("Growth/" + name).c_str(),
                               [small, large](benchmark::State& state) { Growth(state, small, large); })
      ->Unit(benchmark::kMillisecond)
      ->Iterations(1);
}

void add_ladders() {
  // 16,384 GPUs need more than three tiers of the preset's switches of 40 ports. Those of 64 ports take two
  // tiers for 1,024 GPUs and three for 16,384.
  const std::vector<std::pair<std::string, Json>> fabrics = {
      {"adaptive", {{"routing", "adaptive"}, {"switch_radix", 64}}},
      {"static", {{"routing", "static"}, {"switch_radix", 64}}},
      {"ecmp", {{"routing", "ecmp"}, {"switch_radix", 64}}},
      {"oversubscribed", {{"routing", "adaptive"}, {"switch_radix", 64}, {"oversubscription", {4, 1}}}}};
  for (const auto& [name, fabric] : fabrics) {
    for (int gpus = 1024; gpus <= 16384; gpus *= 2) {
      if (name != "ecmp") add(name, {gpus, false, fabric});
      add(name, {gpus, true, fabric});
    }
    add_growth(name, {1024, true, fabric}, {16384, true, fabric});
  }
  // Like for like: three tiers at both ends, as many ports as these need. A switch of k ports has k/2 nodes
  // below it and a pod whole rails, so k is a multiple of 16. 1,024 and 8,192 GPUs fill such a tree (k^3/4),
  // 16,384 take 29 of the 48 pods of the next.
  const std::vector<std::pair<std::string, Json>> trees = {
      {"ecmp_three_tiers", {{"routing", "ecmp"}}},
      {"oversubscribed_three_tiers", {{"routing", "adaptive"}, {"oversubscription", {4, 1}}}}};
  for (const auto& [name, tree] : trees) {
    const auto of_ports = [&tree](int gpus, int ports) {
      Json fabric = tree;
      fabric["switch_radix"] = ports;
      return Rung{gpus, true, fabric};
    };
    const std::vector<Rung> rungs = {of_ports(1024, 16), of_ports(8192, 32), of_ports(16384, 48)};
    for (const Rung& rung : rungs) add(name, rung);
    add_growth(name, rungs.front(), rungs.back());
  }
  // 784 replicas of 128 GPUs, switches of 128 ports.
  add("adaptive", {100'352, false, {{"routing", "adaptive"}, {"switch_radix", 128}}});
}

const bool kLaddersAdded = (add_ladders(), true);

}  // namespace
}  // namespace orrery
