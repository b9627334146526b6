// Folded against full scope over random configurations and fabrics, and laws of whole steps on them.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "reports/answers/predict.hpp"
#include "reports/experiment/experiment.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

constexpr int kConfigurations = 50;
/// Folded gives twins one rate: where each is free, they drift apart by fractions of a send.
constexpr double kScopesAgree = 0.005;

template <typename T>
T pick(std::mt19937_64& random, std::initializer_list<T> values) {
  return *(values.begin() + static_cast<std::ptrdiff_t>(random() % values.size()));
}

/// A plan of at most 512 GPUs on a fabric of some kind, oversubscription and routing.
Json random_experiment(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const int tensor = pick(random, {1, 2, 4, 8, 8, 16});
  const bool sharded = tensor < 16 && random() % 4 == 0;
  const int pipeline = sharded ? 1 : pick(random, {1, 2, 4});
  const int most = 512 / (tensor * pipeline);
  int data = 1 << (random() % 6);
  data = std::min(data, most);
  while (tensor * pipeline * data < 16) data *= 2;
  const int gpus = tensor * pipeline * data;
  const bool interleaved = pipeline > 1 && random() % 3 == 0;
  Json parallel = {{"tensor", tensor}, {"pipeline", pipeline}, {"data", data}, {"sequence", tensor > 1}};
  parallel["zero"] = sharded ? 3 : static_cast<int>(random() % 3);
  if (interleaved) parallel["interleave"] = 2;
  const bool overlap = random() % 2 == 0;
  if (!sharded) parallel["overlap"] = {{"gradient", overlap}};
  if (!sharded && parallel["zero"] != 0) parallel["overlap"]["parameter"] = overlap;
  Json fabric = {{"kind", pick<const char*>(random, {"leaf_spine", "rail_optimized", "single_switch"})}};
  if (fabric["kind"] != "single_switch") {
    fabric["oversubscription"] = Json::array({pick(random, {1.0, 1.0, 2.0, 4.0})});
    fabric["switch_radix"] = pick(random, {16, 32, 64});
  } else {
    fabric["switch_radix"] = 1024;
  }
  fabric["routing"] = pick<const char*>(random, {"static", "static", "ecmp", "adaptive"});
  const int micro_batches = pipeline * pick(random, {1, 2, 3});
  return {{"cluster", {{"preset", "dgx-a100-80gb"}, {"nodes", gpus / 8}, {"fabric", fabric}}},
          {"model",
           {{"layers", 8},
            {"hidden", 4096},
            {"heads", 32},
            {"ffn_hidden", 16384},
            {"vocab", 51200},
            {"norm", "layernorm"},
            {"activation", "gelu"},
            {"position", "learned"}}},
          {"training",
           {{"seq_length", 2048},
            {"global_batch", data * micro_batches},
            {"micro_batch", 1},
            {"precision", "bf16"},
            {"recompute", "full"}}},
          {"parallel", parallel}};
}

std::optional<Experiment> read(const Json& document) {
  try {
    return read_experiment(document, "test");
  } catch (const InputError&) {
    return std::nullopt;  // no such fabric
  }
}

/// The seed's experiment; on so few nodes that one tier of switches does, without oversubscription.
Json readable_experiment(std::uint64_t seed) {
  Json document = random_experiment(seed);
  if (!read(document)) document["cluster"]["fabric"].erase("oversubscription");
  return document;
}

/// The same with one cable between a leaf and a spine gone, where there is one.
Json with_failed_link(Json experiment) {
  experiment["cluster"]["fabric"]["failed_links"] = Json::array({Json::array({"leaf0", "spine0"})});
  return experiment;
}

/// The same with one such cable at half or a quarter of its rate.
Json with_degraded_link(Json experiment, std::uint64_t seed) {
  const char* const bandwidth = seed % 2 == 0 ? "100 Gb/s" : "50 Gb/s";
  experiment["cluster"]["fabric"]["degraded"] =
      Json::array({{{"link", Json::array({"leaf0", "spine0"})}, {"bandwidth", bandwidth}}});
  return experiment;
}

Prediction run(const Experiment& experiment, bool full) {
  PredictOptions options;
  options.full_scope = full;
  options.echo = false;
  return predict(experiment, options);
}

double step_s(const Prediction& prediction) { return prediction.step_time.base(); }

