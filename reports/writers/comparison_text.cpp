#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "reports/writers/comparison_writer.hpp"
#include "reports/writers/prediction_title.hpp"
#include "reports/writers/text_table.hpp"
#include "sim/base/unit_text.hpp"

namespace orrery {
namespace {

constexpr double kNegligibleShare = 1e-9;  // what rounding leaves
constexpr size_t kMostInputs = 20;         // another cluster or model differs in every value
constexpr size_t kLongestValue = 60;

std::string signed_seconds(double value) {
  if (value == 0.0) return "0";
  return (value < 0 ? "-" : "+") + format_quantity(seconds(std::abs(value)));
}

std::string value_text(const Json& value) {
  if (value.is_null()) return "-";
  std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  if (text.size() > kLongestValue) text = text.substr(0, kLongestValue) + "...";
  return text;
}

std::string heading(const Comparison& comparison) {
  const Prediction& a = comparison.a.prediction;
  const Prediction& b = comparison.b.prediction;
  std::string text = fmt::format(
      "A  {}\nB  {}\nengine {}{}, tier {}\n", titled(a), titled(b), name_of(a.engine),
      a.engine == EngineKind::simulate ? fmt::format(" ({} scope)", a.full_scope ? "full" : "folded") : "",
      name_of(a.tier));
  for (const std::string& warning : comparison.warnings) text += "  warning  " + warning + "\n";
  // A warning that both predictions carry is printed once.
  for (const std::string& warning : a.warnings) {
    const bool both = std::find(b.warnings.begin(), b.warnings.end(), warning) != b.warnings.end();
    text += fmt::format("  warning  {}: {}\n", both ? "A and B" : "A", warning);
  }
  for (const std::string& warning : b.warnings) {
    if (std::find(a.warnings.begin(), a.warnings.end(), warning) == a.warnings.end())
      text += "  warning  B: " + warning + "\n";
  }
  return text;
}

std::string inputs_table(const Comparison& comparison) {
  if (comparison.inputs.empty()) return "nothing differs between the inputs\n";
  TextTable table({"what differs", "A", "B"});
  const size_t shown = std::min(comparison.inputs.size(), kMostInputs);
  for (size_t i = 0; i < shown; ++i) {
    const InputDifference& input = comparison.inputs[i];
    table.add({input.path, value_text(input.a), value_text(input.b)});
  }
  std::string text = table.text();
  if (shown < comparison.inputs.size())
    text += fmt::format("  and {} more (--format json lists all)\n", comparison.inputs.size() - shown);
  return text;
}

std::string ratio_text(double a, double b) {
  if (a == b) return "0";
  return a > 0.0 ? signed_percent(b / a - 1.0) : "-";
}

std::string summary_table(const Comparison& comparison) {
  const Prediction& a = comparison.a.prediction;
  const Prediction& b = comparison.b.prediction;
  TextTable table({"", ">A", ">B", ">change"});
  const auto row = [&table](const char* what, const std::string& left, const std::string& right,
                            const std::string& change) {
    table.add({what, left, right, change});
  };
  row("step", format_quantity(a.step_time), format_quantity(b.step_time),
      comparison.delta_s == 0.0 ? "0" : signed_percent(comparison.relative_change()));
  const auto number = [&](const char* what, double left, double right) {
    row(what, short_number(left), short_number(right), ratio_text(left, right));
  };
  number("tokens/s", a.tokens_per_s, b.tokens_per_s);
  number("tokens/s per GPU", a.tokens_per_s / a.gpus, b.tokens_per_s / b.gpus);
  row("MFU", percent(a.mfu), percent(b.mfu), ratio_text(a.mfu, b.mfu));
  row("memory", format_quantity(a.memory.peak) + (a.fits() ? "" : " does not fit"),
      format_quantity(b.memory.peak) + (b.fits() ? "" : " does not fit"),
      ratio_text(a.memory.peak.base(), b.memory.peak.base()));
  if (comparison.a.usd_per_hour && comparison.b.usd_per_hour) {
    const auto cost = [](const ComparablePrediction& side) {
      return *side.usd_per_hour / 3600.0 / side.prediction.tokens_per_s * 1e6;
    };
    number("USD per million tokens", cost(comparison.a), cost(comparison.b));
  }
  return table.text();
}

std::string terms_table(const Comparison& comparison) {
  const double step = comparison.a.prediction.step_time.base();
  TextTable table({"where the difference is", ">A", ">B", ">difference", ">of A's step", "because"});
  for (const TermDifference& term : comparison.terms) {
    if (std::max({term.a_s, term.b_s, std::abs(term.delta_s)}) <= kNegligibleShare * step) continue;
    const bool moved = std::abs(term.delta_s) > kNegligibleShare * step;
    table.add({std::string(name_of(term.term)), format_quantity(seconds(term.a_s)),
               format_quantity(seconds(term.b_s)), moved ? signed_seconds(term.delta_s) : "0",
               moved ? signed_percent(term.delta_s / step) : "0", term.reason});
  }
  table.add({"step", format_quantity(comparison.a.prediction.step_time),
             format_quantity(comparison.b.prediction.step_time), signed_seconds(comparison.delta_s),
             signed_percent(comparison.relative_change()), ""});
  return table.text();
}

std::string operations_table(const Comparison& comparison) {
  if (comparison.operations.empty()) return "";
  TextTable table({"communication", "operation", "side", ">ranks", ">calls", ">bytes a step", ">total",
                   ">exposed", ">bus bandwidth", "algorithm"});
  for (const OperationPair& pair : comparison.operations) {
    for (const auto& [side, use] : {std::pair("A", &pair.a), std::pair("B", &pair.b)}) {
      if (use->count == 0) continue;
      table.add({std::string(name_of(pair.group)), std::string(name_of(pair.op)), side,
                 std::to_string(use->ranks), std::to_string(use->count), format_quantity(Bytes(use->bytes)),
                 format_quantity(seconds(use->total_s)), format_quantity(seconds(use->exposed_s)),
                 format_quantity(BytesPerSecond(use->bus_bandwidth)), use->algorithm + " " + use->protocol});
    }
  }
  return table.text();
}

/// Of each side the busiest classes of links, and those that held somebody up.
std::string links_table(const Comparison& comparison) {
  constexpr size_t kBusiest = 3;
  if (comparison.a.prediction.links.empty() && comparison.b.prediction.links.empty()) return "";
  TextTable table({"links", "side", ">mean use", ">busiest one", "from", "to", ">held flows up for"});
  for (const auto& [name, side] : {std::pair("A", &comparison.a), std::pair("B", &comparison.b)}) {
    const std::vector<LinkClassUse>& links = side->prediction.links;
    for (size_t i = 0; i < links.size(); ++i) {
      const LinkClassUse& use = links[i];
      if (i >= kBusiest && use.held_s <= 0.0) continue;
      table.add({use.name, name, percent(use.mean_use), percent(use.max_use), use.busiest_from,
                 use.busiest_to, use.held_s > 0.0 ? format_quantity(seconds(use.held_s)) : "-"});
    }
  }
  return table.text();
}

}  // namespace

std::string comparison_text(const Comparison& comparison) {
  const std::string interval =
      comparison.delta_s == 0.0 && comparison.interval[0] == 0.0
          ? ""
          : fmt::format("difference {}  [{}, {}: central 80 %; errors that A and B share cancel]\n",
                        signed_seconds(comparison.delta_s), signed_seconds(comparison.interval[0]),
                        signed_seconds(comparison.interval[1]));
  return heading(comparison) + inputs_table(comparison) + comparison.explanation + "\n" + interval +
         summary_table(comparison) + terms_table(comparison) + operations_table(comparison) +
         links_table(comparison);
}

}  // namespace orrery
