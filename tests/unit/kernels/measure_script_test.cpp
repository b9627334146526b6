// kernels/measure.sh with programs that only pretend: order, budgets, what stays and what appears.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace {

namespace fs = std::filesystem;

struct Outcome {
  int code = 0;
  std::string text;  ///< both streams
};

Outcome run(const std::string& command) {
  Outcome outcome;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  std::array<char, 4096> buffer{};
  while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), pipe))
    outcome.text.append(buffer.data(), count);
  outcome.code = WEXITSTATUS(pclose(pipe));
  return outcome;
}

std::string contents(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

class MeasureScript : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "orrery_measure_XXXXXX").string();
    folder_ = mkdtemp(name.data());
    bin_ = folder_ / "bin";
    fs::create_directory(bin_);
    for (const char* program : {"gemm", "grouped_gemm", "attention", "memory_bound", "launch", "copy",
                                "collectives", "overlap", "sustained", "machine"})
      pretend(program, "exit 0");
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// A program that writes one line to --out, logs its arguments, and then does `end`; --check does only
  /// `check`.
  void pretend(const std::string& program, const std::string& end, const std::string& check = "exit 0") {
    const fs::path path = bin_ / program;
    std::ofstream(path) << "#!/bin/bash\n"
                        << "[ \"$1\" != --check ] || { " << check << "; }\n"
                        << "echo " << program << " \"$@\" >>" << (folder_ / "log").string() << "\n"
                        << "while [ $# -gt 0 ]; do case $1 in --out) out=$2;; esac; shift; done\n"
                        << "echo '{\"op\": \"" << program << "\"}' >\"$out\"\n"
                        << end << "\n";
    fs::permissions(path, fs::perms::owner_all);
  }
  Outcome measure(const std::string& more = "") const {
    return run(std::string(ORRERY_SOURCE_DIR "/kernels/measure.sh --gpu h100-sxm-80gb --bin ") +
               bin_.string() + " --out " + (folder_ / "out").string() + " " + more);
  }

  fs::path folder_, bin_;
};

TEST_F(MeasureScript, WritesOneFolderOfAllFiles) {
  const Outcome outcome = measure("--minutes 10");
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  for (const char* file :
       {"gemm.jsonl", "grouped_gemm.jsonl", "attention.jsonl", "memory.jsonl", "launch.jsonl", "copy.jsonl",
        "collectives.jsonl", "overlap.jsonl", "sustained.jsonl", "machine.json"})
    EXPECT_TRUE(fs::exists(folder_ / "out" / file)) << file;
  EXPECT_FALSE(fs::exists(folder_ / "out.partial"));
  const std::string out = (folder_ / "out").string();
  EXPECT_NE(outcome.text.find("next: orrery calibrate " + out + " --gpu h100-sxm-80gb"), std::string::npos);
}

TEST_F(MeasureScript, BudgetsStayWithinTheMinutes) {
  ASSERT_EQ(measure("--minutes 10 --quick").code, 0);
  std::istringstream log(contents(folder_ / "log"));
  int total = 0, programs = 0;
  for (std::string line; std::getline(log, line);) {
    const std::size_t place = line.find("--budget ");
    if (place == std::string::npos) continue;  // machine
    const int budget = std::atoi(line.c_str() + place + 9);
    EXPECT_GE(budget, 1) << line;
    EXPECT_NE(line.find("--quick"), std::string::npos) << line;
    total += budget;
    ++programs;
  }
  EXPECT_EQ(programs, 9);
  EXPECT_LE(total, 600);
  EXPECT_GE(total, 500);  // and are used
}

TEST_F(MeasureScript, KeepsFinishedResultsOfAFailureAndGoesOnFromThere) {
  pretend("copy", "exit 1");
  const Outcome first = measure();
  EXPECT_EQ(first.code, 1);
  EXPECT_NE(first.text.find("failed: copy"), std::string::npos) << first.text;
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  EXPECT_TRUE(fs::exists(folder_ / "out.partial/gemm.jsonl"));
  EXPECT_FALSE(fs::exists(folder_ / "out.partial/copy.jsonl"));
  EXPECT_FALSE(fs::exists(folder_ / "out.partial/copy.jsonl.running"));
  pretend("copy", "exit 0");
  fs::remove(folder_ / "log");
  EXPECT_EQ(measure().code, 0);
  EXPECT_TRUE(fs::exists(folder_ / "out/copy.jsonl"));
  const std::string log = contents(folder_ / "log");
  EXPECT_NE(log.find("copy"), std::string::npos);
  EXPECT_EQ(log.find("gemm --gpu"), std::string::npos) << "measured again what was there";
}

TEST_F(MeasureScript, InterruptedItEndsTheProgramAndKeepsWhatIsFinished) {
  pretend("grouped_gemm", "exec sleep 60");
  const std::string command =
      std::string(ORRERY_SOURCE_DIR "/kernels/measure.sh --gpu h100-sxm-80gb --bin ") + bin_.string() +
      " --out " + (folder_ / "out").string();
  // Waits until the second program runs, then ends the script as a batch system would.
  const Outcome outcome = run("{ " + command + " & script=$!; for i in $(seq 100); do [ -e " +
                              (folder_ / "out.partial/grouped_gemm.jsonl.running").string() +
                              " ] && break; sleep 0.1; done; kill -TERM $script; wait $script; }");
  EXPECT_EQ(outcome.code, 130) << outcome.text;
  EXPECT_NE(outcome.text.find("interrupted"), std::string::npos) << outcome.text;
  EXPECT_TRUE(fs::exists(folder_ / "out.partial/gemm.jsonl"));
  EXPECT_FALSE(fs::exists(folder_ / "out.partial/grouped_gemm.jsonl.running"));
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

TEST_F(MeasureScript, WithoutADeviceSaysSoAndLeavesNothing) {
  pretend("launch", "exit 0", "exit 77");
  const Outcome outcome = measure();
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.text, "measure.sh: no CUDA device on this machine: nothing to measure\n");
  EXPECT_FALSE(fs::exists(folder_ / "out.partial"));
}

TEST_F(MeasureScript, SaysWhatWasNotBuilt) {
  fs::remove(bin_ / "collectives");
  const Outcome outcome = measure();
  EXPECT_EQ(outcome.code, 0);
  EXPECT_NE(outcome.text.find("collectives was not built"), std::string::npos);
  EXPECT_FALSE(fs::exists(folder_ / "out/collectives.jsonl"));
}

TEST_F(MeasureScript, RefusesABadCommandLine) {
  EXPECT_EQ(measure("--minutes 0").code, 2);
  EXPECT_EQ(measure("--minutes").text, "measure.sh: --minutes has no value\n");
  EXPECT_EQ(
      measure("--fast").text,
      "measure.sh: found --fast, expected one of --gpu --out --shapes --minutes --quick --bin --help\n");
  fs::create_directory(folder_ / "out");
  EXPECT_EQ(measure().code, 2);
  EXPECT_FALSE(fs::exists(folder_ / "out.partial"));
}

TEST_F(MeasureScript, ShapesGoToTheProductsAlone) {
  const fs::path shapes = folder_ / "shapes.jsonl";
  std::ofstream(shapes) << "{\"op\": \"gemm\", \"m\": 1, \"n\": 1, \"k\": 1}\n";
  ASSERT_EQ(measure("--shapes " + shapes.string()).code, 0);
  std::istringstream log(contents(folder_ / "log"));
  for (std::string line; std::getline(log, line);)
    EXPECT_EQ(line.find("--shapes") != std::string::npos, line.starts_with("gemm ")) << line;
}

}  // namespace
