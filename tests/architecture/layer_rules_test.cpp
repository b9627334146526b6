#include "tests/architecture/layer_rules.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "tests/unit/base/temporary_folder.hpp"

namespace orrery::testing {
namespace {

using Lines = std::vector<std::string>;

std::string listed(const Lines& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

TEST(Architecture, IncludesGoDown) { EXPECT_EQ(listed(broken_rules(ORRERY_SOURCE_DIR)), ""); }

TEST(Architecture, LibrariesLinkDown) {
  std::ifstream file(ORRERY_LINK_EDGES);
  ASSERT_TRUE(file) << ORRERY_LINK_EDGES;
  Lines edges;
  for (std::string line; std::getline(file, line);) edges.push_back(line);
  EXPECT_EQ(listed(broken_links(edges)), "");
}

// The rest shows on made-up trees that each rule catches what it is for.

TEST(LayerRules, KnowTheLayerOfAPath) {
  EXPECT_EQ(layer_of("sim/base/errors.hpp"), "sim/base");
  EXPECT_EQ(layer_of("models/presets/a.hpp"), "models");
  EXPECT_EQ(layer_of("calibration/kernels/fit.cpp"), "calibration/kernels");
  EXPECT_EQ(layer_of("calibration/shared.hpp"), "calibration");
  EXPECT_EQ(layer_of("sim/loose.hpp"), "");
  EXPECT_EQ(layer_of("simulator/x.hpp"), "");
}

TEST(LayerRules, HoldTheOrderOfTheDesign) {
  // Each layer with everything it may use; every other pair is forbidden.
  const Lines sim = {"sim/base",        "sim/workload", "sim/network", "sim/cost",
                     "sim/collectives", "sim/timeline", "sim/engine",  "sim/run"};
  const std::vector<std::pair<std::string, Lines>> design = {
      {"sim/base", {}},
      {"sim/workload", {"sim/base"}},
      {"sim/network", {"sim/base"}},
      {"sim/cost", {"sim/base", "sim/workload"}},
      {"sim/collectives", {"sim/base", "sim/workload", "sim/network"}},
      {"sim/timeline", {"sim/base", "sim/workload", "sim/network", "sim/cost", "sim/collectives"}},
      {"sim/engine",
       {"sim/base", "sim/workload", "sim/network", "sim/cost", "sim/collectives", "sim/timeline"}},
      {"models", sim},
      {"topologies", sim},
      {"calibration", sim},
      {"calibration/least_squares", {}},
      {"kernels", {}},
  };
  Lines layers = sim;
  layers.insert(layers.end(),
                {"models", "topologies", "calibration", "calibration/least_squares", "calibration/kernels",
                 "calibration/collectives", "calibration/stacks", "reports", "kernels"});
  for (const auto& [from, uses] : design) {
    for (const std::string& to : layers) {
      const bool allowed = from == to || std::find(uses.begin(), uses.end(), to) != uses.end();
      EXPECT_EQ(may_use(from, to), allowed) << from << " -> " << to;
    }
  }
  EXPECT_TRUE(may_use("calibration/kernels", "calibration/least_squares"));
  EXPECT_TRUE(may_use("calibration/collectives", "calibration/least_squares"));
  EXPECT_TRUE(may_use("calibration/stacks", "calibration/least_squares"));
  EXPECT_FALSE(may_use("calibration/stacks", "calibration/kernels"));
  EXPECT_FALSE(may_use("reports", "calibration/least_squares"));
  EXPECT_FALSE(may_use("calibration/kernels", "calibration/collectives"));
  EXPECT_FALSE(may_use("calibration/collectives", "calibration/kernels"));
  EXPECT_TRUE(may_use("reports", "calibration/kernels"));
  EXPECT_FALSE(may_use("reports", "kernels"));
}

/// A made-up tree: the file under test, and the headers that its includes may find.
Lines broken_by(const std::string& path, const std::string& text) {
  const TemporaryFolder root("layers");
  for (const char* header : {"sim/base/quantity.hpp", "sim/network/topology.hpp", "sim/workload/operator.hpp",
                             "sim/engine/engine.hpp", "models/model_spec.hpp", "topologies/cluster_spec.hpp",
                             "calibration/kernels/fit.hpp", "calibration/collectives/fit.hpp",
                             "reports/writers/text.hpp", "kernels/timing.cuh", "tests/unit/helper.hpp"}) {
    root.write(header, "#pragma once\n");
  }
  root.write(path, text);
  return broken_rules(root.path());
}

TEST(LayerRules, AcceptIncludesThatGoDownOrStay) {
  EXPECT_EQ(
      broken_by("models/a.cpp",
                "#include \"models/model_spec.hpp\"\n#include \"sim/engine/engine.hpp\"\n#include <vector>\n"
                "#include \"model_spec.hpp\"\n#include <sim/base/quantity.hpp>\n"),
      Lines{});
  EXPECT_EQ(broken_by("reports/cli/main.cpp",
                      "#include \"reports/writers/text.hpp\"\n#include \"calibration/kernels/fit.hpp\"\n"
                      "#include \"../writers/text.hpp\"\n"),
            Lines{});
  EXPECT_EQ(broken_by("sim/engine/platform.cpp", "#include <simgrid/s4u.hpp>\n#include <xbt/log.h>\n"),
            Lines{});
  EXPECT_EQ(
      broken_by("kernels/gemm.cu", "#include <cuda_runtime.h>\n#include \"timing.cuh\"\n#include <nccl.h>\n"),
      Lines{});
  EXPECT_EQ(broken_by("tests/unit/a_test.cpp", "#include \"reports/writers/text.hpp\"\n"), Lines{});
}

TEST(LayerRules, RefuseIncludesThatGoUpOrSideways) {
  struct Case {
    std::string path;
    std::string include;
    std::string broken;
  };
  const std::vector<Case> cases = {
      {"sim/base/a.cpp", "\"sim/network/topology.hpp\"",
       "includes sim/network/topology.hpp: sim/base may not use sim/network"},
      {"sim/network/a.cpp", "\"sim/workload/operator.hpp\"",
       "includes sim/workload/operator.hpp: sim/network may not use sim/workload"},
      {"sim/timeline/a.cpp", "<sim/engine/engine.hpp>",
       "includes sim/engine/engine.hpp: sim/timeline may not use sim/engine"},
      {"sim/timeline/a.cpp", "\"../engine/engine.hpp\"",
       "includes sim/engine/engine.hpp: sim/timeline may not use sim/engine"},
      {"sim/timeline/a.cpp", "\"sim/timeline/../../models/model_spec.hpp\"",
       "includes models/model_spec.hpp: sim/timeline may not use models"},
      {"models/deep/a.hpp", "\"../../topologies/cluster_spec.hpp\"",
       "includes topologies/cluster_spec.hpp: models may not use topologies"},
      {"topologies/a.hpp", "\"models/not_there_yet.hpp\"",
       "includes models/not_there_yet.hpp: topologies may not use models"},
      {"models/a.hpp", "\"reports/writers/text.hpp\"",
       "includes reports/writers/text.hpp: models may not use reports"},
      {"calibration/kernels/a.cpp", "\"calibration/collectives/fit.hpp\"",
       "includes calibration/collectives/fit.hpp: calibration/kernels may not use calibration/collectives"},
      {"calibration/collectives/a.cpp", "\"../kernels/fit.hpp\"",
       "includes calibration/kernels/fit.hpp: calibration/collectives may not use calibration/kernels"},
      {"reports/a.cpp", "\"kernels/timing.cuh\"", "includes kernels/timing.cuh: reports may not use kernels"},
      {"kernels/a.cu", "\"sim/base/quantity.hpp\"",
       "includes sim/base/quantity.hpp: kernels may not use sim/base"},
      {"reports/a.cpp", "\"tests/unit/helper.hpp\"",
       "includes tests/unit/helper.hpp: nothing includes tests/"},
      {"models/a.cpp", "\"../tests/unit/helper.hpp\"",
       "includes tests/unit/helper.hpp: nothing includes tests/"},
      {"models/a.cpp", "\"sim/loose.hpp\"", "includes sim/loose.hpp, which lies in no layer"},
      {"models/a.cpp", "\"/usr/include/stdio.h\"", "includes the absolute path /usr/include/stdio.h"},
      {"models/a.cpp", "MODEL_HEADER", "includes through a macro, which hides what is included"},
      {"models/a.cpp", "<simgrid/s4u.hpp>", "includes simgrid/s4u.hpp: SimGrid is met in sim/engine only"},
      {"sim/network/a.cpp", "\"xbt/log.h\"", "includes xbt/log.h: SimGrid is met in sim/engine only"},
      {"sim/engine/a.cpp", "<cuda_runtime.h>", "includes cuda_runtime.h: CUDA is met in kernels only"},
      {"calibration/kernels/a.cpp", "<ceres/ceres.h>",
       "includes ceres/ceres.h: Ceres is met in calibration/least_squares only"},
      {"calibration/a.cpp", "<cub/cub.cuh>", "includes cub/cub.cuh: CUDA is met in kernels only"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(broken_by(c.path, "#pragma once\n\n#include " + c.include + "\n"),
              Lines{c.path + ":3: " + c.broken});
  }
}

TEST(LayerRules, ReadIncludesHoweverTheyAreWritten) {
  const std::string broken = "includes models/model_spec.hpp: topologies may not use models";
  for (const char* line :
       {"#include \"models/model_spec.hpp\"", "  #  include<models/model_spec.hpp>",
        "/* why */ #include /* not */ \"models/model_spec.hpp\"  // because",
        "%:include \"models/model_spec.hpp\"", "#import \"models/model_spec.hpp\"",
        "#include \"models/model_spec.hpp\"\r", "#include \"models/./sub/../model_spec.hpp\""}) {
    EXPECT_EQ(
        broken_by("topologies/a.cpp", std::string("const char* q = \"/*\"; char c = '\"';\n") + line + "\n"),
        Lines{"topologies/a.cpp:2: " + broken})
        << line;
  }
  EXPECT_EQ(broken_by("topologies/a.cpp",
                      "// #include \"models/model_spec.hpp\"\n/*\n#include \"models/model_spec.hpp\"\n*/\n"
                      "const char* text = \"#include \\\"models/model_spec.hpp\\\"\";\nint k = 1'000;\n"),
            Lines{});
  // A separator in a number or a stray quote does not hide what follows.
  EXPECT_EQ(broken_by("topologies/a.cpp", "int k = 1'000;\n#include \"models/model_spec.hpp\"\n"),
            Lines{"topologies/a.cpp:2: " + broken});
}

TEST(LayerRules, RefuseFilesOfMoreThan700Lines) {
  std::string text;
  for (int i = 0; i < 700; ++i) text += "\n";
  EXPECT_EQ(broken_by("models/a.cpp", text), Lines{});
  EXPECT_EQ(broken_by("models/a.cpp", text + "int x;"),
            Lines{"models/a.cpp:701: has 701 lines, 700 are allowed"});
  EXPECT_EQ(broken_by("tests/unit/a_test.cpp", text + "\n"),
            Lines{"tests/unit/a_test.cpp:701: has 701 lines, 700 are allowed"});
  EXPECT_EQ(broken_by("kernels/plot.py", text + "\n"),
            Lines{"kernels/plot.py:701: has 701 lines, 700 are allowed"});
  EXPECT_EQ(broken_by("models/presets/data.json", text + "\n"), Lines{});
}

TEST(LayerRules, RefuseSourcesInNoLayer) {
  const std::string broken = ": lies in no layer: add its folder to layer_rules.cpp";
  EXPECT_EQ(broken_by("sim/loose.hpp", ""), Lines{"sim/loose.hpp:1" + broken});
  EXPECT_EQ(broken_by("sim/newcomer/a.cpp", ""), Lines{"sim/newcomer/a.cpp:1" + broken});
}

TEST(LayerRules, RefuseLinksThatGoUp) {
  EXPECT_EQ(
      broken_links({"sim/network orrery_network sim/base orrery_base",
                    "models orrery_models sim/cost orrery_cost",
                    "calibration/kernels orrery_kernel_fit calibration/kernels orrery_calibration_kernels"}),
      Lines{});
  EXPECT_EQ(broken_links({"sim/base orrery_base sim/network orrery_network",
                          "models orrery_models topologies orrery_topologies"}),
            (Lines{"orrery_base (sim/base) links orrery_network (sim/network)",
                   "orrery_models (models) links orrery_topologies (topologies)"}));
}

}  // namespace
}  // namespace orrery::testing
