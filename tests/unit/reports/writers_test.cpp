#include <gtest/gtest.h>

#include <array>
#include <map>

#include "reports/writers/chrome_trace.hpp"
#include "reports/writers/json_text.hpp"
#include "reports/writers/prediction_writer.hpp"
#include "reports/writers/text_table.hpp"
#include "reports/writers/validation_writer.hpp"
#include "tests/prediction_keys.hpp"

namespace orrery {
namespace {

TEST(CsvField, IsQuotedWhereCommasQuotesOrLineEndsStand) {
  EXPECT_EQ(csv_field("plain"), "plain");
  EXPECT_EQ(csv_field("a,b"), "\"a,b\"");
  EXPECT_EQ(csv_field("say \"no\""), "\"say \"\"no\"\"\"");
  EXPECT_EQ(csv_field("two\nlines"), "\"two\nlines\"");
}

TEST(TextTable, AlignsColumnsAndDropsTrailingBlanks) {
  TextTable table({"name", ">time"});
  table.add({"a", "1 s"});
  table.add({"longer", "10 s"});
  table.add({"none"});
  EXPECT_EQ(table.text(),
            "  name    time\n"
            "  a        1 s\n"
            "  longer  10 s\n"
            "  none\n");
}

TEST(Numbers, AreShortAndSigned) {
  EXPECT_EQ(percent(0.4131), "41.3 %");
  EXPECT_EQ(signed_percent(0.05), "+5.0 %");
  EXPECT_EQ(signed_percent(-0.0312), "-3.1 %");
  EXPECT_EQ(short_number(1536.4), "1536");
  EXPECT_EQ(short_number(4.2149), "4.21");
}

Prediction one_gpu_prediction() {
  Prediction prediction;
  prediction.name = "one, two";
  prediction.gpus = 2;
  prediction.gpu = "h100-sxm-80gb";
  prediction.step_time = seconds(2.0);
  prediction.interval = {seconds(1.8), seconds(2.2)};
  prediction.model_flops = Flops(4e14);
  prediction.hardware_flops = Flops(6e14);
  prediction.samples_per_s = 8;
  prediction.tokens_per_s = 16384;
  prediction.breakdown[static_cast<size_t>(BreakdownTerm::forward)] = 0.5;
  prediction.breakdown[static_cast<size_t>(BreakdownTerm::backward)] = 1.5;
  prediction.memory.peak = gibibytes(90);
  prediction.memory.per_stage_peak = {gibibytes(90)};
  prediction.memory_capacity = gibibytes(80);
  prediction.plan.data = 2;
  prediction.plan.stage_layers = {4};
  prediction.micro_batches = 4;
  prediction.experiment.values = Json::object();
  prediction.experiment.origins = Json::object();
  return prediction;
}

TEST(PredictionJson, HasTheContractsKeysAndRates) {
  const Json json = prediction_json(one_gpu_prediction());
  test::expect_prediction_keys(json);
  EXPECT_EQ(json["breakdown_s"].size(), 13U);
  EXPECT_EQ(json["breakdown_evidence"].size(), 13U);
  // 4e14 FLOPs in 2 s on 2 GPUs: 100 TFLOP/s each; with recomputation 150.
  EXPECT_DOUBLE_EQ(json["model_tflops_per_gpu"].get<double>(), 100.0);
  EXPECT_DOUBLE_EQ(json["hardware_tflops_per_gpu"].get<double>(), 150.0);
  EXPECT_DOUBLE_EQ(json["tokens_per_s_per_gpu"].get<double>(), 8192.0);
  EXPECT_EQ(json["memory"]["fits"], false);
  EXPECT_EQ(json["memory"]["peak_bytes"], 90LL << 30);
  EXPECT_EQ(json["plan"]["micro_batches"], 4);
  EXPECT_EQ(json.at("measured"), Json::object());
  EXPECT_TRUE(json.at("error").is_null());
}

TEST(PredictionText, SaysWhatDoesNotFit) {
  const std::string text = prediction_text(one_gpu_prediction());
  EXPECT_NE(text.find("memory 90 GiB of 80 GiB on stage 0: does not fit"), std::string::npos) << text;
}

TEST(PredictionCsv, HasAsManyValuesAsColumns) {
  const std::string csv = prediction_csv(one_gpu_prediction());
  EXPECT_EQ(csv.rfind("schema,name,engine", 0), 0U);
  EXPECT_NE(csv.find("\norrery.prediction/1,\"one, two\",simulate"), std::string::npos);
  EXPECT_NE(csv.find("breakdown_s.forward"), std::string::npos);
}

TEST(ValidationText, NamesTheRefusedRows) {
  Validation validation;
  for (const char* id : {"a", "b", "c", "d", "e"}) {
    validation.rows.emplace_back();
    validation.rows.back().id = id;
    validation.rows.back().reason = validation.rows.size() == 2 ? "y" : "x";
  }
  validation.refusals = count_refusals(validation.rows);
  const std::string text = validation_text(validation);
  EXPECT_NE(text.find("             4  x       a, c, d and 1 more\n             1  y       b\n"),
            std::string::npos)
      << text;
}

TEST(ValidationCsv, KeepsItsColumnsForRefusedRows) {
  Validation validation;
  validation.rows.resize(1);
  validation.rows[0].id = "a";
  validation.rows[0].reason = "x, y";
  const std::string csv = validation_csv(validation);
  const std::string header = csv.substr(0, csv.find('\n'));
  const std::string row = csv.substr(csv.find('\n') + 1);
  const auto commas = [](const std::string& line) { return std::count(line.begin(), line.end(), ','); };
  EXPECT_EQ(commas(row), commas(header) + 1);  // one more stands inside the quoted reason
}

TEST(ValidationJson, WritesNullWhereNothingWasScored) {
  Validation validation;
  validation.rows.resize(1);
  validation.summary = summarize(validation.rows);
  const Json json = validation_json(validation);
  EXPECT_EQ(json["schema"], "orrery.validation/1");
  EXPECT_TRUE(json["summary"][0]["mape"].is_null());
  EXPECT_EQ(json["rows"][0]["status"], "refused");
}

/// Two ranks: each a segment of two pieces (1 s and 3 s), then a send from rank 0 to rank 1.
SimulatedStep two_ranks() {
  WorkloadGraphBuilder builder(2);
  Segment segment;
  segment.name = "forward";
  segment.pieces = {{"first", BreakdownTerm::forward, seconds(1), Evidence::measured, 0},
                    {"second", BreakdownTerm::forward, seconds(3), Evidence::measured, 1}};
  segment.duration = seconds(4);
  const std::int32_t forward = builder.add_segment(segment);
  Communication send;
  send.group = GroupKind::pipeline;
  send.op = CollectiveOp::send_receive;
  send.payload = Bytes(100);
  send.groups = {{0, 1}};
  const std::int32_t sending = builder.add_communication(send);
  const std::int32_t first = builder.add_task({TaskKind::segment, 0, forward, 0, 0, 0});
  const std::array<std::int32_t, 2> both = {0, 1};
  const std::int32_t second = builder.add_task({TaskKind::communication, 0, sending, 0, 0, 3}, both);
  builder.depend(second, first);
  SimulatedStep step;
  step.graph = builder.finish();
  step.graph.rank_names = {"stage 0", "stage 1"};
  step.timeline.start_s = {0.0, 8.0};
  step.timeline.end_s = {8.0, 9.0};  // the segment took twice the sum of its pieces
  step.timeline.makespan_s = 9.0;
  return step;
}

TEST(ChromeTrace, ExpandsPiecesEvenlyAndShowsACommunicationOnEveryRank) {
  const Json trace = Json::parse(chrome_trace(two_ranks()));
  Json complete = Json::array();
  for (const Json& event : trace["traceEvents"]) {
    if (event["ph"] == "X") complete.push_back(event);
  }
  ASSERT_EQ(complete.size(), 4U);
  EXPECT_EQ(complete[0]["name"], "first");
  EXPECT_DOUBLE_EQ(complete[0]["dur"].get<double>(), 2e6);  // 1 s of 4, stretched to 8
  EXPECT_DOUBLE_EQ(complete[1]["ts"].get<double>(), 2e6);
  EXPECT_DOUBLE_EQ(complete[1]["dur"].get<double>(), 6e6);
  EXPECT_EQ(complete[2]["name"], "pipeline send_receive");
  EXPECT_EQ(complete[2]["pid"], 0);
  EXPECT_EQ(complete[2]["tid"], 3);  // pipeline send
  EXPECT_EQ(complete[3]["pid"], 1);
  EXPECT_EQ(complete[3]["tid"], 4);  // pipeline receive
  EXPECT_DOUBLE_EQ(complete[3]["ts"].get<double>(), 8e6);
}

// Rank 1 gets an activation from rank 0 and a gradient from rank 2 at the same time: a viewer shows no two
// events of a thread that overlap without one holding the other (Trace Event Format, duration events).
TEST(ChromeTrace, ShowsTransfersInFlightAtOnceOnThreadsOfTheirOwn) {
  WorkloadGraphBuilder builder(3);
  const auto send = [&](std::int32_t from, std::int16_t stream) {
    Communication communication;
    communication.group = GroupKind::pipeline;
    communication.op = CollectiveOp::send_receive;
    communication.payload = Bytes(100);
    communication.groups = {{from, 1}};
    const std::array<std::int32_t, 2> both = {from, 1};
    builder.add_task({TaskKind::communication, from, builder.add_communication(communication), 0, 0, stream},
                     both);
  };
  send(0, 3);
  send(2, 4);
  send(0, 3);
  SimulatedStep step;
  step.graph = builder.finish();
  step.timeline.start_s = {1.0, 0.0, 2.0};
  step.timeline.end_s = {2.0, 1.5, 3.0};
  step.timeline.makespan_s = 3.0;
  std::map<int, std::vector<std::pair<double, double>>> received;
  std::map<int, std::string> names;
  const Json trace = Json::parse(chrome_trace(step));
  for (const Json& event : trace["traceEvents"]) {
    if (event["pid"] != 1) continue;
    const int thread = event["tid"].get<int>();
    if (event["name"] == "thread_name") names[thread] = event["args"]["name"].get<std::string>();
    if (event["ph"] == "X") received[thread].emplace_back(event["ts"], event["dur"]);
  }
  ASSERT_EQ(received.size(), 2U);
  const auto& [first, gradient] = *received.begin();
  const auto& [second, activations] = *std::next(received.begin());
  EXPECT_EQ(names[first], "pipeline receive");
  EXPECT_EQ(names[second], "pipeline receive 2");
  EXPECT_EQ(gradient, (std::vector<std::pair<double, double>>{{0.0, 1.5e6}, {2e6, 1e6}}));
  EXPECT_EQ(activations, (std::vector<std::pair<double, double>>{{1e6, 1e6}}));
}

}  // namespace
}  // namespace orrery
