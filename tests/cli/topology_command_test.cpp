#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "tests/cli/cli_program.hpp"

namespace orrery::test {
namespace {

/// The first scalable unit of the DGX H100 SuperPOD: 32 nodes, 8 leaves, 4 spines, 256 + 256 cables; messages
/// stay on the rail of their sender.
const std::vector<std::string> kUnit = {"topology", "dgx-h100",         "--set", "nodes=32",
                                        "--set",    "fabric.pxn=false", "--set", "fabric.routing=ecmp"};

std::vector<std::string> with(std::vector<std::string> arguments, const std::vector<std::string>& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(TopologyCommand, PrintsTheCountsOfASuperPodUnit) {
  const CliRun run = run_orrery(with(kUnit, {"--format", "json"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json json = run.json();
  EXPECT_EQ(json.at("schema"), "orrery.topology/1");
  EXPECT_EQ(json.at("gpus"), 256);
  EXPECT_EQ(json.at("nodes"), 32);
  EXPECT_EQ(json.at("switches"), 12);
  EXPECT_EQ(json.at("links"), 512);
  EXPECT_EQ(json.at("diameter_hops"), 3);
  // 128 NICs of 400 Gb/s on either side, and 32 ports up for 32 down.
  EXPECT_EQ(json.at("bisection_bytes_per_s"), 128 * 50e9);
  EXPECT_EQ(json.at("oversubscription"), Json::parse("[1.0]"));
  EXPECT_EQ(json.at("paths").at("min"), 32);
  EXPECT_EQ(json.at("paths").at("median"), 32);
  EXPECT_EQ(json.at("paths").at("max"), 32);
  EXPECT_EQ(json.at("single_failures").at(0).at("component"), "leaf");
  // The NIC of its number in each node: the GPUs use another one.
  EXPECT_EQ(json.at("single_failures").at(0).at("gpus_cut_off"), 0);
  EXPECT_EQ(json.at("single_failures").at(0).at("gpus_detoured"), 32);
  EXPECT_EQ(json.at("single_failures").at(0).at("tried"), 4);
}

TEST(TopologyCommand, TellsItInWords) {
  const CliRun run = run_orrery(kUnit);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  for (const char* line :
       {"dgx-h100: 32 nodes of 8 h100-sxm-80gb = 256 GPUs, fabric rail_optimized, routing ecmp",
        "tiers             8 leaves, 64 of 64 ports used; 4 spines, 64 of 64 ports used",
        "cables            256 NIC-leaf of 400 Gb/s; 256 leaf-spine of 400 Gb/s",
        "bisection         6.4 TB/s one way, 100.0 % of what the NICs of one half can send",
        "oversubscription  leaf 1 : 1 (down over up, measured)",
        "what fails first  one leaf of 8 (leaf0, worst of 4 tried): 0 GPUs cut off, 32 on another NIC, "
        "bisection down to 87.5 %"}) {
    EXPECT_NE(run.out.find(line), std::string::npos) << line << "\n" << run.out;
  }
  EXPECT_LE(std::count(run.out.begin(), run.out.end(), '\n'), 30);
}

TEST(TopologyCommand, CutsAnOddNumberOfNodesBesideTheMiddleOne) {
  // 31 nodes: 15 x 8 NICs of 50 GB/s against 16.
  const CliRun run = run_orrery({"topology", "superpod-h100", "--set", "nodes=31"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(
      run.out.find(
          "bisection         6 TB/s one way, 100.0 % of what the NICs of 120 of the 248 GPUs can send\n"),
      std::string::npos)
      << run.out;
}

TEST(TopologyCommand, ComparesADamagedFabricWithAWholeOne) {
  // A leaf takes 32 of 256 NICs: 7/8 of what the NICs of one half send with nothing broken; all GPUs still
  // reach all.
  const CliRun run =
      run_orrery(with(kUnit, {"--set", "fabric.failed_switches=[\"leaf0\"]", "--format", "json"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.json().at("bisection_bytes_per_s"), 112 * 50e9);
  EXPECT_EQ(run.json().at("full_bisection_bytes_per_s"), 128 * 50e9);
  EXPECT_EQ(run.json().at("unreachable_pairs"), 0);
}

TEST(TopologyCommand, ComparesWhatADragonflyInjectsWithItsGlobalCables) {
  // Frontier with ten groups of the 74, full: 128 x 4 NICs over 9 x 4 global cables of the same rate.
  const CliRun run = run_orrery(
      {"topology", "frontier", "--set", "nodes=1280", "--set", "fabric.groups=10", "--format", "json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_DOUBLE_EQ(run.json().at("oversubscription").at(0).get<double>(), 512.0 / 36.0);
}

TEST(TopologyCommand, MeasuresWhatSettingsChange) {
  const CliRun run =
      run_orrery({"topology", "dgx-h100", "--set", "nodes=64", "--set", "fabric.oversubscription=[2]",
                  "--set", "fabric.failed_switches=[\"spine0\"]", "--format", "json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json json = run.json();
  // 2:1 above the leaves, of the spines one less.
  const int spines = json.at("tiers").at(1).at("switches").get<int>();
  EXPECT_EQ(json.at("tiers").at(1).at("failed"), 1);
  EXPECT_NEAR(json.at("oversubscription").at(0).get<double>(), 2.0 * spines / (spines - 1), 1e-9);
  EXPECT_NEAR(json.at("bisection_bytes_per_s").get<double>(), 256 * 50e9 / 2 * (spines - 1) / spines, 1.0);
}

TEST(TopologyCommand, ListsIdsThatFailedLinksTake) {
  const CliRun run = run_orrery(with(kUnit, {"--ids", "--format", "json"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json ids = run.json().at("ids");
  EXPECT_EQ(ids.at("switches").size(), 12u);
  EXPECT_EQ(ids.at("cables").size(), 512u);
  const std::string link = ids.at("cables").at(300).at("link").dump();
  const CliRun failed =
      run_orrery(with(kUnit, {"--set", "fabric.failed_links=[" + link + "]", "--format", "json"}));
  ASSERT_EQ(failed.exit_code, 0) << failed.err;
  int broken = 0;
  const Json json = failed.json();
  for (const Json& count : json.at("cables")) broken += count.at("failed").get<int>();
  EXPECT_EQ(broken, 1);
}

TEST(TopologyCommand, PrintsKeysAndValuesAsCsv) {
  const CliRun run = run_orrery(with(kUnit, {"--format", "csv"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(run.out.starts_with("key,value\n"));
  EXPECT_NE(run.out.find("\npaths.median,32\n"), std::string::npos);
}

TEST(TopologyCommand, ExportsAGraphThatReadsBackAsTheSameFabric) {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "graph.json").string();
  for (const char* settings : {"nodes=8", "nodes=40"}) {
    const std::vector<std::string> cluster = {"topology", "dgx-h100", "--set", settings, "--format", "json"};
    const CliRun built = run_orrery(with(cluster, {"--graph", file}));
    ASSERT_EQ(built.exit_code, 0) << built.err;
    const CliRun read = run_orrery({"topology", file, "--format", "json"});
    ASSERT_EQ(read.exit_code, 0) << read.err;
    const Json a = built.json();
    const Json b = read.json();
    for (const char* key : {"gpus", "nodes", "switches", "links", "diameter_hops", "bisection_bytes_per_s",
                            "oversubscription", "paths", "distances", "cables"}) {
      EXPECT_EQ(a.at(key), b.at(key)) << key;
    }
    EXPECT_EQ(b.at("fabric"), "graph");
  }
  // NVLink domains of several nodes and routers in nodes keep their routes.
  for (const char* kind : {"nvl72", "torus"}) {
    const std::vector<std::string> cluster = {
        "topology", "gb200-tray", "--set", "nodes=36",
        "--format", "json",       "--set", std::string("fabric.kind=") + kind};
    const CliRun built = run_orrery(with(cluster, {"--graph", file}));
    ASSERT_EQ(built.exit_code, 0) << built.err;
    const CliRun read = run_orrery({"topology", file, "--format", "json"});
    ASSERT_EQ(read.exit_code, 0) << read.err;
    for (const char* key : {"gpus", "nodes", "diameter_hops", "bisection_bytes_per_s"}) {
      EXPECT_EQ(built.json().at(key), read.json().at(key)) << kind << " " << key;
    }
    EXPECT_EQ(built.err.find("NVSwitches") != std::string::npos, std::string(kind) == "nvl72") << built.err;
  }
}

/// Llama 3 70B of the examples on a cluster read from a file, with these settings.
CliRun predict_on(const std::string& cluster_file, const std::vector<std::string>& settings) {
  Json experiment =
      Json::parse(read_text_file(std::string(ORRERY_SOURCE_DIR) + "/examples/llama3-70b-h100.json"));
  experiment["cluster"] = Json::parse(read_text_file(cluster_file));
  return run_orrery(with({"predict", "-", "--format", "json"}, settings), experiment.dump());
}

TEST(TopologyCommand, ExportsAGraphThatPredictsAsTheFabricDoes) {
  // Three tiers, so that cores stay cores; the GPU by its name, on which kernel and collective times rest.
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "graph.json").string();
  const std::vector<std::string> sizes = {"nodes=16", "fabric.kind=fat_tree", "fabric.switch_radix=16",
                                          "fabric.tiers=3", "fabric.oversubscription=[2,2]"};
  std::vector<std::string> build = {"topology", "dgx-h100", "--graph", file, "--format", "json"};
  std::vector<std::string> cluster;
  for (const std::string& size : sizes) {
    build.insert(build.end(), {"--set", size});
    cluster.insert(cluster.end(), {"--set", "cluster." + size});
  }
  const CliRun built = run_orrery(build);
  ASSERT_EQ(built.exit_code, 0) << built.err;
  const CliRun read = run_orrery({"topology", file, "--format", "json"});
  ASSERT_EQ(read.exit_code, 0) << read.err;
  for (const char* key : {"oversubscription", "cables", "bisection_bytes_per_s"})
    EXPECT_EQ(built.json().at(key), read.json().at(key)) << key;

  const std::vector<std::string> training = {"--set", "training.global_batch=256"};
  const CliRun tree =
      run_orrery(with(with({"predict", "llama3-70b-h100", "--format", "json"}, training), cluster));
  ASSERT_EQ(tree.exit_code, 0) << tree.err;
  const CliRun graph = predict_on(file, training);
  ASSERT_EQ(graph.exit_code, 0) << graph.err;
  const double step = tree.json().at("step_time_s").get<double>();
  EXPECT_NEAR(graph.json().at("step_time_s").get<double>(), step, 1e-4 * step);
  EXPECT_EQ(graph.json().at("evidence"), tree.json().at("evidence"));
  EXPECT_EQ(graph.json().at("warnings").size(), tree.json().at("warnings").size());
}

TEST(TopologyCommand, ExportsSharedStorageAndWhatItCosts) {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "graph.json").string();
  const std::vector<std::string> settings = {
      R"(storage={"kind": "shared", "read_bandwidth": "40 GB/s", "write_bandwidth": "20 GB/s",
                  "per_client_bandwidth": "10 GB/s", "redundancy": "replication:2"})",
      "fabric.oversubscription=[2]", "fabric.failed_links=[[\"storage0/nic\", \"spine0\"]]",
      "price={\"gpu_hour\": \"2 USD\"}"};
  std::vector<std::string> build = {"topology", "dgx-h100", "--set",    "nodes=32",
                                    "--graph",  file,       "--format", "json"};
  std::vector<std::string> cluster = {"--set", "cluster.nodes=32"};
  for (const std::string& setting : settings) {
    build.insert(build.end(), {"--set", setting});
    cluster.insert(cluster.end(), {"--set", "cluster." + setting});
  }
  const CliRun built = run_orrery(build);
  ASSERT_EQ(built.exit_code, 0) << built.err;
  const CliRun read = run_orrery({"topology", file, "--format", "json"});
  ASSERT_EQ(read.exit_code, 0) << read.err;
  for (const char* key : {"switches", "links", "storage", "cables"})
    EXPECT_EQ(built.json().at(key), read.json().at(key)) << key;

  const std::vector<std::string> training = {"--set", "training.global_batch=512", "--set",
                                             "training.checkpoint={\"every\": 10}"};
  const CliRun tree =
      run_orrery(with(with({"predict", "llama3-70b-h100", "--format", "json"}, training), cluster));
  ASSERT_EQ(tree.exit_code, 0) << tree.err;
  const CliRun graph = predict_on(file, training);
  ASSERT_EQ(graph.exit_code, 0) << graph.err;
  EXPECT_GT(tree.json().at("breakdown_s").at("checkpoint_exposed"), 0.1);
  EXPECT_EQ(graph.json().at("checkpoint"), tree.json().at("checkpoint"));
  EXPECT_EQ(graph.json().at("cost").at("usd_per_hour"), tree.json().at("cost").at("usd_per_hour"));
}

TEST(TopologyCommand, ExportsSharedStorageThatIsBroken) {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "graph.json").string();
  const CliRun built = run_orrery({"topology", "dgx-h100", "--set", "nodes=16", "--graph", file, "--set",
                                   R"(storage={"kind": "shared", "read_bandwidth": "40 GB/s"})", "--set",
                                   R"(fabric.failed_switches=["storage0/nic", "spine0"])"});
  ASSERT_EQ(built.exit_code, 0) << built.err;
  const Json graph = Json::parse(read_text_file(file));
  EXPECT_EQ(graph.at("fabric").at("failed_switches"), Json::parse(R"(["storage0/nic"])"));
  const CliRun read = run_orrery({"topology", file, "--format", "json"});
  EXPECT_EQ(read.exit_code, 0) << read.err;
}

TEST(TopologyCommand, DrawsAndExports) {
  const TemporaryFolder folder;
  const std::string svg = (folder.path() / "fabric.svg").string();
  const std::string dot = (folder.path() / "fabric.dot").string();
  const CliRun run =
      run_orrery(with(kUnit, {"--svg", svg, "--dot", dot, "--set", "fabric.failed_switches=[\"spine1\"]"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const std::string picture = read_text_file(svg);
  EXPECT_TRUE(picture.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_TRUE(picture.ends_with("</svg>\n"));
  EXPECT_NE(picture.find("stroke-dasharray"), std::string::npos) << "failed cables are dashed";
  EXPECT_LT(picture.size(), 300000u);
  const std::string graph = read_text_file(dot);
  EXPECT_TRUE(graph.starts_with("graph fabric {\n"));
  EXPECT_NE(graph.find("\"leaf0\" -- \"spine0\""), std::string::npos);
}

TEST(TopologyCommand, RefusesInOneLineAndWritesNothing) {
  const TemporaryFolder folder;
  const std::string svg = (folder.path() / "fabric.svg").string();
  const CliRun unknown = run_orrery({"topology", "dgx-h10", "--svg", svg});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_EQ(unknown.out, "");
  EXPECT_TRUE(unknown.err.starts_with("dgx-h10: found \"dgx-h10\", expected \"dgx-h100\" or one of"))
      << unknown.err;
  EXPECT_EQ(std::count(unknown.err.begin(), unknown.err.end(), '\n'), 1);
  EXPECT_FALSE(std::filesystem::exists(svg));

  const CliRun typo = run_orrery(with(kUnit, {"--set", "fabric.oversubscripton=[2]"}));
  EXPECT_EQ(typo.exit_code, 2);
  EXPECT_NE(typo.err.find("/fabric/oversubscripton: found an unknown key, expected \"oversubscription\""),
            std::string::npos)
      << typo.err;

  const CliRun id = run_orrery(with(kUnit, {"--set", "fabric.failed_switches=[\"spine9\"]"}));
  EXPECT_EQ(id.exit_code, 2);
  EXPECT_NE(id.err.find("/fabric/failed_switches/0: found \"spine9\""), std::string::npos) << id.err;

  EXPECT_EQ(run_orrery({"topology"}).exit_code, 2);
  EXPECT_EQ(run_orrery({"topology", "dgx-h100", "dgx-a100"}).exit_code, 2);
  EXPECT_EQ(run_orrery(with(kUnit, {"--ids", "--format", "csv"})).exit_code, 2);
  const CliRun nowhere = run_orrery(with(kUnit, {"--svg", "/nowhere/at/all.svg"}));
  EXPECT_EQ(nowhere.exit_code, 2);
  EXPECT_EQ(nowhere.out, "");
}

TEST(TopologyCommand, WritesAllOfItsFilesOrNone) {
  const TemporaryFolder folder;
  const std::string fresh = (folder.path() / "new.svg").string();
  const std::string kept = folder.write("kept.svg", "before");
  for (const std::string& svg : {fresh, kept}) {
    const CliRun run = run_orrery(
        {"topology", "dgx-h100", "--set", "nodes=2", "--svg", svg, "--dot", "/no-such-folder/x.dot"});
    EXPECT_EQ(run.exit_code, 2);
    EXPECT_EQ(run.err, "/no-such-folder/x.dot: cannot be written: No such file or directory\n");
  }
  EXPECT_FALSE(std::filesystem::exists(fresh));
  EXPECT_EQ(read_text_file(kept), "before");
  const CliRun same = run_orrery({"topology", "dgx-h100", "--set", "nodes=2", "--svg", fresh, "--graph",
                                  (folder.path() / "." / "new.svg").string()});
  EXPECT_EQ(same.err, "--graph: found the file of --svg, expected a file of its own\n");
  EXPECT_EQ(same.exit_code, 2);
}

TEST(TopologyCommand, ReadsStandardInputAndExperiments) {
  const CliRun cluster =
      run_orrery({"topology", "-", "--format", "json"}, R"({"preset": "dgx-a100-80gb", "nodes": 4})");
  ASSERT_EQ(cluster.exit_code, 0) << cluster.err;
  EXPECT_EQ(cluster.json().at("gpus"), 32);
  const CliRun experiment = run_orrery({"topology", "-", "--format", "json"}, small_experiment().dump());
  ASSERT_EQ(experiment.exit_code, 0) << experiment.err;
  EXPECT_EQ(experiment.json().at("gpus"), 8);
}

TEST(TopologyCommand, GivesTheSameBytesEveryTime) {
  EXPECT_EQ(run_orrery(with(kUnit, {"--format", "json"})).out,
            run_orrery(with(kUnit, {"--format", "json"})).out);
}

}  // namespace
}  // namespace orrery::test
