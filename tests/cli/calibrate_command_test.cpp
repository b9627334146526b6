#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "sim/cost/attention_form.hpp"
#include "sim/cost/gemm_form.hpp"
#include "sim/cost/memory_form.hpp"
#include "tests/cli/cli_program.hpp"

namespace orrery::test {
namespace {

constexpr double kEfficiency = 0.78, kStreaming = 0.85, kSustained = 0.9;

/// What topologies/presets/gpus says of the GPU that is "measured" here.
DeviceSpec h100() {
  DeviceSpec device;
  device.name = "h100-sxm-80gb";
  device.architecture = "hopper";
  device.sms = 132;
  device.memory_bandwidth = gigabytes_per_second(3350);
  device.peak[static_cast<size_t>(Precision::bf16)] = teraflops(989);
  return device;
}

/// A folder as kernels/measure.sh leaves it, with times of the forms under known parameters and 1 % of seeded
/// noise.
class MadeFolder {
 public:
  explicit MadeFolder(const TemporaryFolder& folder) {
    folder.write("gemm.jsonl", products(false));
    folder.write("sustained.jsonl", products(true));
    folder.write("attention.jsonl", attention());
    folder.write("memory.jsonl", memory());
    folder.write("launch.jsonl",
                 line({{"op", "launch"}, {"mode", "graph"}, {"kernels", 1000}, {"time_s", 1.5e-6}}));
    folder.write("collectives.jsonl", collectives());
    folder.write("machine.json", "{}\n");
  }

  double time_of_4096() const { return time_of_4096_; }

 private:
  double noise() { return std::exp(0.01 * normal_(random_)); }

  static std::string line(const Json& json) {
    Json whole = {{"gpu", "h100-sxm-80gb"},          {"precision", "bf16"},   {"conditions", "burst"},
                  {"method", "made from the forms"}, {"source", "made: cli"}, {"samples_s", Json::array()}};
    whole.update(json);
    return whole.dump() + "\n";
  }

  std::string products(bool sustained) {
    GemmParameters truth;
    truth.efficiency = kEfficiency;
    truth.feed = 1e-11;
    truth.contention = 0.3;
    truth.ramp = 50;
    truth.quantisation = 0.4;
    truth.memory = 0.75;
    truth.launch = microseconds(3);
    truth.split_launch = microseconds(1);
    std::string text;
    for (const std::int64_t m : {512, 1024, 4096, 16384}) {
      for (const std::int64_t n : {512, 1024, 4096, 16384}) {
        for (const std::int64_t k : {512, 1024, 4096, 16384}) {
          if (sustained && (m < 4096 || n < 4096 || k < 4096)) continue;
          GemmShape shape;
          shape.m = m;
          shape.n = n;
          shape.k = k;
          const double ideal = gemm_pieces(truth, h100(), shape).total().base();
          const double time = sustained ? ideal / kSustained : ideal * noise();
          if (!sustained && m == 4096 && n == 4096 && k == 4096) time_of_4096_ = time;
          Json json = {{"op", "gemm"}, {"m", m}, {"n", n}, {"k", k}, {"time_s", time}};
          if (sustained) json.update({{"conditions", "sustained"}, {"seconds", 60}});
          text += line(json);
        }
      }
    }
    return text;
  }

  std::string attention() {
    AttentionParameters truth;
    truth.efficiency = 0.6;
    truth.ramp = 1000;
    truth.tail = 0.4;
    truth.backward = 0.8;
    truth.memory = 0.8;
    truth.launch = microseconds(4);
    std::string text;
    for (const std::int64_t length : {1024, 2048, 4096, 8192}) {
      for (const std::int64_t heads : {2, 8, 32}) {
        for (const char* pass : {"forward", "backward"}) {
          AttentionShape shape;
          shape.seq_q = shape.seq_kv = length;
          shape.heads = shape.kv_heads = heads;
          shape.head_dim = shape.value_dim = 128;
          shape.pass = std::string(pass) == "forward" ? AttentionPass::forward : AttentionPass::backward;
          text += line({{"op", "attention"},
                        {"batch", 1},
                        {"seq_length", length},
                        {"heads", heads},
                        {"kv_heads", heads},
                        {"head_dim", 128},
                        {"causal", true},
                        {"pass", pass},
                        {"kernel", "cudnn"},
                        {"time_s", attention_pieces(truth, h100(), shape).total().base() * noise()}});
        }
      }
    }
    return text;
  }

