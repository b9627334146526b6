#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <set>
#include <string>

#include "calibration/collectives/collective_rows.hpp"
#include "calibration/collectives/domain_fit.hpp"
#include "calibration/collectives/fit_errors.hpp"
#include "calibration/collectives/fit_profiles.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/errors.hpp"
#include "sim/base/json_reader.hpp"
#include "sim/collectives/domain_times.hpp"

namespace orrery {
namespace {

std::filesystem::path calibration() { return std::filesystem::path(ORRERY_SOURCE_DIR) / "calibration"; }

CollectiveRow row(double bytes, double seconds) {
  CollectiveRow made;
  made.ranks = 8;
  made.bytes = bytes;
  made.seconds = seconds;
  return made;
}

TEST(CollectiveFit, ShippedProfilesAreWhatTheFitWrites) {
  const std::filesystem::path profiles = calibration() / "profiles/collectives";
  std::set<std::string> names = {"nccl-library.json"};
  for (const FittedProfile& profile :
       fit_collective_profiles(calibration() / "data", profiles / "nccl-library.json")) {
    EXPECT_EQ(read_text_file((profiles / (profile.name + ".json")).string()), profile.text) << profile.name;
    names.insert(profile.name + ".json");
  }
  for (const auto& file : std::filesystem::directory_iterator(profiles)) {
    EXPECT_TRUE(names.count(file.path().filename().string())) << "no fit writes " << file.path().filename();
  }
}

TEST(CollectiveFit, RecoversAKnownCurve) {
  // 20 us + S / (200 GB/s) + 1e-9 sqrt(S): the form itself, so only the solver's tolerance is left.
  std::vector<CollectiveRow> rows;
  const auto truth = [](double s) { return 20e-6 + s / 200e9 + 1e-9 * std::sqrt(s); };
  for (int k = 10; k <= 34; ++k) rows.push_back(row(std::ldexp(1.0, k), truth(std::ldexp(1.0, k))));
  DomainConstants domain;
  domain.scale_up_bandwidth = 300e9;
  domain.curves = {fit_domain_curve(rows)};
  const DomainTimes times(domain);
  for (const double s : {1024.0, 1048576.0, 33554432.0, 1073741824.0}) {
    EXPECT_NEAR(times.time(CollectiveOp::all_reduce, s, 8, 1.0).total / truth(s), 1.0, 0.01);
  }
  // Twice the bandwidth carries a payload in the time of half of it.
  EXPECT_DOUBLE_EQ(times.time(CollectiveOp::all_reduce, 2e8, 8, 2.0).total,
                   times.time(CollectiveOp::all_reduce, 1e8, 8, 1.0).total);
}

TEST(CollectiveFit, AnOutlierHardlyMoves) {
  std::vector<CollectiveRow> rows;
  for (int k = 10; k <= 34; ++k) rows.push_back(row(std::ldexp(1.0, k), 10e-6 + std::ldexp(1.0, k) / 100e9));
  rows[14].seconds *= 5.0;
  DomainConstants domain;
  domain.scale_up_bandwidth = 300e9;
  domain.curves = {fit_domain_curve(rows)};
  const double s = std::ldexp(1.0, 26);
  EXPECT_NEAR(DomainTimes(domain).time(CollectiveOp::all_reduce, s, 8, 1.0).total / (10e-6 + s / 100e9), 1.0,
              0.1);
}

TEST(CollectiveFit, ErrorsByHand) {
  // Twice too long and half as long: geometric mean error 100 %, no bias.
  const double ratios[] = {std::log(2.0), -std::log(2.0)};
  const FitErrors errors = errors_of(ratios);
  EXPECT_EQ(errors.rows, 2);
  EXPECT_NEAR(errors.geometric_mean, 1.0, 1e-12);
  EXPECT_NEAR(errors.bias, 0.0, 1e-12);
  EXPECT_NEAR(errors.root_mean_square, std::log(2.0), 1e-12);
}

TEST(CollectiveRows, WhatIsNotCredibleIsNotFitted) {
  CollectiveRow made = row(1e6, 1e-3);
  made.gpu = "h100-sxm-80gb";
  EXPECT_EQ(reason_unused(made), "");
  made.note = "has XLA start-up time; XLA table";
  EXPECT_EQ(reason_unused(made), "start-up of the tool");
  made.note = "XLA table";
  EXPECT_EQ(reason_unused(made), "all-reduce without NVLS");
  made.note.clear();
  made.algorithm = "Ring (forced)";
  EXPECT_EQ(reason_unused(made), "forced settings");
  made.algorithm.clear();
  made.gpu = "l40s";
  EXPECT_EQ(reason_unused(made), "not credible");
}

TEST(CollectiveRows, ADamagedLineNamesFileAndLine) {
  const std::filesystem::path file = std::filesystem::path(testing::TempDir()) / "rows.jsonl";
  std::ofstream(file)
      << R"({"op": "all_reduce", "ranks": 0, "nodes": 1, "gpus_per_node": 1, "bytes": 1, "time_s": 1,)"
      << R"( "gpu": "g", "fabric": "f", "tool": "t", "source": "s"})" << '\n';
  try {
    read_collective_rows(file);
    FAIL() << "zero ranks were accepted";
  } catch (const InputError& error) {
    ASSERT_EQ(error.problems().size(), 1U);
    EXPECT_EQ(error.problems().front().line(),
              "rows.jsonl:1: /ranks: found 0, expected an integer in [1, 1048576]");
  }
}

TEST(CollectiveRows, AGroupAcrossNodesFollowsItsFabric) {
  MeasuredMachines machines;
  machines.fabrics.push_back({"eight 200G", NicProtocol::infiniband, 8, 25e9, 8, 8});
  CollectiveRow made = row(1e6, 1e-3);
  made.fabric = "eight 200G";
  made.ranks = 20;
  made.nodes = 10;
  const std::optional<GroupShape> shape = shape_across(made, machines);
  ASSERT_TRUE(shape);
  EXPECT_EQ(shape->ranks_per_domain, 2);
  EXPECT_EQ(shape->domains, 10);
  EXPECT_DOUBLE_EQ(shape->scale_out_per_rank.base(), 25e9);
  made.fabric = "unknown";
  EXPECT_FALSE(shape_across(made, machines));
}

}  // namespace
}  // namespace orrery
