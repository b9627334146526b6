#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "calibration/collectives/collective_profiles.hpp"
#include "calibration/libraries/host_files.hpp"
#include "calibration/libraries/tuner_files.hpp"
#include "sim/collectives/block_schedules.hpp"
#include "sim/collectives/expert_exchange.hpp"
#include "sim/collectives/host_staged_model.hpp"
#include "sim/collectives/nccl_model.hpp"
#include "sim/collectives/tuner_model.hpp"
#include "tests/unit/collectives_algorithms/tuner_shapes.hpp"

namespace orrery {
namespace {

constexpr std::array<CollectiveOp, 6> kBoundOps = {CollectiveOp::all_reduce, CollectiveOp::reduce_scatter,
                                                   CollectiveOp::all_gather, CollectiveOp::broadcast,
                                                   CollectiveOp::all_to_all, CollectiveOp::send_receive};
constexpr double kRoundOff = 1e-12;  // sums of a latency and a transfer

/// What nothing beats (design section 3.2), from the wire alone: a ring passes 2(n-1)/n of an all-reduce and
/// (n-1)/n of a gather over every hop, also from domain to domain; whatever else runs, each of N domains has
/// to send 2(N-1)/N of an all-reduce and (N-1)/N of a gather, all of a broadcast, and each rank what goes
/// elsewhere. Switches that add up in the network take an all-reduce once.
double bound(CollectiveOp op, double payload, const GroupShape& shape, std::string_view algorithm) {
  if (shape.domains < 2) return 0.0;
  const double n = shape.ranks, domains = shape.domains, r = shape.ranks_per_domain;
  const double rank_rate = shape.scale_out_per_rank.base(), domain_rate = rank_rate * r;
  const double others = algorithm == "ring" ? (n - 1) / n : (domains - 1) / domains;
  const bool network_adds =
      algorithm == "collnet_direct" || algorithm == "collnet_chain" || algorithm == "nvls";
  switch (op) {
    case CollectiveOp::all_reduce:
      return payload * (network_adds ? 1.0 : 2 * others) / domain_rate;
    case CollectiveOp::all_gather:
    case CollectiveOp::reduce_scatter:
      return payload * others / domain_rate;
    case CollectiveOp::broadcast:
      return payload / domain_rate;
    case CollectiveOp::all_to_all:
      return payload * (n - r) / n / rank_rate;
    case CollectiveOp::send_receive:
      return payload / rank_rate;
  }
  return 0.0;
}

/// One rank or eight on each of 2 to 128 nodes, with NICs far below and at the speed of the links inside.
std::vector<GroupShape> groups_across(double scale_up_gigabytes, bool multicast, ScaleUpKind kind) {
  std::vector<GroupShape> all;
  for (const int per_node : {1, 8}) {
    for (const int nodes : {2, 3, 4, 16, 128}) {
      for (const double nic_gigabits : {25.0, 100.0, 200.0, 400.0, 800.0}) {
        all.push_back(
            test::nvlink_group(nodes * per_node, per_node, scale_up_gigabytes, nic_gigabits, multicast));
        all.back().scale_up = kind;
      }
    }
  }
  return all;
}

void expect_lawful(const CollectiveModel& model, const std::string& what,
                   const std::vector<GroupShape>& shapes) {
  for (const GroupShape& shape : shapes) {
    for (const CollectiveOp op : kBoundOps) {
      double before = 0.0;
      for (double payload = 1; payload < 4e10; payload *= 1.9) {
        const CollectiveTime time = model.time(op, Bytes(payload), shape);
        const double total = time.total().base();
        ASSERT_GE(total, bound(op, payload, shape, time.algorithm) * (1 - kRoundOff))
            << what << ' ' << name_of(op) << ' ' << time.algorithm << ' ' << shape.ranks << " ranks on "
            << shape.domains << " nodes, " << payload << " B";
        ASSERT_GE(total, before * (1 - kRoundOff)) << what << ' ' << name_of(op) << ' ' << payload;
        before = total;
      }
    }
  }
}

TEST(Bounds, NoLibraryBeatsTheWireAndMoreBytesAreNeverFaster) {
  const auto hopper = groups_across(450, true, ScaleUpKind::nvswitch);
  const auto mesh = groups_across(448, false, ScaleUpKind::nvlink_mesh);
  expect_lawful(TunerModel(load_rccl_tuner()), "rccl", mesh);
  expect_lawful(NcclModel(load_collective_constants("mi300x", NicProtocol::roce)), "rccl, fitted", mesh);
  for (const NicProtocol protocol : {NicProtocol::infiniband, NicProtocol::efa}) {
    expect_lawful(NcclModel(load_collective_constants("h100-sxm-80gb", protocol)), "nccl", hopper);
  }
  for (const char* library : {"mpi", "gloo"}) {
    expect_lawful(HostStagedModel(load_host_staged(library, gigabytes_per_second(63))), library, hopper);
  }
}

// Inside a domain times are measured curves and what is drawn between and beyond them. Each rank has to send
// what the others lack over its own links: (n-1)/n of a gather or an exchange; of an all-reduce twice that,
// or once where the switch adds up. In pieces it is the same: k calls of a k-th send as much.
TEST(Bounds, NoCurveBeatsTheLinksOfItsDomain) {
  struct Domain {
    const char* gpu;
    double scale_up_gigabytes;
    int gpus;
    bool multicast;
  };
  for (const Domain& each : {Domain{"a100-sxm4-80gb", 300, 8, false}, Domain{"h100-sxm-80gb", 450, 8, true},
                             Domain{"h200-sxm-141gb", 450, 8, true}, Domain{"b200-sxm-180gb", 900, 8, true},
                             Domain{"b300-sxm-288gb", 900, 8, true}, Domain{"gb200", 900, 72, true},
                             Domain{"gb300", 900, 72, true}, Domain{"gh200", 450, 4, false}}) {
    const NcclModel model(load_collective_constants(each.gpu, NicProtocol::infiniband));
    const double rate = each.scale_up_gigabytes * 1e9;
    for (int ranks = 2; ranks <= each.gpus; ++ranks) {
      const GroupShape shape =
          test::nvlink_group(ranks, each.gpus, each.scale_up_gigabytes, 400, each.multicast);
      for (const CollectiveOp op : {CollectiveOp::all_reduce, CollectiveOp::reduce_scatter,
                                    CollectiveOp::all_gather, CollectiveOp::all_to_all}) {
        const double twice = op == CollectiveOp::all_reduce && !each.multicast ? 2.0 : 1.0;
        for (double payload = 1; payload < 1e12; payload *= 3) {
          const double least = twice * payload * (ranks - 1.0) / ranks / rate;
          for (const int pieces : {1, 8}) {
            const double total = pieces * model.time(op, Bytes(payload / pieces), shape).total().base();
            ASSERT_GE(total, least) << each.gpu << ' ' << name_of(op) << ' ' << ranks << " ranks, " << payload
                                    << " B in " << pieces;
          }
        }
      }
    }
  }
}

TEST(Bounds, ARingOfTwoNodesIsBoundByTheirNics) {
  // 2 x 8 ranks, 25 GB/s a NIC: 15/8 of a payload over 200 GB/s, where RCCL's table reckons with the 318 GB/s
  // of the links inside.
  GroupShape shape = test::nvlink_group(16, 8, 448, 200, false);
  shape.scale_up = ScaleUpKind::nvlink_mesh;
  TunerOptions ring;
  ring.algorithm = TunerAlgorithm::ring;
  const CollectiveTime time =
      TunerModel(load_rccl_tuner(), ring).time(CollectiveOp::all_reduce, Bytes(16e9), shape);
  EXPECT_EQ(time.algorithm, "ring");
  EXPECT_DOUBLE_EQ(time.transfer.base(), 16e9 * 15 / 8 / 200e9);
}

TEST(Bounds, ForcedAlgorithmsOfTheTunerKeepThemToo) {
  for (const char* version : {"2.18", "2.27", "2.30"}) {
    const TunerConstants constants = load_nccl_tuner(version, "hopper");
    for (int a = 0; a < kTunerAlgorithms; ++a) {
      TunerOptions options;
      options.algorithm = static_cast<TunerAlgorithm>(a);
      options.symmetric = true;
      options.network_reduction = true;
      const TunerModel model(constants, options);
      std::vector<GroupShape> shapes = groups_across(450, true, ScaleUpKind::nvswitch);
      shapes.push_back(test::hopper_group(8));
      for (const GroupShape& shape : shapes) {
        for (const CollectiveOp op : kBoundOps) {
          if (!choose(constants, op, 1.0, shape, options).possible) {
            EXPECT_THROW(static_cast<void>(model.time(op, Bytes(1e6), shape)), std::invalid_argument);
            continue;
          }
          double before = 0.0;
          for (double payload = 8; payload < 4e10; payload *= 1.3) {
            const CollectiveTime time = model.time(op, Bytes(payload), shape);
            ASSERT_GE(time.total().base(), before * (1 - kRoundOff)) << name_of(op) << ' ' << time.algorithm;
            ASSERT_GE(time.total().base(), bound(op, payload, shape, time.algorithm) * (1 - kRoundOff))
                << name_of(op) << ' ' << time.algorithm << ' ' << time.protocol << ' ' << shape.ranks;
            EXPECT_EQ(time.algorithm, name_of(*options.algorithm));
            before = time.total().base();
          }
        }
      }
    }
  }
}

TEST(Bounds, SymmetricKernelsOnSlowLinksAreBoundByThem) {
  // NCCL's constants of these kernels know Hopper, not an H800's 200 GB/s: 7/8 of a gather over each link.
  TunerOptions options;
  options.symmetric = true;
  options.algorithm = TunerAlgorithm::symmetric;
  const TunerModel model(load_nccl_tuner("2.27", "hopper"), options);
  const GroupShape h800 = test::nvlink_group(8, 8, 200, 400, true);
  EXPECT_GE(model.time(CollectiveOp::all_gather, Bytes(8e9), h800).total().base(), 8e9 * 7 / 8 / 200e9);
}

/// MPI's table with nothing but messages between hosts of one process: the copies and additions take no time.
HostStagedTable messages_only(CollectiveOp op, double payload, int hosts, const LinkCost& link) {
  HostStagedConstants constants;
  constants.library = "test";
  constants.host_link = 1e30;
  constants.segment_bytes = 1;
  constants.process_rate = link.rate.base();
  constants.shared_memory_rate = 1e30;
  constants.reduce_rate = 1e30;
  constants.message_latency_network = link.alpha.base();
  GroupShape shape = test::nvlink_group(hosts, 1, 450, 8e9, false);
  shape.network_latency = Seconds();
  return HostStagedModel(constants).table(op, payload, shape);
}

double time_of(const HostStagedTable& table, std::string_view algorithm) {
  for (int i = 0; i < table.count; ++i) {
    const HostStagedCandidate& each = table.candidates[static_cast<size_t>(i)];
    if (each.algorithm == algorithm) return each.total;
  }
  return 0.0;
}

TEST(HostStaged, TakesTheStepsOfItsSchedulesOnPowersOfTwo) {
  // The schedules are executed message by message; on other numbers MPI first folds the ranks beyond the
  // power, which the model reckons as one step more of all.
  const LinkCost link{gigabytes_per_second(1), microseconds(10)};
  const Bytes payload(1e6);
  for (const int hosts : {2, 4, 8, 32}) {
    const HostStagedTable reduce = messages_only(CollectiveOp::all_reduce, payload.base(), hosts, link);
    const auto executed = [&](const BlockSchedule& schedule) {
      return execute_on_links(schedule, link, link).base();
    };
    constexpr double kSums = 1e-9;  // rates of 1e30 are not infinite, sums of as many steps
    EXPECT_NEAR(
        time_of(reduce, "recursive_doubling") / executed(recursive_doubling_all_reduce(payload, hosts)), 1.0,
        kSums);
    EXPECT_NEAR(time_of(reduce, "rabenseifner") / executed(rabenseifner_all_reduce(payload, hosts)), 1.0,
                kSums);
    EXPECT_NEAR(time_of(messages_only(CollectiveOp::all_to_all, payload.base(), hosts, link), "pairwise") /
                    executed(pairwise_all_to_all(payload, hosts)),
                1.0, kSums);
  }
}

TEST(ExpertExchange, RestsOnMeasurementsOnlyWhereThereAreSome) {
  const ExpertExchangeConstants normal = load_expert_exchange(NicProtocol::infiniband, false);
  const ExpertExchangeConstants quick = load_expert_exchange(NicProtocol::infiniband, true);
  const GroupShape four_nodes = test::nvlink_group(32, 8, 200, 400, true);
  const auto evidence = [&](const ExpertExchangeRates& rates, const char* gpu, const GroupShape& shape) {
    return expert_exchange_evidence(rates, gpu, shape);
  };
  EXPECT_EQ(evidence(normal.dispatch, "h800-sxm-80gb", four_nodes), Evidence::extrapolated);
  EXPECT_EQ(evidence(quick.combine, "h800-sxm-80gb", test::nvlink_group(256, 8, 200, 400, true)),
            Evidence::extrapolated);
  // Another direction, GPU, fabric, more ranks: nothing was measured.
  EXPECT_EQ(evidence(normal.combine, "h800-sxm-80gb", four_nodes), Evidence::assumed);
  EXPECT_EQ(evidence(normal.dispatch, "l40s", four_nodes), Evidence::assumed);
  EXPECT_EQ(evidence(normal.dispatch, "h800-sxm-80gb", test::nvlink_group(512, 8, 200, 400, true)),
            Evidence::assumed);
  GroupShape slingshot = four_nodes;
  slingshot.protocol = NicProtocol::slingshot;
  EXPECT_EQ(evidence(normal.dispatch, "h800-sxm-80gb", slingshot), Evidence::assumed);
}

}  // namespace
}  // namespace orrery
