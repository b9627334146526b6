// The what-ifs of docs/what-if.md. Expected directions and sizes come from what capacity remains.
#include <gtest/gtest.h>

#include <cmath>

#include "sim/base/json_reader.hpp"
#include "tests/cli/cli_program.hpp"
#include "tests/validation/what_if/what_if_document.hpp"

namespace orrery::test {
namespace {

Json compared(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "compare");
  arguments.insert(arguments.end(), {"--format", "json"});
  const CliRun run = run_orrery(arguments);
  EXPECT_TRUE(run.exit_code == 0 || run.exit_code == 3) << run.err;
  return run.out.empty() ? Json() : run.json();
}

Json term(const Json& comparison, const std::string& name) {
  for (const Json& term : comparison["terms"]) {
    if (term["term"] == name) return term;
  }
  return {};
}

/// In flight, B over A, of an operation that both have and that differs; one where it does not differ.
double time_ratio(const Json& comparison, const std::string& group, const std::string& op) {
  for (const Json& pair : comparison["communication"]) {
    if (pair["group"] == group && pair["op"] == op)
      return pair["b"]["total_s"].get<double>() / pair["a"]["total_s"].get<double>();
  }
  return 1.0;
}

/// In flight, B less A, all operations together.
double added_in_flight(const Json& comparison) {
  double added = 0.0;
  for (const Json& pair : comparison["communication"])
    added += pair["b"]["total_s"].get<double>() - pair["a"]["total_s"].get<double>();
  return added;
}

/// A fabric moves communication and what waits for it. Kernels beside a collective keep at least half of
/// their speed (none of those measured loses a third), so that compute moves by half of the difference in
/// flight at most.
void expect_only_waiting_changes(const Json& comparison) {
  const double most = 0.5 * std::abs(added_in_flight(comparison));
  for (const char* compute : {"forward", "backward", "recompute", "optimizer"})
    EXPECT_LE(std::abs(term(comparison, compute)["delta_s"].get<double>()), most) << compute;
}

constexpr const char* kLeafSpine = "llama3-70b-512-h100-leaf-spine";

// Half the uplinks are left and, at 1:1, every one of them carried one ring: what crosses takes at most twice
// as long; less where a ring did not fill its uplink. The gathers of all four stages of a leaf start together
// and fill it; the stages reduce one after the other, each with a quarter of the leaf's NICs. Overlap may
// hide any part of that, so that the step loses no more than the transfers do.
TEST(TwoToOne, DoublesWhatCrossesTheLeaves) {
  const Json json = compared({kLeafSpine, "llama3-70b-512-h100-leaf-spine-2to1"});
  ASSERT_EQ(json["inputs"].size(), 1U);
  EXPECT_EQ(json["inputs"][0]["path"], "cluster.fabric.oversubscription");
  const double scatter = time_ratio(json, "data", "reduce_scatter"),
               gather = time_ratio(json, "data", "all_gather");
  EXPECT_GE(scatter, 1.0);
  EXPECT_LE(scatter, 2.0 + 1e-9);
  EXPECT_GT(gather, 1.0);
  EXPECT_LE(gather, 2.0 + 1e-9);
  EXPECT_GT(json["delta_s"], 0.0);
  EXPECT_GT(term(json, "data_comm_exposed")["delta_s"], 0.0);
  expect_only_waiting_changes(json);
  // One per cent: what other stages' transfers lose reaches this rank as bubble.
  EXPECT_LE(json["delta_s"].get<double>(), 1.01 * added_in_flight(json));
}

// Seven NICs carry what eight did: 8/7 where all of them share it, twice as long where two rings meet on one.
// What of a call is latency and filling of the pipeline does not grow: about an eighth of these calls.
TEST(LostRail, LeavesSevenNicsForEightRings) {
  const Json json = compared({"llama3-70b-512-h100-rail", "llama3-70b-512-h100-rail-3-lost"});
  for (const char* op : {"reduce_scatter", "all_gather"}) {
    const double ratio = time_ratio(json, "data", op);
    EXPECT_GE(ratio, 1.0 + 0.8 * (8.0 / 7.0 - 1.0)) << op;
    EXPECT_LE(ratio, 2.0 + 1e-9) << op;
  }
  EXPECT_GT(json["delta_s"], 0.0);
  expect_only_waiting_changes(json);
}

// Twice the line rate: a transfer takes no less than half its time, and no longer.
TEST(DoubleLinkRate, HalvesTransfersAtBest) {
  const Json json = compared({kLeafSpine, "llama3-70b-512-h100-leaf-spine-800g"});
  for (const char* op : {"reduce_scatter", "all_gather"}) {
    const double ratio = time_ratio(json, "data", op);
    EXPECT_GE(ratio, 0.5 - 1e-9) << op;
    EXPECT_LT(ratio, 1.0) << op;
  }
  EXPECT_LT(json["delta_s"], 0.0);
  expect_only_waiting_changes(json);
}

// Between two nodes a tensor group's ring has the eight NICs of a node, 8 x 50 GB/s, inside an NVLink domain
// the 900 GB/s of a GPU: faster, by 900 / 400 at most, since a library reaches no larger share of NVLink than
// of NICs.
TEST(NvlinkDomain, TakesTheCrossNodeTensorGroupsIn) {
  const Json json = compared({"llama3-405b-512-b200", "llama3-405b-512-gb200-nvl72"});
  for (const char* op : {"all_gather", "reduce_scatter"}) {
    const double ratio = time_ratio(json, "tensor", op);
    EXPECT_LT(ratio, 1.0) << op;
    EXPECT_GE(ratio, 400.0 / 900.0) << op;
  }
  EXPECT_LT(term(json, "tensor_comm_exposed")["delta_s"], 0.0);
  EXPECT_LT(json["delta_s"], 0.0);
}

// docs/what-if.md holds what the program answers: run orrery_update_what_if docs/what-if.md after a change
// that moves it.
TEST(WhatIfDocument, HoldsWhatTheProgramAnswers) {
  const std::string document = read_text_file(std::string(ORRERY_SOURCE_DIR) + "/docs/what-if.md");
  EXPECT_EQ(document, with_answers(document));
}

TEST(WordsOf, SplitAsAShellDoes) {
  EXPECT_EQ(words_of("a  --set 'b=[1, 2]' c='d e'"),
            (std::vector<std::string>{"a", "--set", "b=[1, 2]", "c=d e"}));
}

}  // namespace
}  // namespace orrery::test
