#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "tests/cli/cli_program.hpp"
#include "tests/prediction_keys.hpp"

namespace orrery::test {
namespace {

std::vector<std::string> shipped_examples() {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(ORRERY_SOURCE_DIR) / "examples")) {
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

double sum_of_terms(const Json& prediction) {
  double sum = 0.0;
  for (const auto& [term, value] : prediction["breakdown_s"].items()) sum += value.get<double>();
  return sum;
}

class EveryExample : public testing::TestWithParam<std::string> {};

TEST_P(EveryExample, PredictsWithTheContractsKeys) {
  for (const std::string engine : {"estimate", "simulate"}) {
    const CliRun run = run_orrery({"predict", GetParam(), "--format", "json", "--engine", engine});
    ASSERT_TRUE(run.exit_code == 0 || run.exit_code == 3) << run.err;
    const Json json = run.json();
    expect_prediction_keys(json);
    EXPECT_EQ(json["engine"], engine);
    const double step = json["step_time_s"];
    EXPECT_GT(step, 0.0);
    EXPECT_NEAR(sum_of_terms(json), step, 1e-9 * std::max(step, 1.0));
    EXPECT_LE(json["step_time_interval_s"][0].get<double>(), step);
    EXPECT_GE(json["step_time_interval_s"][1].get<double>(), step);
    EXPECT_GT(json["mfu"].get<double>(), 0.0);
    EXPECT_LT(json["mfu"].get<double>(), 1.0);
    EXPECT_LE(json["mfu"].get<double>(), json["hfu"].get<double>());
    EXPECT_EQ(run.exit_code, json["memory"]["fits"].get<bool>() ? 0 : 3);
  }
}

TEST_P(EveryExample, GivesTheSameBytesTwice) {
  const std::vector<std::string> arguments = {"predict", GetParam(), "--format", "json"};
  EXPECT_EQ(run_orrery(arguments).out, run_orrery(arguments).out);
}

TEST_P(EveryExample, IsTheSameByNameByFileAndFromStandardInput) {
  const std::string file = std::string(ORRERY_SOURCE_DIR) + "/examples/" + GetParam() + ".json";
  const std::vector<std::string> options = {"--format", "json", "--engine", "estimate"};
  const auto predict = [&options](const std::string& experiment, const std::string& input) {
    std::vector<std::string> arguments = {"predict", experiment};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return run_orrery(arguments, input).out;
  };
  const std::string by_name = predict(GetParam(), "");
  ASSERT_FALSE(by_name.empty());
  EXPECT_EQ(by_name, predict(file, ""));
  EXPECT_EQ(by_name, predict("-", read_text_file(file)));
}

TEST_P(EveryExample, EchoesAnExperimentThatPredictsTheSame) {
  const std::vector<std::string> options = {"--format", "json", "--engine", "estimate"};
  const Json first = run_orrery({"predict", GetParam(), "--format", "json", "--engine", "estimate"}).json();
  const CliRun again =
      run_orrery({"predict", "-", "--format", "json", "--engine", "estimate"}, first["experiment"].dump());
  ASSERT_TRUE(again.exit_code == 0 || again.exit_code == 3) << again.err;
  EXPECT_EQ(again.json()["step_time_s"], first["step_time_s"]);
  // The echo gives what the first one took for granted, as far as it differs from a stack without the key.
  Json memory = again.json()["memory"];
  memory["assumed"] = first["memory"]["assumed"];
  EXPECT_EQ(memory, first["memory"]);
}

INSTANTIATE_TEST_SUITE_P(Shipped, EveryExample, testing::ValuesIn(shipped_examples()),
                         [](const auto& instance) {
                           std::string name = instance.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

Json predicted(const Json& experiment, std::vector<std::string> options = {}) {
  options.insert(options.begin(), {"predict", "-", "--format", "json"});
  const CliRun run = run_orrery(options, experiment.dump());
  EXPECT_TRUE(run.exit_code == 0 || run.exit_code == 3) << run.err;
  return run.out.empty() ? Json() : run.json();
}

TEST(PredictCommand, SaysWhatAVerdictOnMemoryTakesForGranted) {
  // Llama 3 8B under fp8 on 8 H100, context 2, data 4: neither type given. Two bytes more a parameter for
  // gradients in fp32, on one GPU all 8.03 billion of them; for weights of the layers' products kept in 16
  // bits, too, beside their two FP8 copies.
  const Json experiment = {
      {"cluster", {{"preset", "dgx-h100"}, {"nodes", 1}}},
      {"model", "llama3-8b"},
      {"training", {{"seq_length", 8192}, {"global_batch", 128}, {"micro_batch", 1}, {"precision", "fp8"}}},
      {"parallel", {{"context", 2}, {"zero", 1}}}};
  const Json memory = predicted(experiment, {"--engine", "estimate"})["memory"];
  const Json& assumed = memory["assumed"];
  ASSERT_EQ(assumed.size(), 2U) << memory;
  EXPECT_EQ(assumed[0]["key"], "training.gradient_dtype");
  EXPECT_EQ(assumed[0]["value"], "bf16");
  EXPECT_EQ(assumed[0]["otherwise"], "fp32");
  const double more = assumed[0]["peak_bytes"].get<double>() - memory["peak_bytes"].get<double>();
  EXPECT_NEAR(more, 2.0 * 8.03e9, 0.01 * more);
  EXPECT_EQ(assumed[1]["key"], "software.fp8_parameter_gather");
  EXPECT_EQ(assumed[1]["value"], "true");
  const Json given =
      predicted(Json::object({{"cluster", experiment["cluster"]},
                              {"model", "llama3-8b"},
                              {"training", experiment["training"]},
                              {"software", {{"gradient_dtype", "fp32"}, {"fp8_parameter_gather", true}}},
                              {"parallel", experiment["parallel"]}}),
                {"--engine", "estimate"})["memory"];
  EXPECT_EQ(given["assumed"], Json::array());
  EXPECT_EQ(given["peak_bytes"], assumed[0]["peak_bytes"]);
}

TEST(PredictCommand, SetChangesWhatIsPredictedAsTheFileWould) {
  Json changed = small_experiment();
  changed["parallel"]["tensor"] = 4;
  changed["model"] = {{"preset", "gpt3-1.7b"}, {"layers", 12}};
  const Json by_file = predicted(changed);
  const Json by_option =
      predicted(small_experiment(), {"--set", "parallel.tensor=4", "--set", "model.layers=12"});
  EXPECT_EQ(by_option["step_time_s"], by_file["step_time_s"]);
  EXPECT_EQ(by_option["plan"], by_file["plan"]);
  EXPECT_EQ(by_option["origins"]["/model/layers"], "given");
}

TEST(PredictCommand, ExitsWithThreeAndStillAnswersWhereMemoryDoesNotSuffice) {
  const CliRun run = run_orrery(
      {"predict", "-", "--format", "json", "--set", "model=gpt3-175b", "--set", "training.micro_batch=8"},
      small_experiment().dump());
  EXPECT_EQ(run.exit_code, 3) << run.err;
  EXPECT_EQ(run.json()["memory"]["fits"], false);
  EXPECT_GT(run.json()["step_time_s"].get<double>(), 0.0);
}

TEST(PredictCommand, EchoesTheMeasurementWithItsError) {
  Json experiment = small_experiment();
  experiment["measured"] = {{"step_time_s", 1000.0}};
  const Json json = predicted(experiment);
  EXPECT_EQ(json["measured"]["step_time_s"], 1000.0);
  EXPECT_DOUBLE_EQ(json["error"].get<double>(), json["step_time_s"].get<double>() / 1000.0 - 1.0);
}

TEST(PredictCommand, IsNotChangedByTheMeasurement) {
  Json experiment = small_experiment();
  const Json without = predicted(experiment);
  experiment["measured"] = {{"step_time_s", 1000.0}};
  EXPECT_EQ(predicted(experiment)["step_time_s"], without["step_time_s"]);
}

TEST(PredictCommand, ThroughputFollowsFromTheStepTime) {
  const Json json = predicted(small_experiment());
  const double step = json["step_time_s"];
  EXPECT_DOUBLE_EQ(json["samples_per_s"].get<double>(), 64 / step);
  EXPECT_DOUBLE_EQ(json["tokens_per_s"].get<double>(), 64.0 * 2048 / step);
  EXPECT_DOUBLE_EQ(json["tokens_per_s_per_gpu"].get<double>(), 64.0 * 2048 / step / 8);
  EXPECT_DOUBLE_EQ(json["model_tflops_per_gpu"].get<double>(),
                   json["model_flops_per_step"].get<double>() / step / 8 / 1e12);
  EXPECT_DOUBLE_EQ(json["mfu"].get<double>(),
                   json["model_tflops_per_gpu"].get<double>() / 312);  // A100 bf16 dense peak
}

TEST(PredictCommand, FoldedAndFullScopeAgreeOnOneNode) {
  const Json folded = predicted(small_experiment());
  const Json full = predicted(small_experiment(), {"--scope", "full"});
  EXPECT_EQ(full["scope"], "full");
  EXPECT_NEAR(full["step_time_s"].get<double>() / folded["step_time_s"].get<double>(), 1.0,
              0.005);  // design.md 4
}

TEST(PredictCommand, DatasheetTierRestsOnNothingMeasured) {
  const Json json = predicted(small_experiment(), {"--tier", "datasheet"});
  EXPECT_EQ(json["tier"], "datasheet");
  EXPECT_TRUE(json["evidence"] == "datasheet" || json["evidence"] == "assumed") << json["evidence"];
  EXPECT_NEAR(json["calibration"]["compute_error"].get<double>(), 0.1686, 1e-4);  // assumed: 0.6745 x 25 %
}

TEST(PredictCommand, WritesAChromeTraceOfTheWholeStep) {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "step.json").string();
  const Json json = predicted(small_experiment(), {"--trace", file});
  const Json trace = Json::parse(read_text_file(file));
  double last = 0.0;
  for (const Json& event : trace["traceEvents"]) {
    if (event["ph"] == "X") last = std::max(last, event["ts"].get<double>() + event["dur"].get<double>());
  }
  EXPECT_NEAR(last * 1e-6, json["step_time_s"].get<double>(), 1e-9);
}

TEST(PredictCommand, WarnsAboutWhatAnEngineCannotSeeOfTheFabricAndWhatHasNoEffect) {
  Json experiment = small_experiment();
  experiment["cluster"]["nodes"] = 16;
  experiment["parallel"] = {{"tensor", 8}};
  experiment["cluster"]["fabric"] = {{"kind", "leaf_spine"}, {"routing", "ecmp"}, {"switch_radix", 32}};
  const auto warns = [](const Json& json, const std::string& part) {
    for (const Json& line : json["warnings"]) {
      if (line.get<std::string>().find(part) != std::string::npos) return true;
    }
    return false;
  };
  const std::string hashes = "cluster.fabric: the estimate knows no hash collisions of ECMP";
  EXPECT_TRUE(warns(predicted(experiment, {"--engine", "estimate"}), hashes));
  EXPECT_FALSE(warns(predicted(experiment), hashes));
  experiment["cluster"]["fabric"]["routing"] = "static";
  const std::string meet =
      "cluster.fabric: the estimate knows nothing of static paths that meet on one cable";
  EXPECT_TRUE(warns(predicted(experiment, {"--engine", "estimate"}), meet));
  EXPECT_FALSE(warns(predicted(experiment), meet));
  experiment["cluster"]["fabric"]["routing"] = "ecmp";
  experiment["cluster"]["fabric"]["failed_links"] = Json::array({Json::array({"leaf0", "spine0"})});
  for (const char* engine : {"estimate", "simulate"}) {
    EXPECT_TRUE(warns(predicted(experiment, {"--engine", engine}), "cluster.fabric: uneven cut: leaf0"))
        << engine;
  }
  EXPECT_FALSE(warns(predicted(experiment), "cluster.storage"));
  experiment["cluster"]["storage"] = {{"kind", "shared"}, {"read_bandwidth", "100 GB/s"}};
  EXPECT_TRUE(warns(predicted(experiment), "cluster.storage does not move a step's time"));
  experiment["parallel"] = {{"tensor", 8},
                            {"sequence", true},
                            {"overlap", {{"tensor", true}, {"pipeline", true}}},
                            {"context_method", "ring"}};
  EXPECT_FALSE(warns(predicted(experiment), "parallel.sequence"));
  EXPECT_TRUE(warns(predicted(experiment), "parallel.overlap.pipeline has nothing to act on: pipeline is 1"));
  EXPECT_TRUE(warns(predicted(experiment), "parallel.context_method has nothing to act on: context is 1"));
  experiment["parallel"]["tensor"] = 1;
  experiment["training"]["global_batch"] = 256;
  EXPECT_TRUE(warns(predicted(experiment), "parallel.sequence has nothing to act on: tensor is 1"));
  EXPECT_TRUE(warns(predicted(experiment), "parallel.overlap.tensor has nothing to act on: tensor is 1"));
}

TEST(PredictCommand, SaysThatFullCablesOfADragonflyHaveNoDetours) {
  // Two nodes a group and one cable between two groups: rings from group to group fill it.
  Json experiment = small_experiment();
  experiment["cluster"]["nodes"] = 8;
  experiment["parallel"] = {{"tensor", 8}};
  experiment["cluster"]["fabric"] = {
      {"kind", "dragonfly"}, {"switches_per_group", 2}, {"nodes_per_leaf", 1}, {"global_links", 1}};
  const auto warns = [&] {
    const Json lines = predicted(experiment)["warnings"];
    return std::any_of(lines.begin(), lines.end(), [](const Json& line) {
      return line.get<std::string>().starts_with(
          "cluster.fabric.routing adaptive: only shortest paths of a dragonfly are modelled");
    });
  };
  EXPECT_TRUE(warns());
  experiment["cluster"]["fabric"]["routing"] = "static";
  EXPECT_FALSE(warns());
}

TEST(PredictCommand, SaysWhichTokensExpertsDropAndCountsTheRestAsWork) {
  // One of a token's two copies is dropped in each of 2 layers: 6 FLOPs a weight of an expert.
  Json experiment = small_experiment();
  experiment["model"] = {{"preset", "mixtral-8x7b"}, {"layers", 2}};
  experiment["parallel"] = {{"expert", 8}, {"zero", 1}};
  const Json all = predicted(experiment, {"--engine", "estimate"});
  experiment["model"]["moe"] = {
      {"experts", 8}, {"top_k", 2}, {"ffn_hidden", 14336}, {"capacity_factor", 0.5}};
  const Json half = predicted(experiment, {"--engine", "estimate"});
  const std::string line =
      "model.moe.capacity_factor 0.5: experts drop 50 % of what the router sends them; MFU counts it all the "
      "same, HFU does not";
  const auto warns = [&](const Json& json) {
    return std::find(json["warnings"].begin(), json["warnings"].end(), line) != json["warnings"].end();
  };
  EXPECT_TRUE(warns(half));
  EXPECT_FALSE(warns(all));
  const double tokens = experiment["training"]["global_batch"].get<double>() *
                        experiment["training"]["seq_length"].get<double>();
  const double dropped = 6.0 * tokens * 2 * (3.0 * 4096 * 14336);
  EXPECT_EQ(half["model_flops_per_step"], all["model_flops_per_step"]);
  EXPECT_NEAR((all["hardware_flops_per_step"].get<double>() - half["hardware_flops_per_step"].get<double>()) /
                  dropped,
              1.0, 1e-9);
  EXPECT_GT(half["mfu"], half["hfu"]);
}

TEST(PredictCommand, TakesUnfusedAttentionWhereAPresetsFusedKernelDoesNotRun) {
  // Fused kernels take 16 or 8 bits, on GPUs later than Volta (Transformer Engine, get_attention_backend).
  Json experiment = small_experiment();
  experiment["training"]["precision"] = "tf32";
  const Json fallen = predicted(experiment, {"--engine", "estimate"});
  experiment["software"] = {{"preset", "megatron-core"}, {"attention_kernel", "unfused"}};
  const Json unfused = predicted(experiment, {"--engine", "estimate"});
  EXPECT_EQ(fallen["step_time_s"], unfused["step_time_s"]);
  EXPECT_EQ(fallen["memory"]["peak_bytes"], unfused["memory"]["peak_bytes"]);
  EXPECT_EQ(fallen["experiment"]["software"]["attention_kernel"], "unfused");
  const std::string expected =
      "software.attention_kernel: megatron-core's is flash2, predicted unfused with precision tf32: fused "
      "kernels take "
      "16 or 8 bits; PyTorch's memory-efficient scaled_dot_product_attention, which some frameworks take "
      "then, "
      "is not modelled";
  const auto says = [&expected](const Json& json) {
    const auto& lines = json["warnings"];
    return std::count(lines.begin(), lines.end(), Json(expected));
  };
  EXPECT_EQ(says(fallen), 1) << fallen["warnings"];
  EXPECT_EQ(says(unfused), 0);
}

TEST(PredictCommand, HasWhatMegatronHadByItsDate) {
  // Sequence parallelism and selective recomputation came with arXiv 2205.05198 in May 2022.
  Json experiment = small_experiment();
  experiment["parallel"] = {{"tensor", 2}, {"sequence", true}};
  experiment["training"]["recompute"] = "selective";
  experiment["software"] = {{"preset", "megatron-lm-2021"}, {"date", "2022-04"}};
  const CliRun before = run_orrery({"predict", "-"}, experiment.dump());
  EXPECT_EQ(before.exit_code, 2);
  EXPECT_NE(before.err.find("megatron-lm-2021\" of 2022-04 has no sequence parallelism"), std::string::npos)
      << before.err;
  experiment["software"]["date"] = "2022-06";
  EXPECT_GT(predicted(experiment)["step_time_s"].get<double>(), 0.0);
}

TEST(PredictCommand, HasNoMoreBucketsThanTensors) {
  // A bucket closes with a tensor: 24 layers of at most nine weights and nine biases,
  // norms included, and one embedding, which is the head, too.
  Json experiment = small_experiment();
  experiment["parallel"] = {{"tensor", 1}, {"overlap", {{"gradient", true}}}};
  const auto reductions = [&experiment](double bucket) {
    experiment["parallel"]["bucket"] = bucket;
    const Json prediction = predicted(experiment, {"--engine", "estimate"});
    for (const Json& line : prediction["communication"]) {
      if (line["op"] == "all_reduce") return line["count"].get<std::int64_t>();
    }
    return std::int64_t{0};
  };
  EXPECT_EQ(reductions(1e12), 1);
  EXPECT_GE(reductions(1), 24 * 4);
  EXPECT_LE(reductions(1), 24 * 18 + 4 + 12);  // dealt to at most 64 tasks alike
  EXPECT_EQ(reductions(1), reductions(8000));
}

TEST(PredictCommand, PrintsTextAndCsv) {
  const CliRun text = run_orrery({"predict", "-"}, small_experiment().dump());
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_EQ(text.out.rfind("experiment small on 8 x a100-sxm4-80gb, tensor 2 x pipeline 1 x data 4", 0), 0U)
      << text.out;
  const CliRun csv = run_orrery({"predict", "-", "--format", "csv", "--quiet"}, small_experiment().dump());
  EXPECT_EQ(std::count(csv.out.begin(), csv.out.end(), '\n'), 2);
  EXPECT_EQ(csv.err, "");
}

TEST(PredictCommand, PrintsOneCsvHeaderForAllExperiments) {
  const auto header = [](std::vector<std::string> more, const Json& patch = Json::object()) {
    Json experiment = small_experiment();
    experiment.merge_patch(patch);
    more.insert(more.begin(), {"predict", "-", "--format", "csv", "--quiet"});
    const CliRun run = run_orrery(more, experiment.dump());
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return run.out.substr(0, run.out.find('\n'));
  };
  const std::string plain = header({});
  EXPECT_NE(plain.find("checkpoint.write_s"), std::string::npos);
  EXPECT_EQ(header({"--engine", "estimate", "--tier", "datasheet"}), plain);
  const TemporaryFolder folder;
  EXPECT_EQ(header({"--beside", folder.write("other.json", small_experiment().dump())}), plain);
  const Json storage = {{"kind", "local"}, {"read_bandwidth", "14 GB/s"}};
  const Json data = {{"workers", 2}, {"samples", 1000000}};
  EXPECT_EQ(
      header({}, {{"cluster", {{"storage", storage}, {"price", {{"gpu_hour", "2 USD"}}}}},
                  {"training", {{"tokens", 1000000000}, {"data", data}, {"checkpoint", {{"every", 10}}}}},
                  {"parallel", {{"zero", 1}, {"bucket", 40000000}}},
                  {"measured", {{"mfu", 0.5}, {"peak_memory_bytes", 5e10}, {"peak_memory_scope", "gpu"}}}}),
      plain);
  for (const Json& sync : {Json{{"kind", "local"}, {"period", 4}}, Json{{"kind", "async"}}})
    EXPECT_EQ(header({"--engine", "estimate"}, {{"training", {{"sync", sync}}}}), plain) << sync;
}

TEST(PredictCommand, SaysWhereAnUnnamedExperimentRunsOnce) {
  Json experiment = small_experiment();
  experiment.erase("name");
  const CliRun text = run_orrery({"predict", "-", "--engine", "estimate"}, experiment.dump());
  EXPECT_EQ(text.out.rfind("experiment gpt3-1.7b on 8 x a100-sxm4-80gb, tensor 2 x pipeline 1 x data 4", 0),
            0U)
      << text.out.substr(0, 200);
}

TEST(PredictCommand, NamesTheHashOfItsKernelProfile) {
  const Json profile =
      read_json_file(std::string(ORRERY_SOURCE_DIR) + "/calibration/profiles/a100-sxm4-80gb.json");
  const CliRun run =
      run_orrery({"predict", "-", "--engine", "estimate", "--format", "json"}, small_experiment().dump());
  EXPECT_EQ(run.json().at("calibration").at("hash"), profile.at("hash"));
}

TEST(PredictCommand, RefusesASettingThatIsNoText) {
  const CliRun run = run_orrery({"predict", "-", "--set", "name=\xff\xfe"}, small_experiment().dump());
  EXPECT_EQ(run.err, "--set: found \"name=\xff\xfe\", expected text in UTF-8\n");
  EXPECT_EQ(run.exit_code, 2);
}

TEST(PredictCommand, PrintsTimesOnStandardErrorOnly) {
  const CliRun timed =
      run_orrery({"predict", "-", "--format", "json", "--timing", "--quiet"}, small_experiment().dump());
  const CliRun plain = run_orrery({"predict", "-", "--format", "json", "--quiet"}, small_experiment().dump());
  EXPECT_EQ(timed.out, plain.out);
  EXPECT_NE(timed.err.find("timing: predicting"), std::string::npos);
  EXPECT_EQ(plain.err, "");
}

TEST(PredictCommand, CountsTheStepsAndTheBillOfAWholeTraining) {
  Json experiment = small_experiment();
  experiment["training"]["tokens"] = 1e6;  // 64 x 2048 = 131,072 a step: 7.6, so 8 steps
  experiment["cluster"]["price"] = {{"gpu_hour", "2 USD"}};
  const Json json = run_orrery({"predict", "-", "--format", "json"}, experiment.dump()).json();
  const double step = json["step_time_s"];
  EXPECT_EQ(json["whole_training"]["steps"], 8.0);
  EXPECT_DOUBLE_EQ(json["whole_training"]["days"].get<double>(), 8 * step / 86400);
  EXPECT_DOUBLE_EQ(json["cost"]["usd_per_hour"].get<double>(), 16.0);  // 8 GPUs
  EXPECT_NEAR(json["cost"]["whole_training_usd"].get<double>(), 16.0 * 8 * step / 3600, 1e-12);
  EXPECT_EQ(json["experiment"]["training"]["tokens"], 1e6);
  const std::string text = run_orrery({"predict", "-"}, experiment.dump()).out;
  EXPECT_NE(text.find("tokens: 8 steps, 0.0 days"), std::string::npos) << text;
  EXPECT_NE(text.find("16 USD an hour"), std::string::npos) << text;
  const Json plain = run_orrery({"predict", "-", "--format", "json"}, small_experiment().dump()).json();
  EXPECT_FALSE(plain.contains("whole_training") || plain.contains("cost"));
}

}  // namespace
}  // namespace orrery::test
