#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "tests/cli/cli_program.hpp"

namespace orrery::test {
namespace {

CliRun collective(std::vector<std::string> arguments, const std::string& input = "") {
  arguments.insert(arguments.begin(), "collective");
  return run_orrery(arguments, input);
}

Json answer(std::vector<std::string> arguments, const std::string& input = "") {
  arguments.insert(arguments.end(), {"--format", "json"});
  const CliRun run = collective(std::move(arguments), input);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  return run.exit_code == 0 ? run.json() : Json();
}

/// Standard error of a refusal, exit code and silence on standard output checked.
std::string refusal(const std::vector<std::string>& arguments, const std::string& input = "") {
  const CliRun run = collective(arguments, input);
  EXPECT_EQ(run.exit_code, 2) << run.err;
  EXPECT_EQ(run.out, "");
  return run.err;
}

TEST(CollectiveCommand, ColumnsFollowFromTimeAndSizeByAlgebra) {
  struct Case {
    const char* op;
    double factor, count_share;
  };
  // nccl-tests doc/PERFORMANCE.md: busbw = algbw x factor; 64 ranks. The count is of floats a rank passes.
  for (const Case& each : {Case{"all_reduce", 2.0 * 63 / 64, 1}, Case{"reduce_scatter", 63.0 / 64, 64},
                           Case{"all_gather", 63.0 / 64, 64}, Case{"broadcast", 1, 1},
                           Case{"all_to_all", 63.0 / 64, 64}, Case{"send_receive", 1, 1}}) {
    const Json result = answer({"dgx-h100", "--op", each.op, "--ranks", "64", "--sizes", "64KiB:1GiB:4"});
    EXPECT_EQ(result["schema"], "orrery.collective/1");
    EXPECT_EQ(result["op"], each.op);
    EXPECT_EQ(result["ranks"], 64);
    EXPECT_EQ(result["nodes"], 8);
    ASSERT_EQ(result["rows"].size(), 8U);
    double before = 0.0;
    double size = 65536;
    for (const Json& row : result["rows"]) {
      const double time = row["time_s"];
      EXPECT_EQ(row["bytes"].get<double>(), size);
      EXPECT_DOUBLE_EQ(row["count"].get<double>(), size / 4 / each.count_share);
      EXPECT_DOUBLE_EQ(row["algbw_bytes_per_s"].get<double>(), size / time);
      EXPECT_NEAR(row["busbw_bytes_per_s"].get<double>() / row["algbw_bytes_per_s"].get<double>(),
                  each.factor, 1e-12);
      EXPECT_GE(time, before);
      before = time;
      size *= 4;
    }
  }
}

TEST(CollectiveCommand, NoNicIsBeaten) {
  // Each of 8 nodes must send 2 (N-1)/N of an all-reduce through 8 NICs of 50 GB/s; with one rank a node,
  // one.
  for (const char* library : {"nccl", "mpi", "gloo"}) {
    for (const int per_node : {1, 8}) {
      const Json result =
          answer({"dgx-h100", "--ranks", std::to_string(8 * per_node), "--ranks-per-node",
                  std::to_string(per_node), "--sizes", "1MiB,64MiB,8GiB", "--library", library});
      for (const Json& row : result["rows"]) {
        EXPECT_GE(row["time_s"].get<double>(), 2.0 * 7 / 8 * row["bytes"].get<double>() / (per_node * 50e9));
      }
    }
  }
}

TEST(CollectiveCommand, ChoosesAsObservedOnEightH200) {
  // data/nccl_model.md section 5: Ring LL to 1 MiB, NVLS from 2 MiB; four GPUs stay on rings.
  const Json eight = answer({"dgx-h200", "--ranks", "8", "--sizes", "1MiB,2MiB,8GiB"});
  EXPECT_EQ(eight["rows"][0]["algorithm"], "ring");
  EXPECT_EQ(eight["rows"][0]["protocol"], "ll");
  EXPECT_EQ(eight["rows"][1]["algorithm"], "nvls");
  EXPECT_EQ(eight["rows"][2]["algorithm"], "nvls");
  EXPECT_EQ(answer({"dgx-h200", "--ranks", "4", "--sizes", "8GiB"})["rows"][0]["algorithm"], "ring");
  EXPECT_EQ(
      answer({"dgx-h200", "--ranks", "8", "--op", "all_gather", "--sizes", "8GiB"})["rows"][0]["algorithm"],
      "ring");
}

TEST(CollectiveCommand, ExplainListsEveryCandidateWithTimeOrReason) {
  const Json result = answer({"dgx-h100", "--ranks", "16", "--sizes", "1GiB", "--explain"});
  const Json& row = result["rows"][0];
  int chosen = 0;
  double fastest = 1e9;
  for (const Json& each : row["candidates"]) {
    EXPECT_NE(each["enabled"].get<bool>(), each.contains("reason"));
    if (!each["enabled"].get<bool>()) continue;
    fastest = std::min(fastest, each["estimate_s"].get<double>());
    if (!each["chosen"].get<bool>()) continue;
    ++chosen;
    EXPECT_EQ(each["algorithm"], row["algorithm"]);
    EXPECT_EQ(each["protocol"], row["protocol"]);
  }
  EXPECT_EQ(chosen, 1);
  for (const Json& each : row["candidates"]) {
    if (each.contains("chosen") && each["chosen"].get<bool>()) {
      EXPECT_EQ(each["estimate_s"].get<double>(), fastest);
    }
  }
  const CliRun text = collective({"dgx-h100", "--ranks", "16", "--sizes", "1GiB", "--explain"});
  for (const char* part :
       {"all_reduce on 16 ranks of h100-sxm-80gb, 8 a node on 2 nodes, nccl 2.27", "busbw GB/s", "chosen",
        "needs a CollNet (SHARP) plugin", "one node only", "smallest of the tuner's estimates"}) {
    EXPECT_NE(text.out.find(part), std::string::npos) << part << "\n" << text.out;
  }
}

bool has_warning(const Json& result, const char* part) {
  return std::any_of(result["warnings"].begin(), result["warnings"].end(), [part](const Json& warning) {
    return warning.get<std::string>().find(part) != std::string::npos;
  });
}

TEST(CollectiveCommand, AForcedAlgorithmKeepsTheLawsAndSaysWhatItsTimesAre) {
  // The tuner's own estimates: never falling with the size, and a ring of two nodes passes 15/8 of the
  // payload over 8 x 50 GB/s, whatever the table thinks.
  for (const char* algorithm : {"ring", "tree", "nvls_tree"}) {
    const Json forced =
        answer({"dgx-h100", "--ranks", "16", "--sizes", "1KiB:16GiB:1.5", "--algorithm", algorithm});
    EXPECT_EQ(forced["forced_algorithm"], algorithm);
    EXPECT_TRUE(has_warning(forced, "the times are the tuner's own estimates, not calibrated"));
    double before = 0.0;
    for (const Json& row : forced["rows"]) {
      const double time = row["time_s"];
      EXPECT_EQ(row["algorithm"], algorithm);
      EXPECT_EQ(row["timed_as"],
                row["algorithm"].get<std::string>() + " " + row["protocol"].get<std::string>());
      EXPECT_EQ(row["evidence"], "assumed");
      EXPECT_GE(time, before) << algorithm << row;
      const double passes = forced["forced_algorithm"] == "ring" ? 15.0 / 8 : 1.0;
      EXPECT_GE(time, passes * row["bytes"].get<double>() / (8 * 50e9)) << algorithm;
      before = time;
    }
  }
  EXPECT_EQ(refusal({"dgx-h100", "--algorithm", "ring", "--calibration", "h100-sxm-80gb"}),
            "--calibration: found \"h100-sxm-80gb\" with --algorithm, expected one of the two: the time of a "
            "forced "
            "algorithm is the tuner's own estimate\n");
}

TEST(CollectiveCommand, SaysWhatATimeWasFittedAs) {
  // Inside a node times were measured as they ran; across nodes rings and trees were fitted, whatever the
  // library's table names.
  const Json inside = answer({"dgx-h100", "--ranks", "8", "--sizes", "1KiB,1GiB"});
  EXPECT_EQ(inside["rows"].size(), 2);
  for (const Json& row : inside["rows"]) EXPECT_EQ(row["timed_as"], "curve");
  const Json across = answer({"dgx-h100", "--ranks", "64", "--sizes", "1KiB:8GiB"});
  bool differ = false;
  for (const Json& row : across["rows"]) {
    const std::string timed = row["timed_as"];
    EXPECT_TRUE(timed.starts_with("ring ") || timed.starts_with("tree ")) << timed;
    differ =
        differ || timed != row["algorithm"].get<std::string>() + " " + row["protocol"].get<std::string>();
  }
  EXPECT_TRUE(differ);
  EXPECT_TRUE(has_warning(across, "are timed as another algorithm or protocol"));
  EXPECT_FALSE(has_warning(inside, "timed"));
}

TEST(CollectiveCommand, OneThreadForSeveralGpusIsBoundByItsLaunches) {
  const auto gather = [](std::vector<std::string> more) {
    more.insert(more.begin(), {"dgx-h100", "--op", "all_gather", "--ranks", "4", "--sizes", "8KiB:128MiB:4"});
    return answer(std::move(more));
  };
  const Json usual = gather({}), together = gather({"--gpus-per-thread", "4"});
  EXPECT_EQ(together["gpus_per_thread"], 4);
  EXPECT_FALSE(usual.contains("gpus_per_thread"));
  ASSERT_EQ(usual["rows"].size(), together["rows"].size());
  for (size_t i = 0; i < usual["rows"].size(); ++i) {
    const Json& one = usual["rows"][i];
    const Json& four = together["rows"][i];
    EXPECT_GE(four["time_s"].get<double>(), one["time_s"].get<double>());
    if (four["timed_as"] == "launches") {
      EXPECT_EQ(four["evidence"], "extrapolated");
    } else {
      EXPECT_LT(four["time_s"].get<double>(), 1.06 * one["time_s"].get<double>());
    }
  }
  // Published: 17.0 us at 8 KiB for nccl-tests -g 4 on four H100 (odissei-benchmarks), 7.4 us for -t 4.
  EXPECT_NEAR(together["rows"][0]["time_s"].get<double>(), 17.0e-6, 1.5e-6);
  EXPECT_NEAR(usual["rows"][0]["time_s"].get<double>(), 7.4e-6, 0.8e-6);
  EXPECT_EQ(gather({"--gpus-per-thread", "1"})["rows"], usual["rows"]);
  EXPECT_EQ(refusal({"dgx-h100", "--ranks", "8", "--gpus-per-thread", "3"}),
            "--gpus-per-thread: found 3, expected a divisor of 8, the ranks of a node\n");
  EXPECT_EQ(refusal({"dgx-h100", "--gpus-per-thread", "0"}),
            "--gpus-per-thread: found \"0\", expected an integer of at least 1\n");
  EXPECT_EQ(refusal({"dgx-h100", "--library", "mpi", "--gpus-per-thread", "2"}),
            "--gpus-per-thread: found 2 with --library mpi, expected --library nccl or rccl\n");
  EXPECT_EQ(refusal({"dgx-h100", "--op", "dispatch", "--gpus-per-thread", "2"}),
            "--gpus-per-thread: found 2 with --op dispatch, expected a collective: an expert exchange runs "
            "DeepEP's kernels, of one algorithm\n");
}

TEST(CollectiveCommand, CallsTimedByThemselvesHoldTheirStart) {
  const auto reduce = [](std::vector<std::string> more) {
    more.insert(more.begin(), {"dgx-h200", "--ranks", "8", "--sizes", "256KiB,8GiB"});
    return answer(std::move(more));
  };
  const Json usual = reduce({}), lone = reduce({"--calls-in-a-row", "1"});
  EXPECT_EQ(lone["calls_in_a_row"], 1);
  EXPECT_FALSE(usual.contains("calls_in_a_row"));
  EXPECT_TRUE(has_warning(lone, "timed 1 at a time"));
  for (size_t i = 0; i < 2; ++i) {
    const double more = lone["rows"][i]["time_s"].get<double>() - usual["rows"][i]["time_s"].get<double>();
    EXPECT_GT(more, 10e-6) << i;
    EXPECT_LT(more, 25e-6) << i;
    EXPECT_EQ(lone["rows"][i]["evidence"], "extrapolated");
  }
  // Published for eight H200 with an event before and one behind each call: 39.1 us (all_reduce_bench.py).
  EXPECT_NEAR(lone["rows"][0]["time_s"].get<double>(), 39.1e-6, 5e-6);
  EXPECT_EQ(reduce({"--calls-in-a-row", "20"})["rows"], usual["rows"]);
  EXPECT_EQ(
      refusal({"dgx-h100", "--calls-in-a-row", "1", "--gpus-per-thread", "8"}),
      "--calls-in-a-row: found 1 with --gpus-per-thread 8, expected --gpus-per-thread 1: a start holds a "
      "launch, and nobody timed both together\n");
  EXPECT_EQ(refusal({"dgx-h100", "--calls-in-a-row", "x"}),
            "--calls-in-a-row: found \"x\", expected an integer of at least 1\n");
  EXPECT_EQ(refusal({"dgx-h100", "--library", "mpi", "--calls-in-a-row", "1"}),
            "--calls-in-a-row: found 1 with --library mpi, expected --library nccl, whose calls were timed "
            "both ways\n");
  EXPECT_EQ(refusal({"dgx-h100", "--op", "dispatch", "--calls-in-a-row", "1"}),
            "--calls-in-a-row: found 1 with --op dispatch, expected a collective: an expert exchange runs "
            "DeepEP's kernels, of one algorithm\n");
}

TEST(CollectiveCommand, SaysThatAProfileSaysNothingOfThis) {
  const auto warned = [](const std::string& calibration, const std::string& text) {
    const Json json = answer({"dgx-h100", "--ranks", "8", "--sizes", "1MiB", "--calibration", calibration});
    return std::count(json["warnings"].begin(), json["warnings"].end(), text);
  };
  EXPECT_EQ(warned("a100-sxm4-80gb",
                   "--calibration a100-sxm4-80gb is of a100-sxm4-80gb: the times are the "
                   "shipped ones"),
            1);
  EXPECT_EQ(warned("h100-sxm-80gb",
                   "--calibration h100-sxm-80gb holds no collectives: the times are the "
                   "shipped ones"),
            1);
}

TEST(CollectiveCommand, LibrariesDiffer) {
  const auto time = [](const char* library) {
    return answer({"dgx-h100", "--ranks", "16", "--sizes", "256MiB", "--library", library})["rows"][0];
  };
  EXPECT_EQ(time("mpi")["protocol"], "host_staged");
  EXPECT_EQ(time("gloo")["algorithm"], "ring");
  EXPECT_LT(time("nccl")["time_s"].get<double>(), time("mpi")["time_s"].get<double>());
  EXPECT_LT(time("mpi")["time_s"].get<double>(), time("gloo")["time_s"].get<double>());
}

TEST(CollectiveCommand, VersionsChooseByTheirOwnTable) {
  // PAT came with 2.23: short gathers of one rank a node.
  const std::vector<std::string> base = {"dgx-h100",         "--op", "all_gather", "--ranks", "32",
                                         "--ranks-per-node", "1",    "--sizes",    "1MiB"};
  const auto with = [&](const char* version) {
    std::vector<std::string> all = base;
    all.insert(all.end(), {"--nccl-version", version});
    return answer(all)["rows"][0]["algorithm"];
  };
  EXPECT_EQ(with("2.21.5"), "ring");
  EXPECT_EQ(with("2.23"), "pat");
  // The times stay, which the answer says.
  std::vector<std::string> older = base;
  older.insert(older.end(), {"--nccl-version", "2.21.5"});
  const Json named = answer(older), usual = answer(base);
  EXPECT_EQ(named["rows"][0]["time_s"], usual["rows"][0]["time_s"]);
  EXPECT_TRUE(has_warning(named, "--nccl-version changes the names alone"));
  EXPECT_FALSE(has_warning(usual, "--nccl-version"));
}

TEST(CollectiveCommand, ExchangesWithExperts) {
  // Twice the tokens take less than twice the time (a start), and never less than their bytes through the
  // NIC.
  const Json result = answer({"dgx-h100", "--op", "dispatch", "--ranks", "32", "--sizes", "32MB,64MB",
                              "--top-k", "8", "--experts", "256"});
  const double one = result["rows"][0]["time_s"];
  const double two = result["rows"][1]["time_s"];
  EXPECT_GT(two, one);
  EXPECT_LT(two, 2 * one);
  // Of 4 nodes a token of 8 experts reaches nearly all: close to 3 x 3/4 x ... copies leave; at least 2.6 do.
  EXPECT_GE(one, 2.6 * 32e6 / 50e9);
  EXPECT_GT(answer({"dgx-h100", "--op", "combine", "--ranks", "32", "--sizes", "64MB"})["rows"][0]["time_s"]
                .get<double>(),
            0.0);
}

TEST(CollectiveCommand, ExchangesSayWhatTheyRestOnAndOverWhat) {
  // DeepEP was measured on H800; on PCIe nothing was, and there is no NVLink to name.
  const Json pcie =
      answer({"-", "--op", "dispatch", "--ranks", "8", "--sizes", "32MB"},
             R"({"node": {"gpu": "l40s", "gpus": 8, "scale_up": {"kind": "pcie"}}, "nodes": 1})");
  EXPECT_EQ(pcie["rows"][0]["evidence"], "assumed");
  EXPECT_EQ(pcie["rows"][0]["protocol"], "pcie");
  EXPECT_TRUE(has_warning(pcie, "nothing like this was measured"));
  const Json hopper = answer({"dgx-h100", "--op", "combine", "--ranks", "32", "--sizes", "32MB"});
  EXPECT_EQ(hopper["rows"][0]["evidence"], "assumed");
  EXPECT_EQ(hopper["rows"][0]["protocol"], "network");
}

TEST(CollectiveCommand, ReadsClustersFromFilesAndStandardInput) {
  const Json from_input = answer({"-", "--sizes", "1GiB"}, R"({"preset": "dgx-h100", "nodes": 4})");
  EXPECT_EQ(from_input["ranks"], 32);
  const Json with_setting = answer({"dgx-h100", "--set", "nodes=4", "--sizes", "1GiB"});
  EXPECT_EQ(with_setting["rows"], from_input["rows"]);
  const Json rack = answer({"gb200-nvl72", "--sizes", "1GiB", "--ranks", "72"});
  EXPECT_EQ(rack["nodes"], 18);
  EXPECT_EQ(rack["domains"], 1);
}

TEST(CollectiveCommand, CsvHasALineASize) {
  const CliRun run = collective({"dgx-a100-80gb", "--ranks", "8", "--sizes", "1KiB:1MiB", "--format", "csv"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(
      run.out.rfind("bytes,count,time_s,algbw_bytes_per_s,busbw_bytes_per_s,algorithm,protocol,channels,"
                    "evidence,relative_spread\n",
                    0),
      0U);
  EXPECT_EQ(std::count(run.out.begin(), run.out.end(), '\n'), 12);
}

TEST(CollectiveCommand, RefusesBadOptionsInOneLineEach) {
  EXPECT_EQ(
      refusal({"dgx-h100", "--op", "all_reduse"}),
      "--op: found \"all_reduse\", expected \"all_reduce\" or one of reduce_scatter, all_gather, broadcast, "
      "all_to_all, send_receive, dispatch, combine\n");
  EXPECT_EQ(refusal({"dgx-h100", "--library", "ncl", "--ranks", "x"}),
            "--ranks: found \"x\", expected an integer of at least 1\n"
            "--library: found \"ncl\", expected \"nccl\" or one of rccl, mpi, gloo\n");
  EXPECT_EQ(refusal({"dgx-h100", "--ranks", "12"}),
            "--ranks: found 12, expected a multiple of 8, the ranks of a node (or --ranks-per-node)\n");
  EXPECT_EQ(
      refusal({"dgx-h100", "--ranks", "512"}),
      "--ranks: found 512, expected at most 256: 32 nodes with 8 ranks each (--set nodes=N for more)\n");
  EXPECT_EQ(refusal({"dgx-h100", "--ranks", "1"}),
            "--ranks: found 1, expected at least 2: one rank sends nothing\n");
  EXPECT_EQ(refusal({"dgx-h100", "--ranks-per-node", "9"}),
            "--ranks-per-node: found 9, expected an integer in [1, 8]: the GPUs of a node\n");
  EXPECT_EQ(refusal({"dgx-h100", "--nccl-version", "2.10"}),
            "--nccl-version: found \"2.10\", expected a version from 2.18 to 2.30, such as \"2.18\" or "
            "\"2.27.3\"\n");
  EXPECT_EQ(refusal({"dgx-h100", "--nccl-version", "9.9"}),
            "--nccl-version: found \"9.9\", expected a version from 2.18 to 2.30, such as \"2.30\" or "
            "\"2.27.3\"\n");
  EXPECT_EQ(refusal({"dgx-h100", "--algorithm", "rign"})
                .rfind("--algorithm: found \"rign\", expected \"ring\" or", 0),
            0U);
  EXPECT_EQ(
      refusal({"dgx-h100", "--algorithm", "pat", "--sizes", "1MiB"}),
      "--algorithm: found \"pat\", expected an algorithm that can run all_reduce on this group (pat: not for "
      "this operation)\n");
  EXPECT_EQ(
      refusal({"dgx-h100", "--library", "rccl"}),
      "--library: found rccl on h100-sxm-80gb, expected nccl, mpi or gloo: RCCL runs on AMD's GPUs only\n");
  EXPECT_EQ(refusal({"dgx-h100", "--library", "mpi", "--nccl-version", "2.21"}),
            "--nccl-version: found \"2.21\" with --library mpi, expected --library nccl\n");
  EXPECT_EQ(refusal({"dgx-h100", "--op", "dispatch", "--ranks", "8", "--experts", "12"}),
            "--experts: 8 ranks do not divide 12 experts\n");
  EXPECT_NE(refusal({"dgx-h10"}).find("expected \"dgx-h100\""), std::string::npos);
  EXPECT_NE(refusal({"-"}, R"({"preset": "dgx-h100", "ndoes": 4})").find("/ndoes: found an unknown key"),
            std::string::npos);
}

TEST(CollectiveCommand, RefusesALibraryWithoutConstantsForTheGpuByItsOption) {
  const CliRun run = run_orrery({"collective", "tpu-v4", "--sizes", "1MiB"});
  EXPECT_EQ(run.err,
            "--library: found nccl on tpu-v4, expected mpi or gloo: NCCL's constants are those of "
            "architectures volta, "
            "ampere, ada, hopper, blackwell\n");
  EXPECT_EQ(run.exit_code, 2);
}

TEST(CollectiveCommand, CarriesItsClusterInFullAndItsHash) {
  const auto of = [](const std::string& nodes) {
    return run_orrery(
               {"collective", "dgx-h100", "--set", "nodes=" + nodes, "--sizes", "1MiB", "--format", "json"})
        .json();
  };
  const Json two = of("2");
  EXPECT_EQ(two.at("resolved").at("nodes").at("value"), 2);
  EXPECT_EQ(two.at("resolved").at("node").at("gpus").at("origin"), "preset dgx-h100");
  EXPECT_NE(two.at("run").at("inputs").at("cluster"), of("4").at("run").at("inputs").at("cluster"));
}

TEST(CollectiveCommand, RefusesOptionsThatWouldChangeNothing) {
  EXPECT_EQ(refusal({"dgx-h100", "--top-k", "4", "--experts", "64", "--low-latency"}),
            "--top-k: found 4 with --op all_reduce, expected --op dispatch or combine\n"
            "--experts: found 64 with --op all_reduce, expected --op dispatch or combine\n"
            "--low-latency: found it with --op all_reduce, expected --op dispatch or combine\n");
  EXPECT_EQ(
      refusal({"dgx-h100", "--op", "dispatch", "--library", "nccl", "--nccl-version", "2.21"}),
      "--library: found \"nccl\" with --op dispatch, expected a collective: an expert exchange runs DeepEP's "
      "kernels, of one algorithm\n"
      "--nccl-version: found \"2.21\" with --op dispatch, expected a collective: an expert exchange runs "
      "DeepEP's kernels, of one algorithm\n");
  EXPECT_EQ(refusal({"dgx-h100", "--library", "mpi", "--calibration", "h100-sxm-80gb"}),
            "--calibration: found \"h100-sxm-80gb\" with --library mpi, expected --library nccl or rccl\n");
}

TEST(CollectiveCommand, RefusesBadSizes) {
  EXPECT_EQ(refusal({"dgx-h100", "--sizes", "1MiB:1KiB"}),
            "--sizes: found \"1MiB:1KiB\", expected a second size not below the first\n");
  EXPECT_EQ(refusal({"dgx-h100", "--sizes", "1KiB:1MiB:1"}),
            "--sizes: found the factor \"1\", expected a number above 1\n");
  EXPECT_EQ(refusal({"dgx-h100", "--sizes", "1KiB:1MiB:2:2"}),
            "--sizes: found \"1KiB:1MiB:2:2\", expected FROM:TO, FROM:TO:FACTOR or SIZE,SIZE,...\n");
  EXPECT_EQ(refusal({"dgx-h100", "--sizes", "1KiB:1GiB:1.001"}),
            "--sizes: found \"1KiB:1GiB:1.001\", expected at most 1000 sizes\n");
  for (const char* bad : {"1024", "1 MX", "-1MiB", "1KiB,,2KiB", "0 B", "9000 PB"}) {
    EXPECT_EQ(refusal({"dgx-h100", "--sizes", bad}).rfind("--sizes: found \"", 0), 0U) << bad;
  }
}

}  // namespace
}  // namespace orrery::test