TEST(Folding, EqualsFullScopeOnRandomPlansAndFabrics) {
  int folded_count = 0;
  int unfolded_count = 0;
  int contended = 0;
  for (int seed = 0; seed < kConfigurations; ++seed) {
    Json document = readable_experiment(static_cast<std::uint64_t>(seed));
    if (seed % 7 == 3 && read(with_failed_link(document))) document = with_failed_link(document);
    const auto experiment = read(document);
    ASSERT_TRUE(experiment.has_value()) << document.dump();
    const Prediction folded = run(*experiment, false);
    (folded.full_scope ? unfolded_count : folded_count) += 1;
    contended += folded.contended ? 1 : 0;
    if (folded.full_scope) {
      const bool says_so = std::any_of(folded.warnings.begin(), folded.warnings.end(), [](const auto& line) {
        return line.find("all GPUs are simulated") != std::string::npos;
      });
      EXPECT_TRUE(says_so) << document.dump();
      continue;  // it is the full scope
    }
    const Prediction full = run(*experiment, true);
    EXPECT_NEAR(step_s(folded) / step_s(full), 1.0, kScopesAgree)
        << "seed " << seed << " " << document.dump();
  }
  // The draw must not have missed what it is for.
  EXPECT_GE(folded_count, 25);
  EXPECT_GE(contended, 10);
  EXPECT_GE(unfolded_count, 1);
}

TEST(Folding, EqualsFullScopeWhereACableIsDegraded) {
  int degraded = 0, folded_count = 0, unfolded_count = 0;
  for (std::uint64_t seed = 0; seed < kConfigurations; ++seed) {
    const auto experiment = read(with_degraded_link(readable_experiment(seed), seed));
    if (!experiment) continue;  // no such cable
    ++degraded;
    const Prediction folded = run(*experiment, false);
    (folded.full_scope ? unfolded_count : folded_count) += 1;
    if (folded.full_scope) continue;
    EXPECT_NEAR(step_s(folded) / step_s(run(*experiment, true)), 1.0, kScopesAgree) << "seed " << seed;
  }
  EXPECT_GE(degraded, 20);
  EXPECT_GE(folded_count, 5);
  EXPECT_GE(unfolded_count, 5);
}

TEST(Folding, EqualsFullScopeWhereLeavesEndWithinStages) {
  // Replicas in odd numbers: stages begin and end in the middle of a leaf, so some of their sends stay on it.
  // Mostly that holds nobody up, and folded must say so: it is what most clusters look like.
  int contended = 0;
  int folded_count = 0;
  for (std::uint64_t seed = 0; seed < kConfigurations; ++seed) {
    Json document = readable_experiment(seed);
    const int replica =
        document["parallel"]["tensor"].get<int>() * document["parallel"]["pipeline"].get<int>();
    const int data = std::array{3, 5, 6, 7, 12}[seed % 5];
    if (replica * data > 512 || replica * data % 8 != 0) continue;
    document["training"]["global_batch"] =
        document["training"]["global_batch"].get<int>() / document["parallel"]["data"].get<int>() * data;
    document["parallel"]["data"] = data;
    document["cluster"]["nodes"] = replica * data / 8;
    auto experiment = read(document);
    if (!experiment) {
      document["cluster"]["fabric"].erase("oversubscription");
      experiment = read(document);
    }
    if (!experiment) continue;
    const Prediction folded = run(*experiment, false);
    if (!folded.contended) continue;
    ++contended;
    if (folded.full_scope) continue;
    ++folded_count;
    EXPECT_NEAR(step_s(folded) / step_s(run(*experiment, true)), 1.0, kScopesAgree) << "seed " << seed;
  }
  EXPECT_GE(contended, 10);
  EXPECT_GE(folded_count, contended / 3);
}

TEST(Folding, SeesADegradedCableBesideACrowdedNic) {
  // Everybody's NIC is asked for most, as sends and reductions meet there; but they rarely do so at the same
  // time, and what holds the reduction of some rails up is the degraded cable.
  Json document = random_experiment(0);
  document["cluster"]["nodes"] = 12;
  document["cluster"]["fabric"] = {{"kind", "rail_optimized"}, {"routing", "static"}, {"switch_radix", 16}};
  document["parallel"] = {{"tensor", 16}, {"pipeline", 2}, {"data", 3}, {"sequence", true}, {"zero", 0}};
  document["parallel"]["interleave"] = 2;
  document["parallel"]["overlap"] = {{"gradient", true}};
  document["training"]["global_batch"] = 6;
  const auto experiment = read(with_degraded_link(document, 0));
  ASSERT_TRUE(experiment.has_value());
  EXPECT_NEAR(step_s(run(*experiment, false)) / step_s(run(*experiment, true)), 1.0, kScopesAgree);
}

