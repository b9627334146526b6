#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "reports/writers/scaling_writer.hpp"
#include "reports/writers/text_table.hpp"
#include "sim/base/unit_text.hpp"

namespace orrery {
namespace {

constexpr int kBarLength = 20;
constexpr double kLeastLossShown = 1e-3;

/// Full at an efficiency of one; what is above one is marked.
std::string bar(double efficiency) {
  const int filled = std::clamp(static_cast<int>(std::lround(efficiency * kBarLength)), 0, kBarLength);
  return std::string(static_cast<size_t>(filled), '#') +
         std::string(static_cast<size_t>(kBarLength - filled), '.') + (efficiency > 1.005 ? "+" : "");
}

/// The class that held flows up most, else the busiest one.
std::string busiest_links(const Prediction& prediction) {
  if (prediction.links.empty()) return "-";
  const auto most =
      std::max_element(prediction.links.begin(), prediction.links.end(),
                       [](const LinkClassUse& a, const LinkClassUse& b) { return a.held_s < b.held_s; });
  if (most->held_s > 0.0) return most->name + " binds";
  const LinkClassUse& busiest = prediction.links.front();
  return fmt::format("{} {:.0f} %", busiest.name, 100.0 * busiest.max_use);
}

std::string curve_table(const Scaling& scaling) {
  TextTable table({">GPUs", ">data", ">global batch", ">step", ">tokens/s", ">per GPU", ">MFU", ">efficiency",
                   "", "[central 80 %]", ">memory", "links"});
  for (const ScalingPoint& point : scaling.points) {
    if (!point.answer) {
      table.add({std::to_string(point.gpus), "-", "-", "refused"});
      continue;
    }
    const Prediction& prediction = point.answer->prediction;
    table.add({std::to_string(point.gpus), std::to_string(prediction.plan.data),
               std::to_string(point.global_batch), format_quantity(prediction.step_time),
               short_number(prediction.tokens_per_s), short_number(prediction.tokens_per_s / prediction.gpus),
               percent(prediction.mfu), percent(point.efficiency), bar(point.efficiency),
               fmt::format("[{}, {}]", percent(point.efficiency_interval[0]),
                           percent(point.efficiency_interval[1])),
               format_quantity(prediction.memory.peak) + (prediction.fits() ? "" : " does not fit"),
               busiest_links(prediction)});
  }
  return table.text();
}

std::string losses_table(const Scaling& scaling) {
  TextTable table({">GPUs", "loss by", ">of the step", ">time", "because"});
  bool any = false;
  for (const ScalingPoint& point : scaling.points) {
    std::vector<TermLoss> losses = point.losses;
    std::stable_sort(losses.begin(), losses.end(), [](const TermLoss& a, const TermLoss& b) {
      return std::abs(a.loss) > std::abs(b.loss);
    });
    for (const TermLoss& loss : losses) {
      if (std::abs(loss.loss) < kLeastLossShown) continue;
      any = true;
      table.add({std::to_string(point.gpus), std::string(name_of(loss.term)), signed_percent(loss.loss),
                 (loss.delta_s < 0 ? "-" : "+") + format_quantity(seconds(std::abs(loss.delta_s))),
                 loss.reason});
    }
  }
  return any ? table.text() : "  no term loses a thousandth of a step\n";
}

std::string refusals(const Scaling& scaling) {
  std::string text;
  for (const ScalingPoint& point : scaling.points) {
    if (point.answer) continue;
    text += fmt::format("  {} GPUs refused: {}", point.gpus, point.reason);
    for (size_t i = 0; i < point.nearest.size(); ++i)
      text += (i == 0 ? "; nearest legal: " : " or ") + std::to_string(point.nearest[i]);
    text += "\n";
  }
  return text;
}

}  // namespace

std::string scaling_text(const Scaling& scaling) {
  std::string text = fmt::format(
      "experiment {}, {} scaling ({}), engine {}{}, tier {}\n", scaling.name, name_of(scaling.kind),
      scaling.kind == ScalingKind::strong ? "the global batch stays"
                                          : "the global batch grows with the data degree",
      name_of(scaling.engine),
      scaling.engine == EngineKind::simulate
          ? fmt::format(" ({} scope)", scaling.full_scope ? "full" : "folded")
          : "",
      name_of(scaling.tier));
  for (const std::string& warning : scaling.warnings) text += "  warning  " + warning + "\n";
  if (scaling.points.empty()) return text + "interrupted before the first point\n";
  text += curve_table(scaling) + refusals(scaling);
  text += fmt::format(
      "efficiency is tokens/s per GPU over that on {} GPUs; the losses of a point add up to what it lacks of "
      "100 %\n",
      scaling.reference_gpus);
  return text + losses_table(scaling);
}

}  // namespace orrery
