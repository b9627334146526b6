#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <set>

#include "tests/cli/cli_program.hpp"

namespace orrery::test {
namespace {

std::vector<std::string> kernel(std::vector<std::string> arguments) {
  std::vector<std::string> all = {"kernel"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return all;
}

/// Lines of standard error of a refusal, exit code and silence on standard output checked.
std::string kernel_refusal(const std::vector<std::string>& arguments, const std::string& input = "") {
  const CliRun run = run_orrery(kernel(arguments), input);
  EXPECT_EQ(run.exit_code, 2) << run.err;
  EXPECT_EQ(run.out, "");
  return run.err;
}

constexpr const char* kLines =
    R"({"op": "gemm", "m": 4096, "n": 8192, "k": 8192, "precision": "bf16"}
{"name": "up", "count": 32, "op": "gemm", "k": 4096, "m": 8192, "n": 4096, "batch": 2}

{"op": "attention", "batch": 2, "seq_length": 4096, "heads": 32, "kv_heads": 8, "head_dim": 128, "kernel": "cudnn", "pass": "backward"}
{"op": "memory", "bytes": 1000000000, "kind": "norm"}
{"op": "rmsnorm", "rows": 8192, "columns": 4096, "pass": "forward", "precision": "bf16"}
{"op": "adam", "rows": 1000000}
)";

TEST(KernelCommand, AnswersEveryLineWithItsKeysFirst) {
  const CliRun run =
      run_orrery(kernel({"--gpu", "h100-sxm-80gb", "--input", "-", "--format", "json"}), kLines);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json result = run.json();
  EXPECT_EQ(result["schema"], "orrery.kernel/1");
  EXPECT_EQ(result["gpu"], "h100-sxm-80gb");
  EXPECT_EQ(result["conditions"], "sustained");
  EXPECT_EQ(result["calibration"]["profile"], "h100-sxm-80gb");
  ASSERT_EQ(result["kernels"].size(), 6U);
  std::vector<std::string> keys;
  for (const auto& [key, value] : result["kernels"][1].items()) keys.push_back(key);
  EXPECT_EQ(keys, (std::vector<std::string>{"name", "count", "op", "k", "m", "n", "batch", "precision",
                                            "time_s", "interval_s", "tflops", "bandwidth_bytes_per_s",
                                            "bound", "evidence", "power_w", "power_evidence", "energy_j"}));
  for (const Json& each : result["kernels"]) {
    const double time = each["time_s"];
    EXPECT_GT(time, 0.0);
    EXPECT_LT(each["interval_s"][0].get<double>(), time);
    EXPECT_GT(each["interval_s"][1].get<double>(), time);
    EXPECT_DOUBLE_EQ(each["energy_j"].get<double>(), each["power_w"].get<double>() * time);
    EXPECT_LE(each["power_w"].get<double>(), 700.0);  // the board's limit
  }
  const Json& product = result["kernels"][0];
  EXPECT_NEAR(product["tflops"].get<double>() * 1e12 * product["time_s"].get<double>(),
              2.0 * 4096 * 8192 * 8192, 1.0);
  EXPECT_EQ(product["bound"], "compute");
  // rmsnorm of 8192 x 4096: input and output in bf16, 4096 gains, a statistic of 4 bytes a row.
  const Json& norm = result["kernels"][4];
  EXPECT_NEAR(norm["bandwidth_bytes_per_s"].get<double>() * norm["time_s"].get<double>(),
              2 * 2.0 * 8192 * 4096 + 2 * 4096 + 4 * 8192, 1e-3);
  EXPECT_FALSE(norm.contains("tflops"));
}

TEST(KernelCommand, OptionsSayTheSameAsALine) {
  const CliRun options = run_orrery(
      kernel({"--gpu", "a100-sxm4-80gb", "--op", "attention", "--shape", "2,4096,32,8,128", "--kernel",
              "flash2", "--pass", "backward", "--causal", "false", "--format", "json"}));
  ASSERT_EQ(options.exit_code, 0) << options.err;
  const CliRun line = run_orrery(
      kernel({"--gpu", "a100-sxm4-80gb", "--input", "-", "--format", "json"}),
      R"({"op": "attention", "batch": 2, "seq_length": 4096, "heads": 32, "kv_heads": 8, "head_dim": 128, "kernel": "flash2", "pass": "backward", "causal": false})");
  ASSERT_EQ(line.exit_code, 0) << line.err;
  EXPECT_EQ(options.json()["kernels"][0]["time_s"], line.json()["kernels"][0]["time_s"]);
}

TEST(KernelCommand, TheBurstIsNoSlowerThanTheSustainedRateAndATierOfItsOwn) {
  const std::vector<std::string> product = {"--gpu",   "h100-sxm-80gb",     "--op",     "gemm",
                                            "--shape", "16384,16384,16384", "--format", "json"};
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> all = product;
    all.insert(all.end(), more.begin(), more.end());
    const CliRun run = run_orrery(kernel(all));
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return run.json();
  };
  const double sustained = with({})["kernels"][0]["time_s"];
  const double burst = with({"--conditions", "burst"})["kernels"][0]["time_s"];
  EXPECT_LT(burst, sustained);
  const Json datasheet = with({"--tier", "datasheet"});
  EXPECT_EQ(datasheet["tier"], "datasheet");
  EXPECT_EQ(datasheet["kernels"][0]["evidence"], "datasheet");
  // Another GPU's profile is another architecture's parameters as far as anybody knows.
  EXPECT_EQ(with({"--calibration", "a100-sxm4-80gb"})["kernels"][0]["evidence"], "assumed");
}

TEST(KernelCommand, SaysThePrecisionThatALineLeavesOutAndTheHashOfItsProfile) {
  const auto kernel = [](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"kernel",  "--gpu",    "h100-sxm-80gb", "--op", "gemm",
                                          "--shape", "64,64,64", "--format",      "json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_orrery(arguments).json();
  };
  const Json left_out = kernel({});
  EXPECT_EQ(left_out.at("kernels").at(0), kernel({"--precision", "bf16"}).at("kernels").at(0));
  EXPECT_EQ(left_out.at("kernels").at(0).at("precision"), "bf16");
  // A line that gives its own, spaced as it likes, holds one.
  const CliRun given = run_orrery({"kernel", "--gpu", "h100-sxm-80gb", "--input", "-", "--format", "json"},
                                  R"({"op": "gemm", "m": 64, "n": 64, "k": 64, "precision" : "fp16"})");
  EXPECT_EQ(given.out.find("\"precision\": \"fp16\""), std::string::npos) << given.out;
  EXPECT_NE(given.out.find("\"precision\" : \"fp16\""), std::string::npos) << given.out;
  const Json profile =
      read_json_file(std::string(ORRERY_SOURCE_DIR) + "/calibration/profiles/h100-sxm-80gb.json");
  EXPECT_EQ(left_out.at("calibration").at("hash"), profile.at("hash"));
  EXPECT_TRUE(kernel({"--tier", "datasheet"}).at("calibration").at("hash").is_null());
  // Half of the errors of the spread that is assumed, 25 %, are smaller.
  EXPECT_NEAR(kernel({"--tier", "datasheet"}).at("calibration").at("compute_error").get<double>(), 0.1686,
              1e-4);
  const CliRun burst = run_orrery({"kernel", "--gpu", "h100-sxm-80gb", "--op", "gemm", "--shape", "8,8,8",
                                   "--tier", "datasheet", "--conditions", "burst"});
  EXPECT_EQ(burst.err,
            "--conditions: found burst with --tier datasheet, expected --tier measured: datasheets know one "
            "clock\n");
  EXPECT_EQ(burst.exit_code, 2);
}

TEST(KernelCommand, TextSaysTheProfileAndWhatEachKernelRestsOn) {
  const CliRun run = run_orrery(kernel({"--gpu", "h100-sxm-80gb", "--input", "-"}), kLines);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  for (const char* part : {"sustained: at the clocks of minutes of training", "profile h100-sxm-80gb",
                           "up: gemm 2 of 8192 x 4096 x 4096",
                           "attention backward cudnn 2 x 4096, 32 heads (8 of keys) of 128, causal, bf16",
                           "interpolated", "80 % interval"}) {
    EXPECT_NE(run.out.find(part), std::string::npos) << part << "\n" << run.out;
  }
}

TEST(KernelCommand, CsvHasALineAKernel) {
  const CliRun run =
      run_orrery(kernel({"--gpu", "h100-sxm-80gb", "--input", "-", "--format", "csv"}), kLines);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out.rfind("name,count,op,shape,time_s,", 0), 0U);
  EXPECT_EQ(std::count(run.out.begin(), run.out.end(), '\n'), 7);
}