  std::string memory() {
    MemoryParameters truth;
    truth.set_shares(kStreaming, 0.5);
    truth.launch = microseconds(2);
    std::string text;
    for (const auto& [kind, name] :
         {std::pair(MemoryKind::streaming, "swiglu"), std::pair(MemoryKind::norm, "rmsnorm"),
          std::pair(MemoryKind::gather, "embedding")}) {
      for (int octave = 20; octave <= 30; octave += 2) {
        MemoryShape shape;
        shape.kind = kind;
        shape.traffic = Bytes(std::ldexp(1.0, octave));
        text += line({{"op", "memory"},
                      {"kind", name_of(kind)},
                      {"name", name},
                      {"bytes", shape.traffic.base()},
                      {"launches", 1},
                      {"time_s", memory_time(truth, h100(), shape).base() * noise()}});
      }
    }
    return text;
  }

  /// An all-reduce of eight ranks at 400 GB/s bus bandwidth and 20 us.
  static std::string collectives() {
    std::string text;
    for (int octave = 12; octave <= 30; ++octave) {
      const double bytes = std::ldexp(1.0, octave);
      text += line({{"op", "all_reduce"},
                    {"ranks", 8},
                    {"nodes", 1},
                    {"bytes", bytes},
                    {"time_s", 2e-5 + bytes * 1.75 / 400e9},
                    {"in_place", true}});
    }
    return text;
  }

