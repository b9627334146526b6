#include "sim/collectives/tuner.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <string>

#include "calibration/collectives/collective_profiles.hpp"
#include "calibration/libraries/tuner_files.hpp"
#include "sim/base/errors.hpp"
#include "sim/collectives/collective_model.hpp"
#include "sim/collectives/library_formulas.hpp"
#include "tests/unit/collectives_algorithms/tuner_shapes.hpp"

namespace orrery {
namespace {

using test::ampere_group;
using test::blackwell_group;
using test::hopper_group;

constexpr double kKiB = 1024.0, kMiB = 1048576.0, kGiB = 1073741824.0;
constexpr double kRoundOff = 1e-12;

const TunerConstants& hopper() {
  static const TunerConstants kConstants = load_nccl_tuner("2.27", "hopper");
  return kConstants;
}
const TunerConstants& blackwell() {
  static const TunerConstants kConstants = load_nccl_tuner("2.27", "blackwell");
  return kConstants;
}

TunerCandidate candidate(const TunerConstants& constants, CollectiveOp op, double payload,
                         const GroupShape& shape, TunerAlgorithm algorithm, WireProtocol protocol,
                         const TunerOptions& options = {}) {
  for (const TunerCandidate& each : tuner_table(constants, op, payload, shape, options)) {
    if (each.algorithm == algorithm && each.protocol == protocol) return each;
  }
  ADD_FAILURE() << "no such candidate";
  return {};
}

std::string chosen(const TunerConstants& constants, CollectiveOp op, double payload, const GroupShape& shape,
                   const TunerOptions& options = {}) {
  const TunerChoice choice = choose(constants, op, payload, shape, options);
  return std::string(name_of(choice.algorithm)) + " " + std::string(name_of(choice.protocol));
}

TEST(Tuner, RingByHand) {
  // 8 H100: 12 channels of 30 GB/s. Simple: 8.4 + 14 x 3.4 us; payload at 360 GB/s x 8/14.
  const TunerCandidate ring = candidate(hopper(), CollectiveOp::all_reduce, kGiB, hopper_group(8),
                                        TunerAlgorithm::ring, WireProtocol::simple);
  EXPECT_NEAR(ring.latency, (8.4 + 14 * 3.4) * 1e-6, kRoundOff);
  EXPECT_NEAR(ring.bandwidth, 360e9 * 8 / 14, 1.0);
  EXPECT_NEAR(ring.time, ring.latency + kGiB / ring.bandwidth, kRoundOff);
  EXPECT_EQ(ring.channels, 24);
  // Across 4 nodes: 62 steps of which 6 cross the network; inside a step costs the larger of hop and post (3
  // us).
  const TunerCandidate across = candidate(hopper(), CollectiveOp::all_reduce, kGiB, hopper_group(32),
                                          TunerAlgorithm::ring, WireProtocol::ll128);
  EXPECT_NEAR(across.latency, (14.0 + 56 * 1.9 + 6 * 4.0) * 1e-6, kRoundOff);
  EXPECT_NEAR(across.bandwidth, 0.92 * 360e9 * 32 / 62, 1.0);
}

TEST(Tuner, TreeAndNvlsByHand) {
  const TunerCandidate tree = candidate(hopper(), CollectiveOp::all_reduce, kGiB, hopper_group(32),
                                        TunerAlgorithm::tree, WireProtocol::ll);
  EXPECT_NEAR(tree.latency, (6.8 + 2 * (7 * 0.6 + 2 * 5.0)) * 1e-6, kRoundOff);
  EXPECT_NEAR(tree.bandwidth, 0.5 * 20.4e9, 1.0);  // the LL limit of Intel machines beyond two nodes
  const TunerCandidate nvls = candidate(hopper(), CollectiveOp::all_reduce, kGiB, hopper_group(8),
                                        TunerAlgorithm::nvls, WireProtocol::simple);
  EXPECT_NEAR(nvls.latency, 25e-6, kRoundOff);
  EXPECT_NEAR(nvls.bandwidth, 8 * 40e9 * 5 / 6, 1.0);
  const TunerCandidate nvls_tree = candidate(hopper(), CollectiveOp::all_reduce, kGiB, hopper_group(32),
                                             TunerAlgorithm::nvls_tree, WireProtocol::simple);
  EXPECT_NEAR(nvls_tree.latency, (25 + 2 * 2 * 14) * 1e-6, kRoundOff);
  EXPECT_NEAR(nvls_tree.bandwidth, 8 * 24e9 * 5 / 6, 1.0);  // half of 48 GB/s, the speed below a 400 Gb/s NIC
}

TEST(Tuner, CollNetGathersByHand) {
  // tuning.cc: ppn x min(bwIntra, .9 bwInter) of a graph of one channel a rank: 370.8 / 8 GB/s inside allow
  // 40, a 400 Gb/s NIC 48.
  TunerOptions options;
  options.network_reduction = true;
  const auto gather = [&](const GroupShape& shape) {
    return tuner_table(hopper(), CollectiveOp::all_gather, kGiB, shape,
                       options)[static_cast<size_t>(TunerAlgorithm::collnet_direct) * kWireProtocols + 2];
  };
  EXPECT_NEAR(gather(hopper_group(64)).bandwidth, 8 * 40e9, 1.0);
  // 200 Gb/s: .9 x 24 GB/s.
  EXPECT_NEAR(gather(test::nvlink_group(64, 8, 450, 200, true)).bandwidth, 8 * 0.9 * 24e9, 1.0);
}

TEST(Tuner, SharesNcclsNumbersWithTheModelOfTimes) {
  // nccl-library.json holds what the fits rest on, nccl-tuner.json the tables by version: of 2.27 they are
  // one.
  for (const auto& [gpu, architecture] :
       {std::pair("v100-sxm2-32gb", "volta"), std::pair("a100-sxm4-80gb", "ampere"),
        std::pair("h100-sxm-80gb", "hopper"), std::pair("b200-sxm-180gb", "blackwell")}) {
    const LibraryConstants library = load_collective_constants(gpu, NicProtocol::infiniband).library;
    const TunerConstants tuner = load_nccl_tuner("2.27", architecture);
    const auto ring = static_cast<size_t>(TunerAlgorithm::ring),
               tree = static_cast<size_t>(TunerAlgorithm::tree);
    for (size_t p = 0; p < 3; ++p) {
      EXPECT_DOUBLE_EQ(library.ring_base[p], tuner.ring_base[p]);
      EXPECT_DOUBLE_EQ(library.tree_base[p], tuner.tree_base[p]);
      EXPECT_DOUBLE_EQ(library.nvlink_ring_hop[p], tuner.nvlink_hop[ring][p]);
      EXPECT_DOUBLE_EQ(library.nvlink_tree_hop[p], tuner.nvlink_hop[tree][p]);
      EXPECT_DOUBLE_EQ(library.pci_ring_hop[p], tuner.pci_hop[ring][p]);
      EXPECT_DOUBLE_EQ(library.pci_tree_hop[p], tuner.pci_hop[tree][p]);
      EXPECT_DOUBLE_EQ(library.network_ring_hop[p], tuner.network_hop[ring][p]);
      EXPECT_DOUBLE_EQ(library.network_tree_hop[p], tuner.network_hop[tree][p]);
    }
    EXPECT_EQ(library.tree_ll_share, tuner.tree_share[0]);
    EXPECT_EQ(library.tree_ll128_share, tuner.tree_share[1]);
    EXPECT_EQ(library.tree_simple_share, tuner.tree_share[2]);
    EXPECT_DOUBLE_EQ(library.nvls_hop, tuner.nvlink_hop[static_cast<size_t>(TunerAlgorithm::nvls)][2]);
    EXPECT_DOUBLE_EQ(library.usable_link_share, tuner.usable_link_share) << architecture;
    EXPECT_DOUBLE_EQ(library.ll_limit, tuner.ll_limit) << architecture;
    EXPECT_DOUBLE_EQ(library.ring_ll128_per_channel, tuner.ring_ll128_per_channel) << architecture;
    EXPECT_DOUBLE_EQ(library.tree_per_channel, tuner.tree_per_channel[0]) << architecture;
    EXPECT_DOUBLE_EQ(library.tree_ll128_per_channel, tuner.tree_ll128_per_channel[0]) << architecture;
    EXPECT_EQ(library.nvls_channels, tuner.nvls_channels) << architecture;
  }
}

TEST(Tuner, H200PicksRingLLUpToOneMebibyteAndNvlsFromTwo) {
  // Observed on 8 x H200 (data/nccl_model.md section 5).
  for (double payload = kKiB; payload <= kMiB; payload *= 2) {
    const std::string found = chosen(hopper(), CollectiveOp::all_reduce, payload, hopper_group(8));
    EXPECT_EQ(found, "ring ll") << payload;
  }
  for (double payload = 2 * kMiB; payload <= 16 * kGiB; payload *= 2) {
    EXPECT_EQ(chosen(hopper(), CollectiveOp::all_reduce, payload, hopper_group(8)), "nvls simple") << payload;
  }
}

TEST(Tuner, NvlsFromFiveRanksOnHopperAndSixOnBlackwell) {
  for (const int ranks : {2, 3, 4, 5, 6, 7, 8}) {
    const auto at = [&](const TunerConstants& constants, const GroupShape& shape) {
      return choose(constants, CollectiveOp::all_reduce, 8 * kGiB, shape).algorithm;
    };
    EXPECT_EQ(at(hopper(), hopper_group(ranks)), ranks >= 5 ? TunerAlgorithm::nvls : TunerAlgorithm::ring);
    EXPECT_EQ(at(blackwell(), blackwell_group(ranks)),
              ranks >= 6 ? TunerAlgorithm::nvls : TunerAlgorithm::ring);
  }
}

TEST(Tuner, GathersOnOneNodeStayOnRings) {
  for (const CollectiveOp op : {CollectiveOp::all_gather, CollectiveOp::reduce_scatter}) {
    for (double payload = kKiB; payload <= 16 * kGiB; payload *= 2) {
      EXPECT_EQ(choose(hopper(), op, payload, hopper_group(8)).algorithm, TunerAlgorithm::ring) << payload;
      EXPECT_EQ(choose(blackwell(), op, payload, blackwell_group(8)).algorithm, TunerAlgorithm::ring)
          << payload;
    }
  }
}

TEST(Tuner, TwoNodesTakeTreesAndFourToEightRings) {
  // Large all-reduces, 8 x 400 Gb/s (sections 7 and 8). The longer a ring, the later it overtakes the tree.
  for (double payload = 128 * kMiB; payload <= 16 * kGiB; payload *= 2) {
    EXPECT_EQ(choose(hopper(), CollectiveOp::all_reduce, payload, hopper_group(16)).algorithm,
              TunerAlgorithm::nvls_tree);
  }
  for (const int ranks : {32, 64}) {
    for (double payload = 4 * kGiB; payload <= 16 * kGiB; payload *= 2) {
      EXPECT_EQ(choose(hopper(), CollectiveOp::all_reduce, payload, hopper_group(ranks)).algorithm,
                TunerAlgorithm::ring)
          << ranks << " " << payload;
    }
  }
}

TEST(Tuner, AThousandRanksOnRingsTakeLL128And32Channels) {
  // Section 10: 1,024 H100, NVLS off, NCCL_MIN_NCHANNELS=32.
  TunerOptions options;
  options.nvls = false;
  options.least_channels = 32;
  options.algorithm = TunerAlgorithm::ring;
  for (double payload = kGiB; payload <= 16 * kGiB; payload *= 2) {
    const TunerChoice choice =
        choose(hopper(), CollectiveOp::all_reduce, payload, hopper_group(1024), options);
    EXPECT_EQ(choice.protocol, WireProtocol::ll128);
    EXPECT_EQ(choice.channels, 32);
  }
}

TEST(Tuner, SaysWhyAnAlgorithmIsOff) {
  const auto why = [](const TunerConstants& constants, CollectiveOp op, const GroupShape& shape,
                      TunerAlgorithm algorithm, WireProtocol protocol = WireProtocol::simple) {
    return candidate(constants, op, kMiB, shape, algorithm, protocol).refusal;
  };
  const CollectiveOp reduce = CollectiveOp::all_reduce;
  EXPECT_EQ(why(hopper(), reduce, hopper_group(8), TunerAlgorithm::nvls_tree), TunerRefusal::several_nodes);
  EXPECT_EQ(why(hopper(), reduce, hopper_group(16), TunerAlgorithm::nvls), TunerRefusal::network_reduction);
  EXPECT_EQ(why(hopper(), reduce, hopper_group(8), TunerAlgorithm::nvls, WireProtocol::ll),
            TunerRefusal::protocol);
  EXPECT_EQ(why(hopper(), reduce, hopper_group(16), TunerAlgorithm::collnet_direct),
            TunerRefusal::network_reduction);
  EXPECT_EQ(why(hopper(), reduce, hopper_group(8), TunerAlgorithm::pat), TunerRefusal::operation);
  EXPECT_EQ(why(hopper(), CollectiveOp::all_gather, hopper_group(16), TunerAlgorithm::pat),
            TunerRefusal::one_gpu_a_node);
  EXPECT_EQ(why(hopper(), CollectiveOp::all_gather, hopper_group(16, 1), TunerAlgorithm::pat),
            TunerRefusal::none);
  EXPECT_EQ(why(hopper(), CollectiveOp::broadcast, hopper_group(8), TunerAlgorithm::tree),
            TunerRefusal::operation);
  EXPECT_EQ(why(hopper(), reduce, hopper_group(8), TunerAlgorithm::symmetric), TunerRefusal::not_asked);
  EXPECT_EQ(why(hopper(), CollectiveOp::all_to_all, hopper_group(8), TunerAlgorithm::ring),
            TunerRefusal::operation);
  const TunerConstants older = load_nccl_tuner("2.21.5", "hopper");
  EXPECT_EQ(why(older, CollectiveOp::all_gather, hopper_group(16, 1), TunerAlgorithm::pat),
            TunerRefusal::version);
  const TunerConstants ampere = load_nccl_tuner("2.27", "ampere");
  EXPECT_EQ(why(ampere, reduce, ampere_group(8), TunerAlgorithm::nvls), TunerRefusal::version);
  EXPECT_EQ(reason_of(TunerRefusal::one_gpu_a_node), "one GPU a node only");
}

TEST(Tuner, OptionsTurnAlgorithmsOnAndOff) {
  TunerOptions sharp;
  sharp.network_reduction = true;
  EXPECT_EQ(choose(hopper(), CollectiveOp::all_reduce, kGiB, hopper_group(96), sharp).algorithm,
            TunerAlgorithm::nvls);
  TunerOptions windows;
  windows.symmetric = true;
  EXPECT_EQ(choose(hopper(), CollectiveOp::all_reduce, 64 * kKiB, hopper_group(8), windows).algorithm,
            TunerAlgorithm::symmetric);
  TunerOptions ring;
  ring.algorithm = TunerAlgorithm::ring;
  EXPECT_EQ(choose(hopper(), CollectiveOp::all_reduce, kGiB, hopper_group(8), ring).algorithm,
            TunerAlgorithm::ring);
  TunerOptions impossible;
  impossible.algorithm = TunerAlgorithm::pat;
  EXPECT_FALSE(choose(hopper(), CollectiveOp::all_reduce, kGiB, hopper_group(8), impossible).possible);
}

TEST(Tuner, PatWinsShortGathersOfOneRankANode) {
  // log2(64) steps against 63: NCCL 2.23's reason for PAT.
  const GroupShape shape = hopper_group(64, 1);
  EXPECT_EQ(choose(hopper(), CollectiveOp::all_gather, 4 * kMiB, shape).algorithm, TunerAlgorithm::pat);
  EXPECT_EQ(choose(hopper(), CollectiveOp::all_gather, 8 * kGiB, shape).algorithm, TunerAlgorithm::ring);
}

TEST(Tuner, EfaFollowsTheRegionsOfItsPlugin) {
  // P5en: Tree LL to 192 KiB, Tree LL128 to 13 MB at 16 ranks, rings between, NVLSTree from 7.5 GB at 256.
  GroupShape shape = hopper_group(16);
  shape.protocol = NicProtocol::efa;
  EXPECT_EQ(chosen(hopper(), CollectiveOp::all_reduce, 192 * kKiB, shape), "tree ll");
  EXPECT_EQ(chosen(hopper(), CollectiveOp::all_reduce, 12.9e6, shape), "tree ll128");
  EXPECT_EQ(choose(hopper(), CollectiveOp::all_reduce, 13.1e6, shape).algorithm, TunerAlgorithm::ring);
  EXPECT_TRUE(choose(hopper(), CollectiveOp::all_reduce, 13.1e6, shape).by_plugin);
  GroupShape large = hopper_group(256);
  large.protocol = NicProtocol::efa;
  EXPECT_EQ(choose(hopper(), CollectiveOp::all_reduce, 7.4e9, large).algorithm, TunerAlgorithm::ring);
  EXPECT_EQ(choose(hopper(), CollectiveOp::all_reduce, 7.6e9, large).algorithm, TunerAlgorithm::nvls_tree);
  TunerOptions without;
  without.plugin_regions = false;
  EXPECT_FALSE(choose(hopper(), CollectiveOp::all_reduce, 13.1e6, shape, without).by_plugin);
}

TEST(Tuner, VersionsDifferWhereTheirSourcesDo) {
  // Ring LL on two nodes: 1/4 of the bus bandwidth to 2.20, half from 2.21 on; capped by the LL limit of 39.
  const auto ll = [](const char* version, CollectiveOp op, int ranks) {
    return candidate(load_nccl_tuner(version, "hopper"), op, kGiB, hopper_group(ranks), TunerAlgorithm::ring,
                     WireProtocol::ll)
        .bandwidth;
  };
  EXPECT_NEAR(ll("2.18.6", CollectiveOp::all_reduce, 8), 360e9 / 4 * 8 / 14, 1.0);
  EXPECT_NEAR(ll("2.20", CollectiveOp::all_gather, 8), 360e9 / 3 * 8 / 7, 1.0);
  EXPECT_NEAR(ll("2.21", CollectiveOp::all_reduce, 8), 141e9 * 8 / 14, 1.0);
  const auto nvls = [](const char* version) {
    return candidate(load_nccl_tuner(version, "hopper"), CollectiveOp::all_reduce, kGiB, hopper_group(8),
                     TunerAlgorithm::nvls, WireProtocol::simple);
  };
  EXPECT_NEAR(nvls("2.19").latency, 23e-6, kRoundOff);
  // 2.30: 40 x .85 x 7/8 x 2 a channel, as bus bandwidth.
  EXPECT_NEAR(nvls("2.30.4-1").bandwidth, 8 * 40e9 * 0.85 * 7 / 8 * 2 * 8 / 14, 1.0);
  EXPECT_EQ(load_nccl_tuner("2.29", "hopper").version, "2.27");
  EXPECT_EQ(load_nccl_tuner("", "hopper").version, "2.27");
}

TEST(Tuner, RefusesVersionsAndArchitecturesThatNobodyDescribed) {
  const auto message = [](const char* version, const char* architecture) -> std::string {
    try {
      load_nccl_tuner(version, architecture);
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(
      message("2.17", "hopper"),
      "NCCL's version: found \"2.17\", expected a version from 2.18 to 2.30, such as \"2.18\" or \"2.27.3\"");
  for (const char* unborn : {"2.31", "3.0", "9.9"}) {
    EXPECT_NE(message(unborn, "hopper").find("expected a version from 2.18 to 2.30, such as \"2.30\""),
              std::string::npos)
        << unborn;
  }
  EXPECT_EQ(message("2.30.7", "hopper"), "accepted");
  EXPECT_EQ(message("2.29", "hopper"), "accepted");
  for (const char* bad : {"2", "two", "2.", "2.21.", "2.21x", "-2.21", "2.21 "}) {
    EXPECT_NE(message(bad, "hopper").find("expected a version from 2.18 to 2.30"), std::string::npos) << bad;
  }
  EXPECT_NE(message("2.27", "cdna3").find("found no \"cdna3\", expected one of volta, ampere"),
            std::string::npos);
}

TEST(Tuner, MoreBytesNeverTakeLess) {
  for (const TunerConstants* constants : {&hopper(), &blackwell()}) {
    for (const int ranks : {2, 4, 8, 16, 64, 1024}) {
      for (const CollectiveOp op :
           {CollectiveOp::all_gather, CollectiveOp::reduce_scatter, CollectiveOp::broadcast}) {
        double before = 0.0;
        for (double payload = 8; payload < 32 * kGiB; payload *= 1.7) {
          const double time = choose(*constants, op, payload, hopper_group(ranks)).time;
          EXPECT_GE(time, before);
          before = time;
        }
      }
    }
  }
}

TEST(Tuner, RcclHasRingsAndTrees) {
  const TunerConstants rccl = load_rccl_tuner();
  GroupShape shape = test::nvlink_group(8, 8, 448, 400, false);
  shape.scale_up = ScaleUpKind::nvlink_mesh;
  const TunerCandidate ring =
      candidate(rccl, CollectiveOp::all_reduce, kGiB, shape, TunerAlgorithm::ring, WireProtocol::simple);
  EXPECT_NEAR(ring.latency, (17 + 14 * 3.6) * 1e-6, kRoundOff);
  // MI325X, ring, 8 GiB: 318.4 GB/s of bus bandwidth was measured, from which the usable share comes.
  EXPECT_NEAR(ring.bandwidth * bus_factor(CollectiveOp::all_reduce, 8), 318.4e9, 0.01 * 318.4e9);
  EXPECT_EQ(candidate(rccl, CollectiveOp::all_reduce, kGiB, shape, TunerAlgorithm::nvls, WireProtocol::simple)
                .refusal,
            TunerRefusal::version);
  EXPECT_EQ(chosen(rccl, CollectiveOp::all_reduce, kGiB, shape), "ring simple");
}

TEST(Tuner, AChoiceTakesMicroseconds) {
  const GroupShape shape = hopper_group(64);
  double sum = 0.0;
  constexpr int kCalls = 20000;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kCalls; ++i) sum += choose(hopper(), CollectiveOp::all_reduce, 1e6 + i, shape).time;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  EXPECT_GT(sum, 0.0);
  std::printf("tuner: %.0f ns a choice\n", took.count() / kCalls * 1e9);
  // 1 us alone in a release build; thirty times for loaded machines and sanitizers, as KernelModel's test.
  EXPECT_LT(took.count() / kCalls, 30e-6);
}

}  // namespace
}  // namespace orrery