TEST(KernelCommand, RefusesEveryBadLineAtOnce) {
  const std::string input =
      R"({"op": "gemm", "m": 64, "n": 64, "k": 64}
{"op": "gem", "m": 64, "n": 64, "k": 64}
{"op": "gemm", "m": 0, "n": -1, "k": 64.0}
{"op": "gemm", "m": 9223372036854775808, "n": 64}
{"op": "gemm", "m": 64, "n": 64, "k": 64, "precission": "bf16"}
{"op": "gemm", "m": 64, "n": 64, "k": 64, "precision": "fp8"}
{"op": "attention", "batch": 1, "seq_length": 128, "heads": 32, "kv_heads": 5, "head_dim": 64}
{"op": "attention", "batch": 1, "seq_length": 128, "heads": 32, "head_dim": 64, "kernel": "flash4"}
{"op": "memory", "bytes": 0}
{"op": "gemm", "m": 64, "m": 64, "n": 64, "k": 64}
{"op": "gemm", "m": 64,}
[1]
{"op": "embedding", "rows": 8, "columns": 8, "pass": "backward"}
{"op": "gemm", "m": 64, "n": 64, "k": 64, "grouped": 1, "name": 3}
)";
  EXPECT_EQ(
      kernel_refusal({"--gpu", "a100-sxm4-80gb", "--input", "-"}, input),
      R"(-:2: /op: found "gem", expected "gemm" or one of attention, memory, layernorm, rmsnorm, gelu, swiglu, residual_add, dropout_add, rope, softmax, cross_entropy, cast, quantize_fp8, quantize_fp8_transpose, sgd, momentum, adagrad, adam, adamw, lamb, gradient_norm, embedding, embedding_gradient, permute, unpermute, copy
-:3: /m: found 0, expected an integer in [1, 2147483648]
-:3: /n: found -1, expected an integer in [1, 2147483648]
-:3: /k: found 64.0, expected an integer in [1, 2147483648]
-:4: /m: found 9223372036854775808, expected an integer in [1, 2147483648]
-:4: /k: found nothing, expected an integer in [1, 2147483648]
-:5: /precission: found an unknown key, expected "precision" or one of op, name, count, m, n, k, batch, output_bytes, layout, grouped, includes_quantize
-:6: /precision: found "fp8", expected a precision that a100-sxm4-80gb has matrix units for: fp32, tf32, fp16 or bf16
-:7: /kv_heads: found 5, expected a divisor of heads 32
-:8: /kernel: attention kernel flash4 has no calibration on a100-sxm4-80gb, only unfused, flash1, flash2, cudnn
-:9: /bytes: found 0, expected an integer in [1, 1125899906842624]
-:10: /m: found a duplicate key, expected each key once
-:11: column 24: syntax error while parsing object key - unexpected '}'; expected string literal
-:12: found a list, expected an object
-:13: /pass: found "backward", expected "forward"
-:14: /grouped: found 1 (number), expected true or false
-:14: /name: found 3 (number), expected a text of at most 200 bytes
)");
}

