#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "calibration/collectives/collective_profiles.hpp"
#include "calibration/collectives/collective_rows.hpp"
#include "calibration/collectives/domain_fit.hpp"
#include "calibration/collectives/fabric_fit.hpp"
#include "calibration/collectives/fit_errors.hpp"
#include "calibration/collectives/fit_profiles.hpp"
#include "calibration/collectives/generation_fit.hpp"
#include "calibration/collectives/set_up_effect.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/errors.hpp"
#include "sim/base/json_reader.hpp"
#include "sim/collectives/domain_times.hpp"
#include "sim/collectives/fabric_times.hpp"

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
  // Constants of libraries, with their sources: read, not fitted.
  std::set<std::string> names = {"nccl-library.json", "nccl-tuner.json", "host-staged.json",
                                 "expert-exchange.json"};
  const CollectiveFits fits = fit_collective_profiles(calibration() / "data", profiles / "nccl-library.json");
  for (const FittedProfile& profile : fits.profiles) {
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

// Rows that take 1.5 times the start-up and twice the transfer of the usual: both factors come back but for
// the prior's pull (40 rows of spread .2 against one of ln 2: below a hundredth).
TEST(CollectiveFit, TheEffectOfASetUpIsRecovered) {
  std::vector<SetUpRow> rows;
  for (int i = 0; i <= 40; ++i) {
    const double share = i / 40.0;
    rows.push_back({-std::log(1.5 * (1.0 - share) + 2.0 * share), share, 1.0});
  }
  const SetUpEffect effect = fit_set_up(rows);
  EXPECT_NEAR(effect.start, 1.5, 0.03);
  EXPECT_NEAR(effect.transfer, 2.0, 0.04);
  EXPECT_NEAR(fit_set_up({}).log_effect(0.3), 0.0, 1e-12);  // no rows, no effect
}

// Half of the start-up was measured on one protocol, half on another: what only one of them measured, the
// other takes from it rather than from the prior.
TEST(CollectiveFit, ProtocolsTeachOneAnother) {
  LibraryConstants library =
      load_library_constants("h100-sxm-80gb", calibration() / "profiles/collectives/nccl-library.json");
  FabricConstants truth = assumed_fabric(NicProtocol::infiniband);
  truth.ring_efficiency = 0.6;
  std::vector<AcrossRow> rows;
  for (const NicProtocol protocol : {NicProtocol::infiniband, NicProtocol::roce}) {
    for (int k = 16; k <= 34; k += 2) {
      AcrossRow across;
      across.row.op = CollectiveOp::all_gather;
      across.row.bytes = std::ldexp(1.0, protocol == NicProtocol::infiniband ? k : k / 3 + 10);
      across.shape.ranks = across.shape.domains = across.shape.nodes = 4;
      across.shape.protocol = protocol;
      across.shape.scale_out_per_rank = BytesPerSecond(48e9);
      across.library = &library;
      across.row.seconds =
          fabric_time(truth, library, across.row.op, across.row.bytes, across.shape, {}).total;
      across.row.source = std::string(name_of(protocol)) + std::to_string(k);  // each a table of its own
      rows.push_back(across);
    }
  }
  const FabricConstants prior = assumed_fabric(NicProtocol::infiniband);
  const std::vector<FabricConstants> fitted =
      fit_fabrics({NicProtocol::infiniband, NicProtocol::roce}, rows, prior, {prior, prior});
  EXPECT_NEAR(fitted[0].ring_efficiency, 0.6, 0.03);
  // RoCE's own rows end at 2 MiB: alone it stays near the prior of .93.
  EXPECT_LT(fitted[1].ring_efficiency, 0.75);
}

TEST(CollectiveRows, ATablePrintedTwiceCountsOnce) {
  CollectiveRow made = row(1e6, 1e-3);
  made.gpu = "h100-sxm-80gb";
  made.note = "same table as another README";
  EXPECT_EQ(reason_unused(made), "printed in another source too");
}

// NCCL of 2021 (2.9) on EFA goes with a plugin of that time; elsewhere it is only old.
TEST(CollectiveRows, AnOldLibraryOnEfaIsAnOutdatedPlugin) {
  CollectiveRow made = row(1e6, 1e-3);
  made.library_version = "2.9.9";
  EXPECT_EQ(reason_not_fitted(made), "");
  made.fabric = "EFA 4x100G per node (p4dn.24xlarge)";
  EXPECT_EQ(reason_not_fitted(made), "outdated plugin");
}

TEST(CollectiveRows, WhatIsNotCredibleIsNotFitted) {
  CollectiveRow made = row(1e6, 1e-3);
  made.gpu = "h100-sxm-80gb";
  EXPECT_EQ(reason_unused(made), "");
  made.note = "has XLA start-up time; XLA table";
  EXPECT_EQ(reason_unused(made), "start-up of the tool");
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

TEST(CollectiveRows, OtherOperationsAndRowsWithoutSizeOrTimeAreCounted) {
  const std::filesystem::path file = std::filesystem::path(testing::TempDir()) / "counted.jsonl";
  const std::string common =
      R"("ranks": 8, "nodes": 1, "gpus_per_node": 8, "gpu": "g", "fabric": "f", "tool": "t", "source": "s"})";
  std::ofstream(file) << R"({"op": "ep_dispatch", )" << common << "\n"
                      << R"({"op": "all_reduce", "time_s": 1, )" << common << "\n"
                      << R"({"op": "all_reduce", "bytes": 1, )" << common << "\n"
                      << R"({"op": "all_reduce", "bytes": 1, "time_s": 1, )" << common << "\n";
  const CollectiveRows read = read_collective_rows(file);
  EXPECT_EQ(read.rows.size(), 1U);
  const std::map<std::string, int> expected = {
      {"expert exchange (ep_dispatch)", 1}, {"no payload stated", 1}, {"no time stated", 1}};
  EXPECT_EQ(read.passed_over, expected);
}

// The product multiplies line rates by the presets' payload efficiency before a prediction; the fit must have
// seen the same rates.
TEST(CollectiveRows, PayloadEfficienciesAreThoseOfTheTopologyPresets) {
  const Json fitted = read_json_file((calibration() / "data/collective_fabrics.json").string());
  const Json presets =
      read_json_file((calibration().parent_path() / "topologies/presets/defaults.json").string());
  for (const auto& [protocol, entry] : fitted.at("payload_efficiency").items()) {
    EXPECT_EQ(entry.at("value"), presets.at("fabric").at(protocol).at("payload_efficiency")) << protocol;
  }
}

MeasuredGpu made_gpu(const std::string& name, double bandwidth) {
  MeasuredGpu gpu;
  gpu.name = name;
  gpu.scale_up_bandwidth = bandwidth;
  gpu.generation = "made";
  return gpu;
}

// Two GPUs of one generation, the second always a tenth slower; eight ranks of the second were not measured.
TEST(GenerationFit, ASiblingCarriesAMissingNumberOfRanks) {
  MeasuredMachines machines;
  machines.gpus = {made_gpu("first", 400e9), made_gpu("second", 400e9)};
  const auto truth = [](int ranks, double bytes) {
    return 6e-6 + 2e-6 * ranks + bytes * (ranks - 1.0) / ranks / 300e9;
  };
  std::vector<CollectiveRow> rows;
  std::vector<size_t> missing;
  for (const char* gpu : {"first", "second"}) {
    for (const int ranks : {2, 4, 8}) {
      for (int k = 13; k <= 34; k += 3) {
        CollectiveRow made = row(std::ldexp(1.0, k), 0.0);
        made.op = CollectiveOp::all_gather;
        made.gpu = gpu;
        made.source = gpu;
        made.tool = "nccl-tests";
        made.ranks = ranks;
        made.seconds = truth(ranks, made.bytes) * (made.gpu == "second" ? 1.1 : 1.0);
        if (made.gpu == "second" && ranks == 8) missing.push_back(rows.size());
        rows.push_back(made);
      }
    }
  }
  const GenerationModel model(CollectiveOp::all_gather, rows, machines);
  const GenerationModel::Weights without = model.weights_without(missing);
  for (const size_t i : missing) {
    // A tenth is what is to be learned; the model cannot tell the GPU from its only source and may take up to
    // half of it for the latter.
    EXPECT_NEAR(model.time(without, machines.gpus[1], 8, rows[i].bytes) / rows[i].seconds, 1.0, 0.05);
  }
  // Leaving rows out is the same as never having had them.
  std::vector<CollectiveRow> others;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (std::find(missing.begin(), missing.end(), i) == missing.end()) others.push_back(rows[i]);
  }
  const GenerationModel fewer(CollectiveOp::all_gather, others, machines);
  EXPECT_NEAR(
      fewer.time(fewer.weights(), machines.gpus[1], 8, 1e8) / model.time(without, machines.gpus[1], 8, 1e8),
      1.0, 1e-6);
}

// Three sources agree on eight ranks, a fourth measured half as much again: it hardly moves the curve. A mean
// of the four would be a tenth off.
TEST(GenerationFit, ASourceFarFromTheOthersCountsForLess) {
  MeasuredMachines machines;
  machines.gpus = {made_gpu("first", 400e9)};
  const auto truth = [](double bytes) { return 20e-6 + bytes / 300e9; };
  std::vector<CollectiveRow> rows;
  for (const char* source : {"one", "two", "three", "odd"}) {
    for (int k = 13; k <= 34; ++k) {
      CollectiveRow made = row(std::ldexp(1.0, k), 0.0);
      made.op = CollectiveOp::all_gather;
      made.gpu = "first";
      made.source = source;
      made.tool = "nccl-tests";
      made.seconds = truth(made.bytes) * (made.source == "odd" ? 1.5 : 1.0);
      rows.push_back(made);
    }
  }
  const GenerationModel model(CollectiveOp::all_gather, rows, machines);
  for (const double bytes : {1e5, 1e7, 1e9}) {
    EXPECT_NEAR(model.time(model.weights(), machines.gpus[0], 8, bytes) / truth(bytes), 1.0, 0.04) << bytes;
  }
}

/// All-to-alls of 8 KiB to 16 GiB on racks of 72 GPUs.
/// @param truth time (s) by ranks and bytes
template <typename Truth>
std::vector<CollectiveRow> all_to_alls_of_racks(const std::vector<int>& measured, const Truth& truth) {
  std::vector<CollectiveRow> rows;
  for (const int ranks : measured) {
    for (int k = 13; k <= 34; ++k) {
      CollectiveRow made = row(std::ldexp(1.0, k), 0.0);
      made.op = CollectiveOp::all_to_all;
      made.gpu = made.source = "rack";
      made.tool = "nccl-tests";
      made.ranks = ranks;
      made.seconds = truth(ranks, made.bytes);
      rows.push_back(made);
    }
  }
  return rows;
}

// All-to-alls on racks of four-GPU hosts whose transfer is twice as fast once a peer's share is above 512
// KiB. At 32 ranks, not measured, that is above 16 MiB, at 8 and 64, which were, above 4 and 32 MiB.
TEST(GenerationFit, SharesOfPeersOverHostsChangeTogether) {
  const auto truth = [](int ranks, double bytes) {
    return 15e-6 + bytes * (ranks - 1.0) / ranks / (bytes / ranks > 524288.0 ? 600e9 : 300e9);
  };
  const auto worst_error = [&](int gpus_per_host) {
    MeasuredMachines machines;
    machines.gpus = {made_gpu("rack", 900e9)};
    machines.gpus[0].gpus_per_domain = 72;
    machines.gpus[0].gpus_per_host = gpus_per_host;
    const std::vector<CollectiveRow> rows = all_to_alls_of_racks({8, 64}, truth);
    const GenerationModel model(CollectiveOp::all_to_all, rows, machines);
    double worst = 0.0;
    for (const double bytes : {8388608.0, 16777216.0, 33554432.0, 67108864.0}) {
      const double found = model.time(model.weights(), machines.gpus[0], 32, bytes);
      worst = std::max(worst, std::abs(std::log(found / truth(32, bytes))));
    }
    return worst;
  };
  EXPECT_LT(worst_error(4), 0.75 * worst_error(0));
}

// The same start on 8 to 36 ranks; numbers of ranks that are no power of two transfer at half the rate. What
// is short must not take after what is long. 18 ranks were not measured.
TEST(GenerationFit, OddRanksSlowWhatIsTransferred) {
  MeasuredMachines machines;
  machines.gpus = {made_gpu("rack", 900e9)};
  machines.gpus[0].gpus_per_domain = 72;
  const auto odd = [](int ranks) { return (ranks & (ranks - 1)) != 0; };
  const auto truth = [&](int ranks, double bytes) {
    return 12e-6 + 0.5e-6 * ranks + bytes * (ranks - 1.0) / ranks / (odd(ranks) ? 300e9 : 600e9);
  };
  const std::vector<CollectiveRow> rows = all_to_alls_of_racks({8, 16, 32, 36}, truth);
  const GenerationModel model(CollectiveOp::all_to_all, rows, machines);
  for (const double bytes : {16384.0, 65536.0, 268435456.0, 4294967296.0}) {
    EXPECT_NEAR(model.time(model.weights(), machines.gpus[0], 18, bytes) / truth(18, bytes), 1.0, 0.06)
        << bytes;
  }
}

CollectiveRow read_row(const std::string& keys) {
  const Json json = parse_json(R"({"nodes": 1, "gpu": "x", "source": "s", )" + keys + "}", "line");
  Problems problems("line");
  CollectiveRow made = collective_row(SpecReader(json, "", problems));
  problems.throw_if_any();
  return made;
}

TEST(CollectiveRows, ThreadsWithSeveralGpusAreReadAndKeptOutOfFits) {
  const auto read = [](const std::string& more) {
    return read_row(R"("op": "all_gather", "ranks": 4, "bytes": 8192, "time_s": 1e-5)" + more);
  };
  EXPECT_EQ(read("").gpus_per_thread, 1);
  EXPECT_FALSE(is_held_up_by_launches(read("")));
  CollectiveRow four = read(R"(, "gpus_per_thread": 4)");
  EXPECT_EQ(four.gpus_per_thread, 4);
  EXPECT_TRUE(is_held_up_by_launches(four));
  four.bytes = 64.0 * 1024 * 1024;
  EXPECT_FALSE(is_held_up_by_launches(four));
  EXPECT_THROW(read(R"(, "gpus_per_thread": 5)"), InputError);  // of four
}

TEST(CollectiveRows, SingleCallsAndCopiesAreReadAndTakenOut) {
  const auto read = [](const std::string& more) {
    return read_row(R"("op": "all_reduce", "ranks": 8, "bytes": 1e9, "time_s": 5e-3)" + more);
  };
  CollectiveRow usual = read("");
  EXPECT_EQ(usual.calls_in_a_row, kCallsInARow);
  EXPECT_FALSE(usual.copies_payload);
  CollectiveRow lone = read(R"(, "calls_in_a_row": 1, "copies_payload": true)");
  EXPECT_EQ(lone.calls_in_a_row, 1);
  EXPECT_FALSE(holds_its_start(lone));  // 5 ms
  lone.bytes = 1e6;
  EXPECT_TRUE(holds_its_start(lone));
  lone.bytes = 1e9;
  EXPECT_THROW(read(R"(, "calls_in_a_row": 0)"), InputError);

  MeasuredMachines machines;
  machines.gpus.emplace_back();
  machines.gpus.back().name = "x";
  EXPECT_THROW(take_copy_out(lone, machines), std::invalid_argument);
  machines.gpus.back().copy_bandwidth = 2.5e12;
  take_copy_out(usual, machines);
  EXPECT_EQ(usual.seconds, 5e-3);
  take_copy_out(lone, machines);
  EXPECT_NEAR(lone.seconds, 5e-3 - 2e9 / 2.5e12, 1e-15);  // read once, written once
}

TEST(CollectiveRows, ASlowHostLinkHoldsUpTheNics) {
  MeasuredMachines machines;
  machines.fabrics.push_back({"not aligned", NicProtocol::roce, 8, 50e9, 0.96, 8, 8, 30e9});
  CollectiveRow made = row(1e6, 1e-3);
  made.fabric = "not aligned";
  made.ranks = 2;
  made.nodes = 2;
  EXPECT_DOUBLE_EQ(shape_across(made, machines)->scale_out_per_rank.base(), 0.96 * 30e9);
  machines.fabrics.back().host_link = 60e9;
  EXPECT_DOUBLE_EQ(shape_across(made, machines)->scale_out_per_rank.base(), 0.96 * 50e9);
}

TEST(CollectiveRows, AGroupAcrossNodesFollowsItsFabric) {
  MeasuredMachines machines;
  machines.fabrics.push_back({"eight 200G", NicProtocol::infiniband, 8, 25e9, 0.9, 8, 8});
  CollectiveRow made = row(1e6, 1e-3);
  made.fabric = "eight 200G";
  made.ranks = 20;
  made.nodes = 10;
  const std::optional<GroupShape> shape = shape_across(made, machines);
  ASSERT_TRUE(shape);
  EXPECT_EQ(shape->ranks_per_domain, 2);
  EXPECT_EQ(shape->domains, 10);
  EXPECT_DOUBLE_EQ(shape->scale_out_per_rank.base(), 0.9 * 25e9);
  made.fabric = "unknown";
  EXPECT_FALSE(shape_across(made, machines));
}

}  // namespace
}  // namespace orrery
