#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include "tests/cli/cli_program.hpp"

namespace orrery::test {
namespace {

/// Four nodes of one GPU on two leaves; 1 GB/s everywhere, no latency anywhere.
constexpr const char* kCluster = R"({
  "node": {"gpu": "h100-sxm-80gb", "gpus": 1, "scale_up": {"kind": "none"},
           "nics": {"count": 1, "bandwidth": "1 GB/s", "latency": "0 s", "protocol": "infiniband"},
           "host_link": "64 GB/s"},
  "nodes": 4,
  "fabric": {"kind": "single_switch", "link_latency": "0 s", "switch_latency": "0 s"}
})";

struct Files {
  TemporaryFolder folder;
  std::string cluster = folder.write("cluster.json", kCluster);
};

CliRun traffic(std::vector<std::string> arguments, const std::string& input = "") {
  arguments.insert(arguments.begin(), "traffic");
  return run_orrery(arguments, input);
}

TEST(TrafficCommand, AnswersInTheContractsKeysAndSharesTheReceiver) {
  const Files files;
  const CliRun run = traffic({files.cluster, "-", "--format", "json", "--quiet"},
                             "{\"from\": 0, \"to\": 3, \"bytes\": 1000000000}\n\n"
                             "{\"from\": \"node1/gpu0\", \"to\": 3, \"bytes\": 1e9, \"start_s\": 0.0}\n"
                             "{\"from\": 2, \"to\": 1, \"bytes\": 500000000, \"start_s\": 0.25}\n");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json json = run.json();
  EXPECT_EQ(json["schema"], "orrery.traffic/1");
  EXPECT_EQ(json["flows"], 3);
  const double payload = json["transport"]["payload_efficiency"];
  const double fixed = json["transport"]["ramp_s"];
  // Two flows share GPU 3's cable, the third has its links to itself; latencies and bus apart below 0.1 ms.
  ASSERT_EQ(json["completion_s"].size(), 3U);
  EXPECT_NEAR(json["completion_s"][0].get<double>(), 2.0 / payload + fixed, 1e-4);
  EXPECT_NEAR(json["completion_s"][1].get<double>(), 2.0 / payload + fixed, 1e-4);
  EXPECT_NEAR(json["completion_s"][2].get<double>(), 0.5 / payload + fixed, 1e-4);
  EXPECT_EQ(json["max_s"], std::max(json["completion_s"][0], json["completion_s"][1]));
  EXPECT_EQ(json["collisions"], 2);
  double busiest = 0.0;
  std::string to;
  for (const Json& link : json["links"]) {
    EXPECT_LE(link["mean_use"].get<double>(), 1.0 + 1e-9);
    if (link["busy_s"].get<double>() > busiest) to = link["to"];
    busiest = std::max(busiest, link["busy_s"].get<double>());
  }
  EXPECT_EQ(to, "node3/nic0");
  EXPECT_NEAR(busiest, 2.0 / payload, 1e-3);
}

TEST(TrafficCommand, TextNamesTheBindingLinkAndWhatWasAssumed) {
  const Files files;
  const CliRun run =
      traffic({files.cluster, "-", "--seeds", "3"}, "{\"from\": 0, \"to\": 3, \"bytes\": 1000000}\n");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  for (const char* part : {"1 flows on the given cluster, 4 GPUs", "last acknowledgement", "completion  mean",
                           "over 3 seeds", "collisions: 0 of 1", "node3/nic0"}) {
    EXPECT_NE(run.out.find(part), std::string::npos) << part << "\n" << run.out;
  }
}

TEST(TrafficCommand, CsvAndUsage) {
  const Files files;
  const std::string usage = (files.folder.path() / "usage.json").string();
  const CliRun run =
      traffic({files.cluster, "-", "--format", "csv", "--quiet", "--usage", usage, "--usage-parts", "4"},
              "{\"from\": 0, \"to\": 3, \"bytes\": 1000000}\n");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out.rfind("flow,from,to,bytes,start_s,completion_s\n0,node0/gpu0,node3/gpu0,1000000,0,", 0),
            0U)
      << run.out;
  std::ifstream file(usage);
  std::stringstream text;
  text << file.rdbuf();
  const Json json = Json::parse(text.str());
  EXPECT_EQ(json["schema"], "orrery.usage/1");
  ASSERT_FALSE(json["links"].empty());
  EXPECT_EQ(json["links"][0]["use"].size(), 4U);
}

