#include "reports/writers/calibration_writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "reports/writers/json_text.hpp"
#include "reports/writers/text_table.hpp"
#include "sim/base/unit_text.hpp"

namespace orrery {
namespace {

constexpr size_t kLongestSource = 110;

std::string basis_of(TableOrigin origin) {
  constexpr std::array<std::string_view, 4> kTexts = {"own rows", "lent", "base profile", "assumed"};
  return std::string(kTexts.at(static_cast<size_t>(origin)));
}

std::string shortened(const std::string& text) {
  return text.size() <= kLongestSource ? text : text.substr(0, kLongestSource - 3) + "...";
}

std::string count_or_dash(const FitError& error) { return error.rows > 0 ? std::to_string(error.rows) : "-"; }
std::string median_or_dash(const FitError& error) { return error.rows > 0 ? percent(error.median) : "-"; }
std::string p95_or_dash(const FitError& error) { return error.rows > 0 ? percent(error.p95) : "-"; }

std::string errors_table(const Calibration& calibration) {
  TextTable table({"op", "of", ">rows", ">median", ">p95", ">held out", ">median", ">p95"});
  for (const TableReport& report : calibration.tables) {
    const FitError& crossed = report.cross_validated;
    const FitError& fifth = report.held_out.fifth;
    if (crossed.rows == 0 && fifth.rows == 0) continue;
    table.add({report.op, report.subset, count_or_dash(crossed), median_or_dash(crossed),
               p95_or_dash(crossed), count_or_dash(fifth), median_or_dash(fifth), p95_or_dash(fifth)});
  }
  return table.text();
}

std::string worst_table(const TableReport& report) {
  TextTable table({"shape", ">measured", ">predicted", ">error"});
  for (const ShapeError& shape : report.held_out.worst) {
    table.add({shape.shape, format_quantity(shape.measured), format_quantity(shape.predicted),
               signed_percent(shape.error())});
  }
  return table.text();
}

/// Tables whose errors say nothing of where they come from.
bool needs_a_word(const TableReport& report) {
  return report.origin != TableOrigin::rows || report.cross_validated.rows == 0;
}

std::string origins_table(const Calibration& calibration) {
  TextTable table({"op", "of", "from", "evidence", "source"});
  for (const TableReport& report : calibration.tables) {
    if (!needs_a_word(report)) continue;
    table.add({report.op, report.subset, basis_of(report.origin), std::string(name_of(report.evidence)),
               shortened(report.source)});
  }
  return table.text();
}

Json profile_document(const Calibration& calibration) { return parse_json(calibration.text, "profile"); }

std::string range_text(const Json& range) {
  return fmt::format("{} to {}", short_number(range.at(0).get<double>()),
                     short_number(range.at(1).get<double>()));
}

std::string hull_table(const Json& hull) {
  TextTable table({"op", "of", "valid in"});
  for (const auto& [op, tables] : hull.items()) {
    for (const auto& [subset, ranges] : tables.items()) {
      std::string text;
      for (const auto& [name, range] : ranges.items())
        text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, range_text(range));
      if (!text.empty()) table.add({op, subset, text});
    }
  }
  return table.text();
}

std::string information_text(const KernelProfile& profile) {
  std::string text;
  for (const SustainedFactor& factor : profile.sustained) {
    text += fmt::format("  sustained {}: {:.3f} of the burst's rate ({})\n", name_of(factor.precision),
                        factor.factor, name_of(factor.evidence));
  }
  if (profile.power) {
    const PowerParameters& power = profile.power->parameters;
    text += fmt::format("  power: {:.0f} W idle, {:.0f} W more at the peak, {:.0f} W at the bandwidth ({})\n",
                        power.idle.base(), power.compute.base(), power.memory.base(),
                        name_of(profile.power->evidence));
  }
  for (const OverlapFigure& figure : profile.overlap) {
    text +=
        fmt::format("  products in {} beside {} on {} SMs: {:.2f} times as long ({} rows)\n",
                    name_of(figure.precision), figure.beside, figure.blocks, figure.slowdown, figure.rows);
  }
  for (const LaunchFigure& figure : profile.launch) {
    text += fmt::format("  launch {}: {} a kernel ({} rows)\n", figure.mode, format_quantity(figure.time),
                        figure.rows);
  }
  for (const CopyFigure& figure : profile.copy)
    text +=
        fmt::format("  copy {}: {} ({} rows)\n", figure.direction, format_quantity(figure.rate), figure.rows);
  if (!profile.collectives.is_null()) {
    text += fmt::format("  collectives inside a node: {} curves, {} off their rows from 1 MiB on\n",
                        profile.collectives.at("constants").at("curves").size(),
                        percent(profile.collectives.at("error").get<double>()));
  }
  return text;
}

Json error_json(const FitError& error) {
  return {{"rows", error.rows}, {"median", error.median}, {"p95", error.p95}};
}

Json table_json(const TableReport& report) {
  Json json = {{"op", report.op},
               {"precision", report.subset},
               {"from", name_of(report.origin)},
               {"evidence", name_of(report.evidence)},
               {"source", report.source}};
  if (report.cross_validated.rows > 0) json["cross_validated"] = error_json(report.cross_validated);
  if (report.held_out.fifth.rows == 0) return json;
  json["held_out"] = error_json(report.held_out.fifth);
  json["worst"] = Json::array();
  for (const ShapeError& shape : report.held_out.worst) {
    json["worst"].push_back({{"shape", shape.shape},
                             {"measured_s", shape.measured.base()},
                             {"predicted_s", shape.predicted.base()},
                             {"error", shape.error()}});
  }
  return json;
}

}  // namespace

