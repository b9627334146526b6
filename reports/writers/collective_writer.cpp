#include "reports/writers/collective_writer.hpp"

#include <fmt/format.h>

#include "reports/experiment/version.hpp"
#include "reports/writers/json_text.hpp"
#include "reports/writers/text_table.hpp"
#include "sim/base/unit_text.hpp"

namespace orrery {
namespace {

std::string microseconds_text(Seconds time) { return fmt::format("{:.2f}", time.base() * 1e6); }
std::string gigabytes_text(double rate) { return fmt::format("{:.2f}", rate / 1e9); }

std::string title(const CollectiveAnswer& answer) {
  std::string text =
      fmt::format("{} on {} ranks of {}, {} a node on {} node{}", answer.op, answer.ranks, answer.gpu,
                  answer.ranks_per_node, answer.nodes, answer.nodes == 1 ? "" : "s");
  if (answer.domains != answer.nodes) {
    text += fmt::format(" ({} NVLink domain{})", answer.domains, answer.domains == 1 ? "" : "s");
  }
  if (answer.gpus_per_thread > 1) text += fmt::format(", {} GPUs a thread", answer.gpus_per_thread);
  if (answer.calls_in_a_row) text += fmt::format(", {} in a row", *answer.calls_in_a_row);
  text += fmt::format(", {}", answer.library);
  if (!answer.version.empty()) text += " " + answer.version;
  if (!answer.forced.empty()) text += fmt::format(", {} forced", answer.forced);
  return text + "\n";
}

std::string candidates_text(const CollectiveAnswerRow& row) {
  TextTable table({"algorithm", "protocol", ">estimate us", ">channels", ""});
  for (const CollectiveCandidate& each : row.candidates) {
    const bool runs = each.reason.empty();
    table.add({each.algorithm, each.protocol, runs ? microseconds_text(each.time) : "-",
               runs ? std::to_string(each.channels) : "-", each.chosen ? "chosen" : each.reason});
  }
  return table.text();
}

Json row_json(const CollectiveAnswerRow& row, bool explain) {
  Json json = {{"bytes", row.bytes},
               {"count", row.count},
               {"time_s", row.time.base()},
               {"algbw_bytes_per_s", row.algorithm_bandwidth},
               {"busbw_bytes_per_s", row.bus_bandwidth},
               {"algorithm", row.algorithm},
               {"protocol", row.protocol},
               {"timed_as", row.timed_as},
               {"channels", row.channels},
               {"evidence", name_of(row.evidence)},
               {"relative_spread", row.relative_spread}};
  if (!explain) return json;
  json["why"] = row.why;
  json["candidates"] = Json::array();
  for (const CollectiveCandidate& each : row.candidates) {
    Json candidate = {
        {"algorithm", each.algorithm}, {"protocol", each.protocol}, {"enabled", each.reason.empty()}};
    if (each.reason.empty()) {
      candidate["estimate_s"] = each.time.base();
      candidate["channels"] = each.channels;
      candidate["chosen"] = each.chosen;
    } else {
      candidate["reason"] = each.reason;
    }
    json["candidates"].push_back(std::move(candidate));
  }
  return json;
}

}  // namespace

std::string collective_text(const CollectiveAnswer& answer, bool explain) {
  std::string text = title(answer);
  text += fmt::format(
      "  times  {}{}\n", answer.source,
      answer.profile_error > 0.0 ? fmt::format(" (typical error {})", percent(answer.profile_error)) : "");
  if (!answer.tuner_source.empty()) text += fmt::format("  choice {}\n", answer.tuner_source);
  for (const std::string& note : answer.notes) text += fmt::format("  note   {}\n", note);
  text += "\n";
  TextTable table({">size B", ">count", ">time us", ">algbw GB/s", ">busbw GB/s", "algorithm", "protocol",
                   ">channels", "evidence", ">spread"});
  for (const CollectiveAnswerRow& row : answer.rows) {
    table.add({fmt::format("{:.0f}", row.bytes), fmt::format("{:.0f}", row.count),
               microseconds_text(row.time), gigabytes_text(row.algorithm_bandwidth),
               gigabytes_text(row.bus_bandwidth), row.algorithm, row.protocol, std::to_string(row.channels),
               std::string(name_of(row.evidence)), percent(row.relative_spread)});
  }
  text += table.text();
  if (!explain) return text;
  for (const CollectiveAnswerRow& row : answer.rows) {
    text += fmt::format("\n{:.0f} B: {} {}: {}\n", row.bytes, row.algorithm, row.protocol, row.why);
    text += fmt::format("  time {} us as {}: {}, one standard deviation {}\n", microseconds_text(row.time),
                        row.timed_as, name_of(row.evidence), percent(row.relative_spread));
    if (!row.candidates.empty()) text += candidates_text(row);
  }
  return text;
}

std::string collective_json(const CollectiveAnswer& answer, bool explain) {
  Json json = {
      {"schema", "orrery.collective/1"},
      {"op", answer.op},
      {"gpu", answer.gpu},
      {"cluster", answer.cluster},
      {"ranks", answer.ranks},
      {"nodes", answer.nodes},
      {"domains", answer.domains},
      {"ranks_per_node", answer.ranks_per_node},
      {"library", {{"name", answer.library}, {"version", answer.version}, {"source", answer.tuner_source}}},
      {"calibration", {{"source", answer.source}, {"collective_error", answer.profile_error}}}};
  if (answer.gpus_per_thread > 1) json["gpus_per_thread"] = answer.gpus_per_thread;
  if (answer.calls_in_a_row) json["calls_in_a_row"] = *answer.calls_in_a_row;
  if (!answer.forced.empty()) json["forced_algorithm"] = answer.forced;
  json["rows"] = Json::array();
  for (const CollectiveAnswerRow& row : answer.rows) json["rows"].push_back(row_json(row, explain));
  json["warnings"] = answer.notes;
  json["resolved"] = resolved_cluster_json(answer.resolved);
  json["run"] = {{"version", version()}, {"inputs", {{"cluster", answer.cluster_hash}}}};
  return json_text(json);
}

std::string collective_csv(const CollectiveAnswer& answer) {
  std::string text =
      "bytes,count,time_s,algbw_bytes_per_s,busbw_bytes_per_s,algorithm,protocol,channels,evidence,"
      "relative_spread\n";
  for (const CollectiveAnswerRow& row : answer.rows) {
    text += fmt::format("{:.0f},{:.0f},{},{},{},{},{},{},{},{}\n", row.bytes, row.count, row.time.base(),
                        row.algorithm_bandwidth, row.bus_bandwidth, row.algorithm, row.protocol, row.channels,
                        name_of(row.evidence), row.relative_spread);
  }
  return text;
}

}  // namespace orrery