TEST(KernelCommand, ListsFiftyProblemsAndCountsTheRest) {
  std::string input;
  for (int i = 0; i < 120; ++i) input += "{\"op\": \"memory\", \"bytes\": -1}\n";
  const std::string text = kernel_refusal({"--gpu", "a100-sxm4-80gb", "--input", "-"}, input);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 51);
  EXPECT_NE(text.find("-: and 70 more problems like these\n"), std::string::npos) << text;
}

TEST(KernelCommand, RefusesFilesWithoutKernels) {
  const TemporaryFolder folder;
  const std::string empty = folder.write("empty.jsonl", "");
  EXPECT_EQ(kernel_refusal({"--gpu", "l40s", "--input", empty}),
            empty + ": found no kernel, expected a JSON object a line\n");
  EXPECT_EQ(kernel_refusal({"--gpu", "l40s", "--input", "-"}, "\n \n"),
            "-: found no kernel, expected a JSON object a line\n");
  const std::string missing = (folder.path() / "missing.jsonl").string();
  EXPECT_EQ(kernel_refusal({"--gpu", "l40s", "--input", missing}),
            missing + ": cannot be read: No such file or directory\n");
  EXPECT_EQ(kernel_refusal({"--gpu", "l40s", "--input", folder.path().string()}),
            folder.path().string() + ": cannot be read: Is a directory\n");
  const std::string long_line = folder.write("long.jsonl", std::string(70000, ' ') + "{}\n");
  EXPECT_EQ(kernel_refusal({"--gpu", "l40s", "--input", long_line}),
            long_line + ":1: found more than 64 KiB, expected a line of at most 64 KiB\n");
}

