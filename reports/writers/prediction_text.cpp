#include <fmt/core.h>

#include "reports/writers/loop_writer.hpp"
#include "reports/writers/prediction_title.hpp"
#include "reports/writers/prediction_writer.hpp"
#include "reports/writers/text_table.hpp"
#include "sim/base/unit_text.hpp"

namespace orrery {
namespace {

std::string degrees(const ParallelPlan& plan) {
  std::string text = fmt::format("tensor {} x pipeline {}", plan.tensor, plan.pipeline);
  if (plan.context > 1) text += fmt::format(" x context {}", plan.context);
  text += fmt::format(" x data {}", plan.data);
  if (plan.zero > 0) text += fmt::format(", zero {}", plan.zero);
  return text;
}

/// What step times taught, where the tier uses it.
std::string tier_lines(const Prediction& prediction) {
  const CalibrationUse& use = prediction.calibration;
  std::string text;
  if (prediction.tier != Tier::stack && prediction.tier != Tier::site) return text;
  if (use.stack.empty()) {
    text += use.stack_factors.empty()
                ? "  stack  no measured run of this software: tier stack is tier measured here\n"
                : fmt::format("  stack  no measured run of this software; of its chip under others: {}\n",
                              use.stack_factors);
  } else {
    text += fmt::format("  stack  {}: {} (from {} runs, cross-validated error {})\n", use.stack,
                        use.stack_factors.empty() ? "all factors 1" : use.stack_factors, use.stack_runs,
                        use.stack_error ? percent(*use.stack_error) : "unknown");
  }
  if (prediction.tier == Tier::site) {
    text += fmt::format("  site   {} (from {} runs, left-out error {})\n",
                        use.site_factors.empty() ? "all factors 1" : use.site_factors, use.site_runs,
                        use.site_error ? percent(*use.site_error) : "unknown");
  }
  return text;
}

std::string what_was_assumed(const Prediction& prediction) {
  std::string text =
      fmt::format("experiment {}, {}, {} micro-batch{}\n", titled(prediction), degrees(prediction.plan),
                  prediction.micro_batches, prediction.micro_batches == 1 ? "" : "es");
  text += fmt::format(
      "engine {}{}, tier {}, kernels from {} ({} error {})\n", name_of(prediction.engine),
      prediction.engine == EngineKind::simulate
          ? fmt::format(" ({} scope{})", prediction.full_scope ? "full" : "folded",
                        prediction.contended ? ", contended" : "")
          : "",
      name_of(prediction.tier), prediction.calibration.profile,
      prediction.calibration.hash.empty() ? "assumed" : "median",
      prediction.calibration.compute_error > 0 ? percent(prediction.calibration.compute_error) : "unknown");
  text += tier_lines(prediction);
  for (const std::string& warning : prediction.warnings) text += "  warning  " + warning + "\n";
  return text;
}

constexpr double kNegligibleShare = 1e-9;  // what rounding leaves

double term(const Prediction& prediction, BreakdownTerm which) {
  return prediction.breakdown[static_cast<size_t>(which)];
}

std::string step_line(const Prediction& prediction) {
  std::string text = fmt::format(
      "step {}  [{}, {}: central 80 %]   {} MFU   evidence {}\n", format_quantity(prediction.step_time),
      format_quantity(prediction.interval[0]), format_quantity(prediction.interval[1]),
      percent(prediction.mfu), name_of(prediction.evidence));
  const double compute = term(prediction, BreakdownTerm::forward) +
                         term(prediction, BreakdownTerm::backward) +
                         term(prediction, BreakdownTerm::recompute);
  const double bubble = term(prediction, BreakdownTerm::pipeline_bubble);
  const double optimizer = term(prediction, BreakdownTerm::optimizer);
  double communication = 0.0;
  for (const GroupKind group :
       {GroupKind::tensor, GroupKind::context, GroupKind::expert, GroupKind::data, GroupKind::pipeline}) {
    communication += term(prediction, exposed_term(group));
  }
  const double rest = term(prediction, BreakdownTerm::input_exposed) +
                      term(prediction, BreakdownTerm::checkpoint_exposed) +
                      term(prediction, BreakdownTerm::other);
  text += fmt::format("  compute {} | exposed communication {} | bubble {} | optimizer {} | other {}\n",
                      format_quantity(seconds(compute)), format_quantity(seconds(communication)),
                      format_quantity(seconds(bubble)), format_quantity(seconds(optimizer)),
                      format_quantity(seconds(rest)));
  return text;
}

std::string throughput_line(const Prediction& prediction) {
  return fmt::format(
      "  {} samples/s | {} tokens/s ({} per GPU) | {:.1f} model TFLOP/s per GPU | {:.1f} hardware\n",
      short_number(prediction.samples_per_s), short_number(prediction.tokens_per_s),
      short_number(prediction.tokens_per_s / prediction.gpus), prediction.model_tflops_per_gpu(),
      prediction.hardware_tflops_per_gpu());
}

/// Days and dollars, where training.tokens and cluster.price are given.
std::string bill_lines(const Prediction& prediction) {
  std::string text;
  const double step = prediction.step_time.base();
  if (prediction.whole_training) {
    const WholeTraining& whole = *prediction.whole_training;
    text += fmt::format("  {} tokens: {} steps, {:.1f} days\n", short_number(whole.tokens),
                        short_number(whole.steps), whole.steps * step / 86400.0);
  }
  if (prediction.dollars_per_hour) {
    text += fmt::format("  {} USD an hour", short_number(*prediction.dollars_per_hour));
    if (prediction.whole_training) {
      text += fmt::format(", {} USD in all", short_number(*prediction.dollars_per_hour *
                                                          prediction.whole_training->steps * step / 3600.0));
    }
    text += "\n";
  }
  return text;
}

std::string breakdown_table(const Prediction& prediction) {
  TextTable table({"where the time goes", ">time", ">share", "evidence"});
  for (int i = 0; i < kBreakdownTerms; ++i) {
    const auto index = static_cast<size_t>(i);
    const double time = prediction.breakdown[index];
    if (time <= kNegligibleShare * prediction.step_time.base()) continue;
    table.add({std::string(name_of(static_cast<BreakdownTerm>(i))), format_quantity(seconds(time)),
               percent(time / prediction.step_time.base()),
               std::string(name_of(prediction.term_evidence[index]))});
  }
  return table.text();
}

std::string communication_table(const Prediction& prediction) {
  if (prediction.communication.empty()) return "";
  TextTable table({"communication", "operation", ">ranks", ">bytes", ">calls", ">total", ">exposed",
                   ">bus bandwidth", "algorithm"});
  for (const CommunicationTotal& line : prediction.communication) {
    table.add({std::string(name_of(line.group)), std::string(name_of(line.op)), std::to_string(line.ranks),
               format_quantity(line.payload), std::to_string(line.count), format_quantity(line.total),
               format_quantity(line.exposed), format_quantity(BytesPerSecond(line.bus_bandwidth())),
               fmt::format("{} {}", line.algorithm, line.protocol)});
  }
  return table.text();
}

/// The busiest classes of links, and beyond them those that held somebody up.
std::string link_table(const Prediction& prediction) {
  if (prediction.links.empty()) return "";
  constexpr size_t kBusiest = 3;
  TextTable table({"links", ">number", ">mean use", ">busiest one", ">full for", ">held flows up for"});
  for (size_t i = 0; i < prediction.links.size(); ++i) {
    const LinkClassUse& use = prediction.links[i];
    if (i >= kBusiest && use.held_s <= 0.0) continue;
    table.add({use.name, std::to_string(use.links), percent(use.mean_use), percent(use.max_use),
               format_quantity(seconds(use.busy_s)),
               use.held_s > 0.0 ? format_quantity(seconds(use.held_s)) : "-"});
  }
  return table.text();
}

std::string beside_lines(const Prediction& prediction) {
  if (!prediction.beside) return "";
  const BesideUse& use = *prediction.beside;
  std::string binding;
  for (const std::string& name : use.binding) binding += (binding.empty() ? "" : ", ") + name;
  const auto waits = [](Seconds alone, Seconds together) {
    if (together <= Seconds(0)) return std::string();
    return fmt::format(" (of which checkpoints {} alone, {} together)", format_quantity(alone),
                       format_quantity(together));
  };
  return fmt::format(
      "  beside {} on {} GPUs ({}): {} alone, {} together{}: {} slower; its own step {} alone, {} "
      "together{}: "
      "{} slower; {}\n",
      use.name, use.gpus, name_of(use.placement), format_quantity(use.step_alone),
      format_quantity(use.step_together), waits(use.checkpoint_alone, use.checkpoint_together),
      percent(use.slowdown() - 1.0), format_quantity(use.neighbour_alone),
      format_quantity(use.neighbour_together),
      waits(use.neighbour_checkpoint_alone, use.neighbour_checkpoint_together),
      percent(use.neighbour_slowdown() - 1.0),
      binding.empty() ? "no link binds" : "binding links: " + binding);
}

std::string memory_lines(const Prediction& prediction) {
  const MemoryUse& memory = prediction.memory;
  const Bytes capacity = prediction.memory_capacity;
  std::string text = fmt::format("  memory {} of {} on stage {}", format_quantity(memory.peak),
                                 format_quantity(capacity), memory.fullest_stage);
  if (!prediction.fits()) {
    text += fmt::format(": does not fit, {} ({}) too much", format_quantity(memory.peak - capacity),
                        percent(memory.peak / capacity - 1.0));
  }
  text += "\n";
  text += fmt::format(
      "    parameters {} | gradients {} | optimizer {} | activations {} | buffers {} | collectives {} | "
      "context {}\n",
      format_quantity(memory.parameters), format_quantity(memory.gradients),
      format_quantity(memory.optimizer), format_quantity(memory.activations), format_quantity(memory.buffers),
      format_quantity(memory.collective), format_quantity(memory.context));
  for (const MemoryAssumption& assumption : prediction.memory_assumptions) {
    text += fmt::format("    assumed {} {}: with {} it is {}{}\n", assumption.key, assumption.taken,
                        assumption.otherwise, format_quantity(assumption.peak),
                        assumption.peak <= capacity ? "" : ", which does not fit");
  }
  return text;
}

std::string measured_line(const Prediction& prediction) {
  if (!prediction.error) return "";
  const double measured = prediction.step_time.base() / (1.0 + *prediction.error);
  return fmt::format("  measured {}: predicted {}\n", format_quantity(seconds(measured)),
                     signed_percent(*prediction.error));
}

}  // namespace

std::string titled(const Prediction& prediction) {
  const std::string place = fmt::format(" on {} x {}", prediction.gpus, prediction.gpu);
  return prediction.name.ends_with(place) ? prediction.name : prediction.name + place;
}

std::string prediction_text(const Prediction& prediction) {
  return what_was_assumed(prediction) + step_line(prediction) + throughput_line(prediction) +
         bill_lines(prediction) + memory_lines(prediction) + loop_lines(prediction) +
         beside_lines(prediction) + measured_line(prediction) + breakdown_table(prediction) +
         communication_table(prediction) + link_table(prediction);
}

}  // namespace orrery