TEST(Laws, HalvingTheFabricNeverSpeedsAStep) {
  int halved = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Json document = readable_experiment(seed);
    const auto whole = read(document);
    ASSERT_TRUE(whole.has_value());
    Json narrow = document;
    if (!narrow["cluster"]["fabric"].contains("oversubscription")) continue;
    const double before = narrow["cluster"]["fabric"]["oversubscription"][0];
    narrow["cluster"]["fabric"]["oversubscription"][0] = 2.0 * before;
    const auto half = read(narrow);
    if (!half) continue;
    ++halved;
    EXPECT_GE(step_s(run(*half, false)), step_s(run(*whole, false)) * (1.0 - kScopesAgree))
        << document.dump();
  }
  EXPECT_GE(halved, 5);
}

TEST(Laws, SymmetricRanksFinishTogether) {
  int symmetric = 0;
  for (const std::uint64_t seed : {2, 5, 8}) {
    Json document = readable_experiment(seed);
    document["cluster"]["fabric"]["routing"] = "static";
    const auto experiment = read(document);
    ASSERT_TRUE(experiment.has_value());
    const Prediction folded = run(*experiment, false);
    if (folded.full_scope) continue;  // not symmetric on this fabric
    ++symmetric;
    const Prediction full = run(*experiment, true);
    const WorkloadGraph& graph = full.simulated->graph;
    const int stages = experiment->parallel.pipeline;
    const int ranks = graph.ranks / stages;
    std::vector<double> last(static_cast<size_t>(graph.ranks), 0.0);
    for (size_t task = 0; task < graph.tasks.size(); ++task) {
      if (graph.tasks[task].kind != TaskKind::segment) continue;
      double& end = last[static_cast<size_t>(graph.tasks[task].rank)];
      end = std::max(end, full.simulated->timeline.end_s[task]);
    }
    for (int stage = 0; stage < stages; ++stage) {
      const auto begin = last.begin() + static_cast<std::ptrdiff_t>(stage) * ranks;
      const auto [first, latest] = std::minmax_element(begin, begin + ranks);
      EXPECT_NEAR(*first / *latest, 1.0, kScopesAgree) << document.dump();
    }
  }
  EXPECT_GE(symmetric, 1);
}

TEST(Laws, BytesOnTheLinksAreTheSameInBothScopes) {
  // Nothing is lost and nothing invented by folding: every link carries what it carries with all GPUs.
  for (const std::uint64_t seed : {3, 6, 11}) {
    const auto experiment = read(readable_experiment(seed));
    ASSERT_TRUE(experiment.has_value());
    const Prediction folded = run(*experiment, false);
    const Prediction full = run(*experiment, true);
    const auto& few = folded.simulated->timeline.link_bytes;
    const auto& all = full.simulated->timeline.link_bytes;
    ASSERT_EQ(few.size(), all.size());
    for (size_t link = 0; link < few.size(); ++link) {
      EXPECT_NEAR(few[link], all[link], 1e-9 * std::max(few[link], all[link])) << "link " << link;
    }
  }
}

TEST(Laws, DoublingTheNodesOfACrossNodeCollectiveChangesTheAnswer) {
  const auto with_data = [](int data) {
    Json document = readable_experiment(0);
    document["cluster"]["nodes"] = data;
    document["cluster"]["fabric"] = {{"kind", "leaf_spine"}, {"routing", "static"}};
    document["parallel"] = {{"tensor", 8}, {"data", data}, {"zero", 0}};
    document["training"]["global_batch"] = 2 * data;
    return step_s(run(*read(document), false));
  };
  // 2(n-1)/n of the gradients leave each node: 1.5 times from 4 nodes, 1.75 times from 8.
  EXPECT_GT(with_data(8), with_data(4) * 1.0001);
}

}  // namespace
}  // namespace orrery