TEST(KernelCommand, RefusesOptionsByTheirName) {
  EXPECT_EQ(kernel_refusal({"--op", "gemm"}), "--gpu: found nothing, expected a GPU's name or file\n");
  EXPECT_EQ(kernel_refusal({"--gpu", "l40s"}),
            "orrery kernel: found neither, expected either --input or --op\n");
  EXPECT_EQ(kernel_refusal({"--gpu", "l40s", "--op", "gemm", "--shape", "1,2"}),
            "--shape: found \"1,2\", expected m,n,k\n");
  EXPECT_EQ(kernel_refusal({"--gpu", "l40s", "--op", "gemm", "--shape", "1,x,3", "--kernel", "cudnn"}),
            "--kernel: is no option of --op gemm\n"
            "--shape: /n: found \"x\", expected an integer in [1, 2147483648]\n");
  EXPECT_EQ(
      kernel_refusal({"--gpu", "a100-sxm4-80gb", "--op", "gemm", "--shape", "8,8,8", "--precision", "fp8"}),
      "--precision: found \"fp8\", expected a precision that a100-sxm4-80gb has matrix units for: "
      "fp32, tf32, "
      "fp16 or bf16\n");
  EXPECT_EQ(kernel_refusal({"--gpu", "l40s", "--op", "gemm", "--shape", "8,8,8", "--conditions", "bursts"}),
            "--conditions: found \"bursts\", expected \"burst\" or \"sustained\"\n");
  EXPECT_EQ(kernel_refusal({"--gpu", "l40s", "--op", "gemm", "--shape", "8,8,8", "--calibration", "l40"})
                .rfind("--calibration: found \"l40\", expected \"l40s\"", 0),
            0U);
  EXPECT_EQ(kernel_refusal({"--gpu", "l40", "--op", "gemm", "--shape", "8,8,8"})
                .rfind("--gpu: found \"l40\", expected \"l40s\"", 0),
            0U);
}

TEST(KernelCommand, EscapesAndUnusualSpacingAreReadAlike) {
  const CliRun run =
      run_orrery(kernel({"--gpu", "l40s", "--input", "-", "--format", "json"}),
                 "{\"op\":\"g\\u0065mm\",\"m\":64,\"n\":64,\"k\":64,\"name\":\"\\u00e4, \\\"x\\\"\"}\r\n"
                 " { \"op\" : \"gemm\" , \"m\" : 64 , \"n\" : 64 , \"k\" : 64 } ");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json kernels = run.json()["kernels"];
  EXPECT_EQ(kernels[0]["name"], "\u00e4, \"x\"");
  EXPECT_EQ(kernels[0]["time_s"], kernels[1]["time_s"]);
}

TEST(KernelCommand, ALongFileComesOutWhole) {
  // More than the four MiB that are held in memory: 20,000 answers of some 300 bytes.
  std::string input;
  for (int i = 1; i <= 20000; ++i) input += fmt::format("{{\"op\": \"memory\", \"bytes\": {}}}\n", i * 1000);
  const CliRun run =
      run_orrery(kernel({"--gpu", "h100-sxm-80gb", "--input", "-", "--format", "json"}), input);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json kernels = run.json()["kernels"];
  ASSERT_EQ(kernels.size(), 20000U);
  double before = 0.0;
  for (size_t i = 0; i < kernels.size(); ++i) {
    EXPECT_EQ(kernels[i]["bytes"], (i + 1) * 1000);
    EXPECT_GT(kernels[i]["time_s"].get<double>(), before);  // more bytes are never faster
    before = kernels[i]["time_s"];
  }
}

TEST(PresetsCommand, ShapesOfAModelAreKernelLines) {
  const CliRun shapes = run_orrery({"presets", "models", "llama3-8b", "--shapes"});
  ASSERT_EQ(shapes.exit_code, 0) << shapes.err;
  const CliRun run =
      run_orrery(kernel({"--gpu", "h100-sxm-80gb", "--input", "-", "--format", "json"}), shapes.out);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  double forward_flops = 0.0, flops = 0.0;
  std::set<std::string> shapes_seen;
  const Json kernels = run.json()["kernels"];
  for (const Json& each : kernels) {
    Json shape = Json::object();
    for (const char* key :
         {"op", "m", "n", "k", "batch", "output_bytes", "bytes", "kind", "launches", "sm_ns", "pass"}) {
      if (each.contains(key)) shape[key] = each[key];
    }
    EXPECT_TRUE(shapes_seen.insert(shape.dump()).second) << "twice: " << shape;
    if (each["op"] != "gemm") continue;
    const double work = 2.0 * each["m"].get<double>() * each["n"].get<double>() * each["k"].get<double>() *
                        each["count"].get<double>();
    flops += work;
    const std::string name = each["name"];
    if (name == "qkv_projection") {
      // hidden 4096, 32 heads and 8 of keys and values of 128: 6144 columns; 32 layers.
      EXPECT_EQ(each["m"], 4096);
      EXPECT_EQ(each["n"], 6144);
      EXPECT_EQ(each["k"], 4096);
      EXPECT_EQ(each["count"], 32);
    }
  }
  // Products of one sequence of 4096 tokens: 6 FLOPs a token for every parameter of a matrix: 32 layers of
  // QKV 4096 x 6144, output 4096 x 4096, up and gate 4096 x 28672, down 14336 x 4096, and the head 4096 x
  // 128256.
  forward_flops =
      2.0 * 4096 *
      (32.0 * (4096.0 * 6144 + 4096.0 * 4096 + 4096.0 * 28672 + 14336.0 * 4096) + 4096.0 * 128256);
  EXPECT_NEAR(flops / (3.0 * forward_flops), 1.0, 1e-12);
}