TEST(TrafficCommand, RefusesAllBadLinesAtOnce) {
  const Files files;
  const CliRun run = traffic({files.cluster, "-"},
                             R"({"from": 0, "to": 4, "bytes": 1}
{"from": 1, "to": 1, "bytes": 1}
{"from": 0, "bytes": -5, "to": "node9/gpu0"}
{"form": 0, "to": 1, "bytes": "1 MB", "start_s": -1}
{"from": 0, "to": 1, "bytes": 1,}
)");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.out, "");
  EXPECT_EQ(run.err,
            R"(-:1: /to: found 4, expected a GPU in [0, 3] or the id of a GPU or storage
-:2: /to: found 1, expected another endpoint than /from
-:3: /to: found "node9/gpu0", expected a GPU in [0, 3] or the id of a GPU or storage such as node0/gpu0, node1/gpu0, node2/gpu0 or node3/gpu0
-:3: /bytes: found -5, expected a number above 0 and up to 1e+18
-:4: /form: found an unknown key, expected "from" or one of to, bytes, start_s
-:4: /from: found nothing, expected a GPU in [0, 3] or the id of a GPU or storage
-:4: /bytes: found "1 MB", expected a number above 0 and up to 1e+18
-:4: /start_s: found -1, expected a number from 0 up to 1e+09
-:5: column 33: syntax error while parsing object key - unexpected '}'; expected string literal
)");
}

TEST(TrafficCommand, RefusesOptionsAndClustersByName) {
  const Files files;
  const std::string line = "{\"from\": 0, \"to\": 1, \"bytes\": 1}\n";
  const CliRun options = traffic({files.cluster, "-", "--seeds", "0", "--tolerance", "2", "--until",
                                  "recieved", "--usage", "u.json", "--usage-parts", "x"},
                                 line);
  EXPECT_EQ(options.exit_code, 2);
  EXPECT_EQ(options.err,
            "--seeds: found \"0\", expected an integer in [1, 100000]\n"
            "--tolerance: found \"2\", expected a number in [0, 0.5]\n"
            "--until: found \"recieved\", expected \"received\" or \"acknowledged\"\n"
            "--usage-parts: found \"x\", expected an integer in [1, 10000]\n");
  const CliRun parts = traffic({files.cluster, "-", "--usage-parts", "4"}, line);
  EXPECT_EQ(parts.exit_code, 2);
  EXPECT_EQ(parts.err, "--usage-parts: there is no --usage that it could cut\n");
  const CliRun cluster = traffic({"dgx-h10", "-"}, line);
  EXPECT_EQ(cluster.exit_code, 2);
  EXPECT_EQ(cluster.err.rfind("dgx-h10: found \"dgx-h10\", expected \"dgx-h100\" or one of ", 0), 0U)
      << cluster.err;
  const CliRun twice = traffic({"-", "-"}, line);
  EXPECT_EQ(twice.exit_code, 2);
  EXPECT_EQ(twice.err,
            "orrery traffic: found - twice, expected standard input for one of CLUSTER and FLOWS\n");
  const CliRun none = traffic({files.cluster, "-"}, " \n");
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_EQ(none.err, "-: found no flow, expected a JSON object a line\n");
}

TEST(TrafficCommand, APresetWithSettings) {
  const CliRun run = traffic({"dgx-h100", "-", "--set", "nodes=4", "--format", "json", "--quiet"},
                             "{\"from\": 0, \"to\": 1, \"bytes\": 1000000000}\n"
                             "{\"from\": 8, \"to\": 16, \"bytes\": 1000000000}\n");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json json = run.json();
  // NVLink at 450 GB/s, a cable at 400 Gb/s: latencies and efficiencies leave a factor near 9.
  EXPECT_NEAR(json["completion_s"][1].get<double>() / json["completion_s"][0].get<double>(), 9.0, 0.7);
}

TEST(TrafficCommand, ANodeHasTheRateOfAClientWithTheStore) {
  // 1 GB/s a node: 1 GB to one GPU takes 1 s, to two of another node 2 s each; the store's 10 GB/s and the
  // cables' 50 bind nobody. Ramp and latencies take less than 1 ms.
  const CliRun run =
      traffic({"dgx-h100", "-", "--set", "nodes=4", "--set",
               R"(storage={"kind":"shared","read_bandwidth":"10 GB/s","per_client_bandwidth":"1 GB/s"})",
               "--format", "json", "--quiet"},
              "{\"from\": \"storage0\", \"to\": 0, \"bytes\": 1000000000}\n"
              "{\"from\": \"storage0\", \"to\": 8, \"bytes\": 1000000000}\n"
              "{\"from\": \"storage0\", \"to\": \"node1/gpu1\", \"bytes\": 1000000000}\n"
              "{\"from\": 16, \"to\": \"storage0\", \"bytes\": 1000000000}\n");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json json = run.json();
  const std::vector<double> expected = {1.0, 2.0, 2.0, 1.0};
  for (size_t flow = 0; flow < expected.size(); ++flow) {
    EXPECT_NEAR(json["completion_s"][flow].get<double>(), expected[flow], 1e-3) << flow;
  }
}

}  // namespace
}  // namespace orrery::test
