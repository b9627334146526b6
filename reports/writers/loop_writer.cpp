#include "reports/writers/loop_writer.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "sim/base/unit_text.hpp"

namespace orrery {
namespace {

std::int64_t whole_bytes(Bytes value) { return std::llround(value.base()); }

double exposed(const Prediction& prediction, BreakdownTerm term) {
  return prediction.breakdown[static_cast<size_t>(term)];
}

std::string_view bound_of(const InputPlan& input) {
  return input.by_workers > input.by_storage ? "workers" : "storage";
}

Bytes bytes_of_step(const InputPlan& input) {
  return input.bytes_per_sample * (input.samples * input.readers);
}

Json input_json(const Prediction& prediction, const InputPlan& input) {
  Json json = {{"readers", input.readers},
               {"samples_per_reader", input.samples},
               {"bytes_per_sample", input.bytes_per_sample.base()},
               {"bytes_per_step", whole_bytes(bytes_of_step(input))},
               {"prefetched", input.prefetched},
               {"load_s", input.load.base()},
               {"by_workers_s", input.by_workers.base()},
               {"by_storage_s", input.by_storage.base()},
               {"bound", bound_of(input)},
               {"exposed_s", exposed(prediction, BreakdownTerm::input_exposed)}};
  if (input.steps_per_epoch) {
    json["steps_per_epoch"] = *input.steps_per_epoch;
    json["epoch_s"] = *input.steps_per_epoch * prediction.step_time.base();
    json["dataset_bytes"] = whole_bytes(*input.dataset);
  }
  return json;
}

Json checkpoint_json(const Prediction& prediction, const CheckpointPlan& checkpoint) {
  return {{"every", checkpoint.every},
          {"async", checkpoint.async},
          {"writers", checkpoint.writers},
          {"bytes", whole_bytes(checkpoint.bytes)},
          {"staging_s", checkpoint.staging.base()},
          {"write_s", checkpoint.time.base()},
          {"exposed_s",
           exposed(prediction, BreakdownTerm::checkpoint_exposed) * static_cast<double>(checkpoint.every)},
          {"restore_s", checkpoint.restore.base()},
          {"merged_bytes", whole_bytes(checkpoint.merged)},
          {"merge_traffic_bytes", 2 * whole_bytes(checkpoint.merged)},
          {"merge_s", checkpoint.merging.base()}};
}

double total_s(const std::vector<Exchange>& exchanges) {
  double longest = 0.0;
  for (const Exchange& one : exchanges) longest = std::max(longest, (one.latency() + one.transfer()).base());
  return longest;
}

std::string period_text(std::int64_t steps) {
  return steps == 1 ? "every step" : fmt::format("every {} steps", steps);
}

}  // namespace

void add_loop_json(const Prediction& prediction, Json& json) {
  if (!prediction.loop) return;
  const LoopPlan& loop = *prediction.loop;
  if (!loop.input.read.empty()) json["input"] = input_json(prediction, loop.input);
  if (loop.checkpoint.every > 0) json["checkpoint"] = checkpoint_json(prediction, loop.checkpoint);
  if (loop.sync.period > 0) {
    json["synchronisation"] = {
        {"kind", "local"}, {"period", loop.sync.period}, {"average_s", total_s(loop.sync.average)}};
  } else if (!loop.sync.push.empty()) {
    json["synchronisation"] = {
        {"kind", "async"}, {"push_s", total_s(loop.sync.push)}, {"pull_s", total_s(loop.sync.pull)}};
  }
}

std::string loop_lines(const Prediction& prediction) {
  if (!prediction.loop) return "";
  const LoopPlan& loop = *prediction.loop;
  std::string text;
  if (!loop.input.read.empty()) {
    const InputPlan& input = loop.input;
    text += fmt::format("  input {} a step for {} reader{} ({} each, bound by {}), {}: {} exposed\n",
                        format_quantity(bytes_of_step(input)), input.readers, input.readers == 1 ? "" : "s",
                        format_quantity(input.load), bound_of(input),
                        input.prefetched ? "a step ahead" : "before the step",
                        format_quantity(seconds(exposed(prediction, BreakdownTerm::input_exposed))));
  }
  if (loop.checkpoint.every > 0) {
    const CheckpointPlan& checkpoint = loop.checkpoint;
    text += fmt::format(
        "  checkpoint {}{}: {} by {} writer{} in {}, {} a step exposed | restore {} | merged into one model "
        "of "
        "{} in {}\n",
        period_text(checkpoint.every), checkpoint.async ? ", asynchronous" : "",
        format_quantity(checkpoint.bytes), checkpoint.writers, checkpoint.writers == 1 ? "" : "s",
        format_quantity(checkpoint.time),
        format_quantity(seconds(exposed(prediction, BreakdownTerm::checkpoint_exposed))),
        format_quantity(checkpoint.restore), format_quantity(checkpoint.merged),
        format_quantity(checkpoint.merging));
  }
  if (loop.sync.period > 0) {
    text += fmt::format("  workers average {}: {}\n", period_text(loop.sync.period),
                        format_quantity(seconds(total_s(loop.sync.average))));
  } else if (!loop.sync.push.empty()) {
    text += fmt::format("  asynchronous: gradients pushed in {}, parameters pulled in {}, beside the steps\n",
                        format_quantity(seconds(total_s(loop.sync.push))),
                        format_quantity(seconds(total_s(loop.sync.pull))));
  }
  return text;
}

}  // namespace orrery