std::string calibration_argument(const std::string& out) {
  const bool is_file = out.find('/') != std::string::npos || out.ends_with(".json");
  return is_file ? out : "./" + out;
}

std::string calibration_text(const Calibration& calibration, const std::string& out) {
  const KernelProfile& profile = calibration.profile;
  std::string text = fmt::format("calibration of {} from {} lines of {} files, {}\n", profile.gpu,
                                 calibration.lines, calibration.files.size(),
                                 calibration.base.empty() ? "without a base" : "over " + calibration.base);
  for (const std::string& warning : calibration.warnings) text += "  warning  " + warning + "\n";
  if (std::any_of(calibration.tables.begin(), calibration.tables.end(), needs_a_word)) {
    text += "\nLent, taken from a base, assumed, or a single figure:\n" + origins_table(calibration);
  }
  text += fmt::format(
      "\nErrors on shapes whose family was left out (cross-validated; and a held-out fifth, seed {}):\n",
      calibration.seed);
  text += errors_table(calibration);
  for (const TableReport& report : calibration.tables) {
    if (report.held_out.worst.empty()) continue;
    text += fmt::format("\nWorst of {} {}, left out in fifths:\n", report.op, report.subset);
    text += worst_table(report);
  }
  text += "\nRanges that the rows cover; beyond them a prediction says extrapolated:\n";
  text += hull_table(profile_document(calibration).at("hull"));
  if (const std::string information = information_text(profile); !information.empty())
    text += "\nAlso in the profile:\n" + information;
  text += fmt::format("\nprofile {} written to {}; use it with --calibration {}\n", profile.hash, out,
                      calibration_argument(out));
  return text;
}

Json calibration_json(const Calibration& calibration, const std::string& out) {
  Json json = profile_document(calibration);
  json.erase("shapes");
  Json tables = Json::array();
  for (const TableReport& report : calibration.tables) tables.push_back(table_json(report));
  json["report"] = {{"out", out},
                    {"files", calibration.files},
                    {"lines", calibration.lines},
                    {"base", calibration.base.empty() ? Json(nullptr) : Json(calibration.base)},
                    {"seed", calibration.seed},
                    {"tables", std::move(tables)},
                    {"warnings", calibration.warnings}};
  return json;
}

std::string calibration_csv(const Calibration& calibration) {
  std::string text =
      "op,precision,from,evidence,rows,median,p95,held_out_rows,held_out_median,held_out_p95,source\n";
  const auto figures = [](const FitError& error) {
    return error.rows > 0 ? fmt::format("{},{},{}", error.rows, error.median, error.p95) : std::string(",,");
  };
  for (const TableReport& report : calibration.tables) {
    text += fmt::format("{},{},{},{},{},{},{}\n", csv_field(report.op), csv_field(report.subset),
                        name_of(report.origin), name_of(report.evidence), figures(report.cross_validated),
                        figures(report.held_out.fifth), csv_field(report.source));
  }
  return text;
}

}  // namespace orrery