TEST(PresetsCommand, ShapesFollowThePlan) {
  const CliRun run = run_orrery({"presets", "models", "llama3-8b", "--shapes", "--tensor", "4", "--pipeline",
                                 "2", "--micro-batch", "2", "--seq-length", "2048", "--precision", "fp8"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(
      run.out.find("\"name\": \"qkv_projection\", \"count\": 16, \"m\": 4096, \"n\": 1536, \"k\": 4096, "
                   "\"precision\": \"fp8\""),
      std::string::npos)
      << run.out;
}

/// A step of one micro-batch on one GPU that keeps its host ahead is its kernels, one after another; in 8
/// bits with the casts of weights.
TEST(PresetsCommand, ShapesOfAStepTakeItsTime) {
  for (const std::string precision : {"bf16", "fp8"}) {
    const CliRun shapes = run_orrery({"presets", "models", "gpt3-3.6b", "--shapes", "--seq-length", "4096",
                                      "--precision", precision, "--gpu", "h100-sxm-80gb"});
    ASSERT_EQ(shapes.exit_code, 0) << shapes.err;
    const CliRun kernels =
        run_orrery(kernel({"--gpu", "h100-sxm-80gb", "--input", "-", "--format", "json"}), shapes.out);
    ASSERT_EQ(kernels.exit_code, 0) << kernels.err;
    double sum = 0;
    const Json each_of = kernels.json()["kernels"];
    for (const Json& each : each_of) sum += each["count"].get<double>() * each["time_s"].get<double>();
    const std::string experiment =
        R"({"schema": "orrery.experiment/1", "model": "gpt3-3.6b", "parallel": {},
            "cluster": {"node": {"gpu": "h100-sxm-80gb", "gpus": 1}, "nodes": 1, "fabric": {"kind": "rail_optimized"}},
            "training": {"seq_length": 4096, "global_batch": 1, "micro_batch": 1, "recompute": "none",
                         "precision": ")" +
        precision + "\"}}";
    const CliRun step = run_orrery(
        {"predict", "-", "--tier", "measured", "--engine", "estimate", "--format", "json"}, experiment);
    ASSERT_EQ(step.exit_code, 0) << step.err;
    EXPECT_NEAR(sum / step.json()["step_time_s"].get<double>(), 1.0, 1e-4)
        << precision;  // lines round to 1 ns
  }
}

TEST(PresetsCommand, RefusesShapesThatCannotBe) {
  const auto error = [](std::vector<std::string> arguments) {
    const CliRun run = run_orrery(arguments);
    EXPECT_EQ(run.exit_code, 2) << run.err;
    EXPECT_EQ(run.out, "");
    return run.err;
  };
  EXPECT_EQ(error({"presets", "models", "llama3-8b", "--shapes", "--micro-batch", "0"}),
            "--micro-batch: found 0, expected an integer in [1, 1099511627776]\n");
  EXPECT_EQ(
      error({"presets", "models", "llama3-8b", "--shapes", "--tensor", "3"}).rfind("--tensor: found 3", 0),
      0U);
  EXPECT_EQ(error({"presets", "models", "llama3-8b", "--tensor", "2"}),
            "orrery presets: --tensor, --precision and the like go with --shapes\n");
  EXPECT_EQ(error({"presets", "gpus", "l40s", "--shapes"}),
            "--shapes: found no model, expected presets models NAME --shapes\n");
  EXPECT_EQ(
      error({"presets", "models", "llama3-8", "--shapes"}).rfind("presets models: found \"llama3-8\"", 0),
      0U);
}

}  // namespace
}  // namespace orrery::test