  std::mt19937_64 random_{11};
  std::normal_distribution<double> normal_;
  double time_of_4096_ = 0.0;
};

const Json& table(const Json& report, const std::string& op, const std::string& subset) {
  for (const Json& entry : report["report"]["tables"]) {
    if (entry["op"] == op && entry["precision"] == subset) return entry;
  }
  throw std::runtime_error("no table " + op + " " + subset);
}

TEST(CalibrateCommand, GoesFromAFolderToAPredictionThatRestsOnIt) {
  const TemporaryFolder measurements, work;
  const MadeFolder made(measurements);
  const std::string profile = (work.path() / "mine.json").string();
  const CliRun run = run_orrery({"calibrate", measurements.path().string(), "--gpu", "h100-sxm-80gb", "--out",
                                 profile, "--format", "json", "--quiet"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.err, "");
  const Json report = run.json();
  EXPECT_EQ(report["schema"], "orrery.calibration/1");
  for (const char* key : {"gpu", "parameters", "covariance", "hull", "errors", "sources", "hash", "report"})
    EXPECT_TRUE(report.contains(key)) << key;

  // One percent of noise: what leads comes back to a few percent.
  const Json& parameters = report["parameters"];
  EXPECT_NEAR(parameters["gemm"]["bf16"]["efficiency"].get<double>(), kEfficiency, 0.03);
  EXPECT_NEAR(parameters["attention"]["cudnn"]["backward"].get<double>(), 0.8, 0.03);
  EXPECT_NEAR(parameters["memory"]["share"]["streaming"].get<double>(), kStreaming, 0.02);
  EXPECT_NEAR(parameters["memory"]["launch_s"].get<double>(), 2e-6, 0.2e-6);
  // The pairs hold the noise of the burst alone.
  EXPECT_NEAR(parameters["sustained"]["bf16"]["factor"].get<double>(), kSustained, 0.02);
  EXPECT_EQ(parameters["sustained"]["bf16"]["evidence"], "measured");
  const Json& products = table(report, "gemm", "bf16");
  EXPECT_EQ(products["from"], "rows");
  EXPECT_LT(products["cross_validated"]["median"].get<double>(), 0.05);
  EXPECT_NEAR(products["held_out"]["rows"].get<double>(), 64.0 / 5, 4.0);  // families of four rows stay whole
  EXPECT_EQ(products["worst"].size(), 5U);
  EXPECT_EQ(table(report, "gemm", "fp8")["from"], "base");
  EXPECT_EQ(report["covariance"].size(), report["covariance_parameters"].size());
  EXPECT_EQ(report["covariance"][0].size(), report["covariance"].size());

  // A measured shape answers with its own time; under load nothing was measured shape by shape.
  const std::vector<std::string> kernel = {"kernel",  "--gpu",          "h100-sxm-80gb", "--op",  "gemm",
                                           "--shape", "4096,4096,4096", "--calibration", profile, "--format",
                                           "json"};
  std::vector<std::string> burst = kernel;
  burst.insert(burst.end(), {"--conditions", "burst"});
  const Json answer = run_orrery(burst).json()["kernels"][0];
  EXPECT_EQ(answer["evidence"], "measured");
  EXPECT_NEAR(answer["time_s"].get<double>(), made.time_of_4096(), 1e-9 * made.time_of_4096());
  EXPECT_EQ(run_orrery(kernel).json()["kernels"][0]["evidence"], "interpolated");

  Json experiment = small_experiment();
  experiment["cluster"]["preset"] = "dgx-h100";
  experiment["model"] = "llama2-7b";
  experiment["parallel"]["tensor"] = 8;
  experiment["training"]["micro_batch"] = 1;
  const CliRun predicted =
      run_orrery({"predict", "-", "--calibration", profile, "--format", "json"}, experiment.dump());
  ASSERT_EQ(predicted.exit_code, 0) << predicted.err;
  const Json prediction = predicted.json();
  EXPECT_EQ(prediction["calibration"]["profile"], "h100-sxm-80gb");
  EXPECT_NE(prediction["calibration"]["source"].get<std::string>().find("made: cli"), std::string::npos);
  EXPECT_EQ(prediction["breakdown_evidence"]["forward"], "interpolated");
  EXPECT_EQ(prediction["breakdown_evidence"]["backward"], "interpolated");
  // 32 MiB over eight ranks at 20 us + 1.75 x 32 MiB / 400 GB/s is 352 GB/s of bus bandwidth.
  const double bytes = 2048.0 * 4096 * 2;
  const double expected = 1.75 * bytes / (2e-5 + 1.75 * bytes / 400e9);
  bool found = false;
  for (const Json& call : prediction["communication"]) {
    if (call["bytes"].get<double>() != bytes || call["op"] != "all_reduce") continue;
    found = true;
    EXPECT_NEAR(call["bus_bandwidth_bytes_per_s"].get<double>(), expected, 0.02 * expected);
  }
  EXPECT_TRUE(found) << prediction["communication"].dump(1);
}

TEST(CalibrateCommand, TheReportSaysWhatWasTakenAndWhereItIs) {
  const TemporaryFolder measurements, work;
  const MadeFolder made(measurements);
  const std::string profile = (work.path() / "mine.json").string();
  const std::vector<std::string> arguments = {
      "calibrate", measurements.path().string(), "--gpu", "h100-sxm-80gb", "--out", profile};
  const CliRun run = run_orrery(arguments);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.err, "");
  const auto says = [&](const std::string& text) { return run.out.find(text) != std::string::npos; };
  EXPECT_TRUE(says("calibration of h100-sxm-80gb from ")) << run.out;
  EXPECT_TRUE(says("from the shipped profile h100-sxm-80gb: ")) << run.out;
  EXPECT_TRUE(says("Worst of gemm bf16, left out in fifths:")) << run.out;
  EXPECT_TRUE(says("m 512 to 16384, n 512 to 16384, k 512 to 16384")) << run.out;
  EXPECT_TRUE(says("use it with --calibration " + profile)) << run.out;
  // The same bytes again; another seed draws another fifth and leaves the profile as it is.
  const std::string first = read_text_file(profile);
  EXPECT_EQ(run_orrery(arguments).out, run.out);
  EXPECT_EQ(read_text_file(profile), first);
  std::vector<std::string> other = arguments;
  other.insert(other.end(), {"--seed", "2"});
  EXPECT_NE(run_orrery(other).out, run.out);
  EXPECT_EQ(read_text_file(profile), first);
}

TEST(CalibrateCommand, WithoutABaseThereIsOnlyWhatWasMeasured) {
  const TemporaryFolder measurements, work;
  const MadeFolder made(measurements);
  const std::string profile = (work.path() / "mine.json").string();
  const CliRun run = run_orrery({"calibrate", measurements.path().string(), "--gpu", "h100-sxm-80gb", "--out",
                                 profile, "--base", "none", "--format", "json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json parameters = run.json()["parameters"];
  EXPECT_EQ(parameters["gemm"].size(), 1U);
  EXPECT_EQ(parameters["attention"].size(), 1U);
  EXPECT_EQ(run.json()["report"]["base"], nullptr);
}

TEST(CalibrateCommand, RefusesEveryBadLineAtOnceAndWritesNothing) {
  const TemporaryFolder folder;
  const std::string file = folder.write(
      "bad.jsonl",
      R"({"op": "gem", "gpu": "l40s", "time_s": 1, "source": "x"})"
      "\n"
      R"({"op": "gemm", "gpu": "l40", "m": 1, "n": 1, "k": 1, "precision": "bf16", "time_s": 1, "source": "x"})"
      "\n"
      R"({"op": "gemm", "gpu": "l40s", "m": 1, "n": 1, "precision": "bf61", "time_s": 0, "source": "x"})"
      "\n"
      R"({"op": "memory", "gpu": "l40s", "kind": "nrom", "name": "rmsnorm", "bytes": 8, "time_s": -1, "source": "x"})"
      "\n"
      "{\"op\": \n");
  const std::string out = (folder.path() / "mine.json").string();
  const CliRun run = run_orrery({"calibrate", file, "--gpu", "l40s", "--out", out});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.out, "");
  const auto says = [&](const std::string& line) { return run.err.find(file + line) != std::string::npos; };
  EXPECT_TRUE(says(":1: /op: found \"gem\", expected \"gemm\" or one of ")) << run.err;
  EXPECT_TRUE(says(":2: /gpu: found \"l40\", expected \"l40s\" or one of ")) << run.err;
  EXPECT_TRUE(says(":3: /k: found nothing, expected an integer in [1, 1000000000]")) << run.err;
  EXPECT_TRUE(says(":3: /precision: found \"bf61\", expected \"bf16\" or one of ")) << run.err;
  EXPECT_TRUE(says(":3: /time_s: found 0, expected a number above 0")) << run.err;
  EXPECT_TRUE(says(":4: /kind: found \"nrom\", expected \"norm\" or one of ")) << run.err;
  EXPECT_TRUE(says(":4: /time_s: found -1, expected a number above 0")) << run.err;
  EXPECT_TRUE(says(":5: ")) << run.err;
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST(CalibrateCommand, RefusesOptionsBeforeItReadsAnything) {
  const TemporaryFolder folder;
  const std::string out = (folder.path() / "mine.json").string();
  const auto errors_of = [](const std::vector<std::string>& arguments) {
    const CliRun run = run_orrery(arguments);
    EXPECT_EQ(run.exit_code, 2) << run.err;
    EXPECT_EQ(run.out, "");
    return run.err;
  };
  EXPECT_EQ(errors_of({"calibrate"}),
            "MEASUREMENTS: found nothing, expected files or folders of measurement lines\n"
            "--gpu: found nothing, expected the name of a GPU preset\n"
            "--out: found nothing, expected the file to write the profile to\n");
  EXPECT_EQ(
      errors_of({"calibrate", "x", "--gpu", "l40s", "--out", folder.path().string() + "/no/x.json"}),
      "--out: found \"" + folder.path().string() + "/no/x.json\", expected a file in a folder that exists\n");
  EXPECT_EQ(errors_of({"calibrate", "x", "--gpu", "l40s", "--out", out, "--seed", "-1", "--format", "xml"}),
            "--format: found \"xml\", expected one of text, json, csv\n"
            "--seed: found \"-1\", expected an integer of at least 0\n");
  EXPECT_EQ(errors_of({"calibrate", "x", "--gpu", "l40", "--out", out})
                .rfind("--gpu: found \"l40\", expected \"l40s\" or one of ", 0),
            0U);
  EXPECT_EQ(errors_of({"calibrate", "x", "--gpu", "l40s", "--out", out, "--base", "l40"})
                .rfind("--base: found \"l40\", expected \"l40s\" or one of ", 0),
            0U);
  EXPECT_EQ(errors_of({"calibrate", folder.path().string(), "--gpu", "l40s", "--out", out}),
            folder.path().string() + ": found a folder without *.jsonl, expected files of measurements\n");
}

TEST(CalibrateCommand, AGpuWithoutALineIsRefusedWithWhatHappensInstead) {
  const TemporaryFolder measurements, work;
  const MadeFolder made(measurements);
  const std::string out = (work.path() / "mine.json").string();
  const CliRun run = run_orrery({"calibrate", measurements.path().string(), "--gpu", "l40s", "--out", out});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.err,
            "--gpu: no line of the measurements is of l40s (they are of h100-sxm-80gb): nothing to fit. A "
            "prediction for a GPU without a profile takes the parameters of its architecture's nearest by "
            "itself, as assumed\n");
  EXPECT_FALSE(std::filesystem::exists(out));
}

/// Lines of runs of the small experiment at these step times.
std::string site_runs(const std::vector<double>& step_times) {
  std::string text;
  for (const double time : step_times) {
    const Json line = {{"id", fmt::format("run {}", text.size())},
                       {"source_group", "here"},
                       {"experiment", small_experiment()},
                       {"measured", {{"step_time_s", time}}}};
    text += line.dump() + "\n";
  }
  return text;
}

TEST(CalibrateCommand, RefusesTimesBeyondThePeak) {
  // 2 x 8192^3 FLOP at 989 TFLOP/s take 1.11 ms: a time of 1.6 that was meant in milliseconds is another
  // matter than one in nanoseconds.
  const TemporaryFolder folder;
  const auto line = [](double time) {
    const Json json = {{"op", "gemm"},   {"m", 8192},           {"n", 8192},
                       {"k", 8192},      {"precision", "bf16"}, {"gpu", "h100-sxm-80gb"},
                       {"time_s", time}, {"source", "a test"}};
    return json.dump() + "\n";
  };
  const std::string file = folder.write("gemm.jsonl", line(1.6e-3) + line(1.6e-9));
  const std::string out = (folder.path() / "profile.json").string();
  const CliRun run = run_orrery({"calibrate", file, "--gpu", "h100-sxm-80gb", "--out", out});
  EXPECT_EQ(run.err,
            file +
                ":2: /time_s: found 1.6e-09, expected seconds, about 0.0011 or more: the product takes that "
                "at the peak of h100-sxm-80gb\n");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST(CalibrateCommand, RefusesCallsKernelsAndCollectivesBeyondTheHardware) {
  // Milliseconds of nanoseconds. Forward, 2 x 4096 positions of 16 heads of 128 in full: 2.75e11 FLOP at 989
  // TFLOP/s. 1 GiB at 3350 GB/s. 1 GiB at 18 NVLinks of 25 GB/s, 7/8 of it where a rank has its own part.
  const TemporaryFolder folder;
  const auto line = [](Json json) {
    json.update({{"gpu", "h100-sxm-80gb"}, {"time_s", 1e-9}, {"source", "a test"}});
    return json.dump() + "\n";
  };
  const std::string kernels = folder.write(
      "kernels.jsonl",
      line({{"op", "attention"},
            {"batch", 2},
            {"seq_length", 4096},
            {"heads", 16},
            {"head_dim", 128},
            {"causal", false},
            {"pass", "forward"},
            {"precision", "bf16"},
            {"kernel", "cudnn"}}) +
          line({{"op", "memory"}, {"kind", "norm"}, {"name", "rmsnorm"}, {"bytes", 1073741824}}));
  const std::string out = (folder.path() / "profile.json").string();
  const CliRun run = run_orrery({"calibrate", kernels, "--gpu", "h100-sxm-80gb", "--out", out});
  EXPECT_EQ(run.err, kernels +
                         ":1: /time_s: found 1e-09, expected seconds, about 0.00028 or more: the call of 16 "
                         "heads (`heads`; 2048 / head size where it is left out) takes that at the peak of "
                         "h100-sxm-80gb\n" +
                         kernels +
                         ":2: /time_s: found 1e-09, expected seconds, about 0.00032 or more: its bytes take "
                         "that at the bandwidth of h100-sxm-80gb\n");
  EXPECT_EQ(run.exit_code, 2);
  const Json call = {{"ranks", 8}, {"nodes", 1}, {"bytes", 1073741824}};
  Json reduce = call, gather = call;
  reduce["op"] = "all_reduce", gather["op"] = "all_gather";
  const std::string collectives = folder.write("collectives.jsonl", line(reduce) + line(gather));
  const CliRun collective = run_orrery({"calibrate", collectives, "--gpu", "h100-sxm-80gb", "--out", out});
  EXPECT_EQ(collective.err,
            collectives +
                ":1: /time_s: found 1e-09, expected seconds, about 0.0024 or more: its payload takes that "
                "over the NVLinks of h100-sxm-80gb\n" +
                collectives +
                ":2: /time_s: found 1e-09, expected seconds, about 0.0021 or more: its payload takes that "
                "over the NVLinks of h100-sxm-80gb\n");
  EXPECT_EQ(collective.exit_code, 2);
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST(CalibrateCommand, SaysWhichRowsAreInNoTable) {
  const TemporaryFolder folder;
  const auto line = [](const Json& json) {
    Json whole = {{"gpu", "h100-sxm-80gb"}, {"source", "a test"}, {"time_s", 1e-3}, {"precision", "bf16"}};
    whole.update(json);
    return whole.dump() + "\n";
  };
  const auto product = [&](int k, const Json& more) {
    Json json = {{"op", "gemm"}, {"m", 1024}, {"n", 1024}, {"k", k}};
    json.update(more);
    return line(json);
  };
  std::string text;
  for (int k = 1; k <= 9; ++k) text += product(128 * k, Json::object());  // enough, but what are they?
  for (int k = 1; k <= 7; ++k) text += product(128 * k, {{"precision", "fp8"}, {"conditions", "burst"}});
  text += product(128, {{"precision", "nvfp4"}, {"conditions", "burst"}});
  for (const char* kernel : {"fa2", "cudnn"}) {
    text += line({{"op", "attention"},
                  {"batch", 2},
                  {"seq_length", 4096},
                  {"head_dim", 128},
                  {"causal", true},
                  {"pass", "forward"},
                  {"kernel", kernel}});
  }
  text += line({{"op", "memory"}, {"kind", "norm"}, {"name", "rmsnorm"}, {"bytes", 1048576}});
  const CliRun run =
      run_orrery({"calibrate", folder.write("rows.jsonl", text), "--gpu", "h100-sxm-80gb", "--out",
                  (folder.path() / "profile.json").string(), "--format", "json", "--quiet"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.json()["report"]["warnings"],
            Json({"1 line read, not fitted: attention of kernel cudnn: a table needs 8",
                  "1 line read, not fitted: attention of kernel fa2: tables of h100-sxm-80gb take cudnn, "
                  "flash1, flash2, flash3, flash4, trtllm",
                  "1 line read, not fitted: memory-bound kernels: a table needs 6",
                  "9 lines read, not fitted: products in bf16: neither conditions (burst or sustained) nor a "
                  "method that is known",
                  "7 lines read, not fitted: products in fp8: a table needs 8 of one kind",
                  "1 line read, not fitted: products in nvfp4: h100-sxm-80gb has no matrix units for it"}));
}

TEST(CalibrateCommand, KeepsWhatItReads) {
  const TemporaryFolder folder;
  const std::string runs = folder.write("runs.jsonl", site_runs({1.2, 1.21, 1.19}));
  const std::string before = read_text_file(runs);
  const auto refused = [](const std::vector<std::string>& arguments, const std::string& out) {
    const CliRun run = run_orrery(arguments);
    EXPECT_EQ(run.exit_code, 2);
    EXPECT_EQ(run.err, "--out: found \"" + out +
                           "\", which is read, expected a file of its own: measurements are kept\n");
  };
  refused({"calibrate", "--runs", runs, "--out", runs}, runs);
  const std::string around = folder.path().string() + "/./runs.jsonl";
  refused({"calibrate", runs, "--gpu", "l40s", "--out", around}, around);
  refused({"calibrate", folder.path().string(), "--gpu", "l40s", "--out", runs}, runs);
  EXPECT_EQ(read_text_file(runs), before);
}

TEST(CalibrateCommand, AProfileOfAnotherKindIsOneProblem) {
  const TemporaryFolder folder;
  const std::string site = (folder.path() / "site.json").string();
  const std::string runs = folder.write("runs.jsonl", site_runs({1.2, 1.21, 1.19}));
  ASSERT_EQ(run_orrery({"calibrate", "--runs", runs, "--out", site}).exit_code, 0);
  const std::string kernels =
      folder.write("kernels.json", R"({"schema": "orrery.calibration/1", "gpu": "l40s"})");
  const auto errors_of = [](const std::string& option, const std::string& value) {
    return run_orrery({"predict", "-", option, value}, small_experiment().dump()).err;
  };
  EXPECT_EQ(errors_of("--calibration", site), site +
                                                  ": /schema: found \"orrery.site_profile/1\", expected "
                                                  "\"orrery.calibration/1\"\n");
  EXPECT_EQ(errors_of("--tier", "site=" + kernels), kernels +
                                                        ": /schema: found \"orrery.calibration/1\", expected "
                                                        "\"orrery.site_profile/1\"\n");
}

// A repeat says nothing of what a run of another plan takes: repeats are left out together, and where there
// is nothing else, each is predicted from nothing, which is what tier stack says of it.
TEST(CalibrateRuns, RepeatsDoNotTestOneAnother) {
  const TemporaryFolder folder;
  const std::string site = (folder.path() / "site.json").string();
  const auto learned = [&](const std::string& text) {
    const CliRun run = run_orrery({"calibrate", "--runs", folder.write("runs.jsonl", text), "--out", site,
                                   "--format", "json", "--quiet"});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return run.json();
  };
  const Json repeats = learned(site_runs({1.2, 1.21, 1.19, 1.2}));
  EXPECT_EQ(repeats["errors"]["left_out"], repeats["errors"]["stack"]);
  for (const Json& run : repeats["runs"]) EXPECT_EQ(run["others"], Json::array());
  ASSERT_EQ(repeats["warnings"].size(), 1U);
  EXPECT_EQ(repeats["warnings"][0].get<std::string>().rfind("all runs are of one configuration", 0), 0U);

  // The same experiment with a default spelt out is the same; another plan is not.
  std::string text;
  for (const auto& [id, key, value] :
       {std::tuple("a", "zero", 0), std::tuple("b", "pipeline", 1), std::tuple("c", "tensor", 4)}) {
    Json experiment = small_experiment();
    experiment["name"] = id;
    experiment["parallel"][key] = value;
    text += Json({{"id", id},
                  {"source_group", "here"},
                  {"experiment", experiment},
                  {"measured", {{"step_time_s", 1.2}}}})
                .dump() +
            "\n";
  }
  const Json three = learned(text);
  EXPECT_EQ(three["runs"][0]["configuration"], three["runs"][1]["configuration"]);
  EXPECT_NE(three["runs"][0]["configuration"], three["runs"][2]["configuration"]);
  EXPECT_EQ(three["runs"][0]["others"], three["runs"][1]["others"]);
  EXPECT_TRUE(three["warnings"].empty());
}

TEST(CalibrateRuns, SaysWhichRunsTookNoPart) {
  const TemporaryFolder folder;
  const std::string runs = folder.write("runs.jsonl", site_runs({1.2, -1.0, 1.2, 1.2}));
  const CliRun run =
      run_orrery({"calibrate", "--runs", runs, "--out", (folder.path() / "site.json").string()});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(run.out.find("  warning  not learned from: " + runs +
                         ":2: /measured/step_time_s: found -1.0, expected a number above 0\n"),
            std::string::npos)
      << run.out;
}

// Kernels measured on a slow machine and factors that its runs taught over other kernels hold the same
// slowness twice.
TEST(CalibrateRuns, FactorsBelongToTheKernelsTheyWereLearnedOver) {
  const TemporaryFolder folder;
  const std::string runs = folder.write("runs.jsonl", site_runs({1.2, 1.21, 1.19}));
  const std::string site = (folder.path() / "site.json").string();
  const auto warns = [&](const std::vector<std::string>& learned_with, const std::vector<std::string>& used) {
    std::vector<std::string> learn = {"calibrate", "--runs", runs, "--out", site};
    learn.insert(learn.end(), learned_with.begin(), learned_with.end());
    const CliRun learned = run_orrery(learn);
    EXPECT_EQ(learned.exit_code, 0) << learned.err;
    std::vector<std::string> predict = {"predict", "-", "--engine", "estimate", "--tier", "site=" + site};
    predict.insert(predict.end(), used.begin(), used.end());
    const CliRun predicted = run_orrery(predict, small_experiment().dump());
    EXPECT_EQ(predicted.exit_code, 0) << predicted.err;
    return predicted.out.find(
               "the site's factors were learned over another version or profile of kernels "
               "than ") != std::string::npos;
  };
  const std::vector<std::string> other = {"--calibration", "a100-pcie-80gb"};
  EXPECT_FALSE(warns({}, {}));
  EXPECT_TRUE(warns({}, other));
  EXPECT_FALSE(warns(other, other));
  EXPECT_TRUE(warns(other, {}));
  const CliRun kernels =
      run_orrery({"calibrate", runs, "--gpu", "l40s", "--out", site, "--calibration", "l40s"});
  EXPECT_EQ(kernels.exit_code, 2);
  EXPECT_EQ(kernels.err,
            "--calibration: found without --runs, expected --base, for what MEASUREMENTS leave open\n");
}

TEST(CalibrateRuns, SaysWhereASiteIsAssumedToHold) {
  const TemporaryFolder folder;
  const std::string site = (folder.path() / "site.json").string();
  const std::string runs = folder.write("runs.jsonl", site_runs({1.2, 1.21, 1.19}));
  const CliRun learned = run_orrery({"calibrate", "--runs", runs, "--out", site, "--threads", "1"});
  ASSERT_EQ(learned.exit_code, 0) << learned.err;
  const std::string warning =
      "the site's factors were learned from runs of a100-sxm4-80gb under megatron-core: that they hold for ";
  const auto predicted = [&](const std::string& cluster) {
    Json experiment = small_experiment();
    experiment["cluster"]["preset"] = cluster;
    return run_orrery({"predict", "-", "--engine", "estimate", "--tier", "site=" + site}, experiment.dump())
        .out;
  };
  EXPECT_EQ(predicted("dgx-a100-80gb").find(warning), std::string::npos);
  EXPECT_NE(predicted("dgx-h100").find(warning + "h100-sxm-80gb under megatron-core is assumed"),
            std::string::npos);
}

// Runs of one node that come out as predicted narrow the interval of one node. They say nothing of rings
// across two, or of another GPU: there it is no narrower than the stack's.
TEST(CalibrateRuns, IntervalsAreNarrowedOnlyWhereTheSiteHasRuns) {
  const TemporaryFolder folder;
  const auto width = [](const Json& experiment, const std::string& tier) {
    const CliRun run = run_orrery(
        {"predict", "-", "--engine", "estimate", "--tier", tier, "--format", "json"}, experiment.dump());
    EXPECT_EQ(run.exit_code, 0) << run.err;
    const Json interval = run.json()["step_time_interval_s"];
    return std::log(interval[1].get<double>() / interval[0].get<double>());
  };
  std::string lines;
  for (const int tensor : {1, 2, 4}) {
    Json experiment = small_experiment();
    experiment["parallel"]["tensor"] = tensor;
    const CliRun run =
        run_orrery({"predict", "-", "--engine", "estimate", "--format", "json"}, experiment.dump());
    lines += Json{{"id", fmt::format("tensor {}", tensor)},
                  {"source_group", "here"},
                  {"experiment", experiment},
                  {"measured", {{"step_time_s", run.json()["step_time_s"]}}}}
                 .dump() +
             "\n";
  }
  const std::string site = (folder.path() / "site.json").string();
  const CliRun learned =
      run_orrery({"calibrate", "--runs", folder.write("runs.jsonl", lines), "--out", site});
  ASSERT_EQ(learned.exit_code, 0) << learned.err;
  Json experiment = small_experiment();
  EXPECT_LT(width(experiment, "site=" + site), width(experiment, "stack"));
  experiment["cluster"]["nodes"] = 2;
  EXPECT_GE(width(experiment, "site=" + site), width(experiment, "stack"));
  for (const Json& parallel : {Json{{"tensor", 16}}, Json{{"tensor", 8}, {"pipeline", 2}}}) {
    Json across = experiment;  // no data group leaves a node here
    across["model"] = "llama3-8b";
    across["parallel"] = parallel;
    EXPECT_GE(width(across, "site=" + site), width(across, "stack")) << parallel.dump();
  }
  EXPECT_NE(run_orrery({"predict", "-", "--engine", "estimate", "--tier", "site=" + site}, experiment.dump())
                .out.find("the site's runs had at most 1 node, this one has 2: the interval is "),
            std::string::npos);
  experiment["cluster"] = {{"preset", "dgx-h100"}, {"nodes", 1}};
  EXPECT_GE(width(experiment, "site=" + site), width(experiment, "stack"));
}

TEST(CalibrateRuns, SaysWhyRunsCannotBePredicted) {
  const TemporaryFolder folder;
  const std::string runs = folder.write("runs.jsonl", site_runs({1.2, -1.0, 1.2}));
  const CliRun run =
      run_orrery({"calibrate", "--runs", runs, "--out", (folder.path() / "site.json").string()});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.err, "--runs: found 2 runs of a100-sxm4-80gb that can be predicted, expected at least 3\n" +
                         runs + ":2: /measured/step_time_s: found -1.0, expected a number above 0\n");
}

}  // namespace
}  // namespace orrery::test
