// Host time of a pass, and what graphs over parts of a layer take off it.
#include "models/host_time.hpp"

#include <gtest/gtest.h>

#include "tests/unit/models_layers/layer_fixtures.hpp"

namespace orrery {
namespace {

using namespace layer_fixtures;

constexpr LayerKind kGraphedMixture{.moe = true};

SoftwareStack stack_with_host_times() {
  SoftwareStack software = stack();
  software.host.per_kernel = microseconds(5);
  software.host.per_collective = microseconds(20);
  software.host.per_graph = microseconds(22);
  software.host.per_moe_router = microseconds(500);
  software.host.per_moe_preprocess = microseconds(300);
  software.host.per_moe_experts = microseconds(600);
  software.host.per_expert = microseconds(50);
  return software;
}

/// 30 launches, of which 20 plain; three collectives; four experts.
LayerPass pass_of_experts() {
  LayerPass pass;
  pass.launches = 30;
  pass.plain_launches = 20;
  pass.experts = 4;
  LayerCommunication communication{"tensor all_reduce", GroupKind::tensor, CollectiveOp::all_reduce,
                                   Bytes(1)};
  communication.count = 3;
  pass.items.push_back(communication);
  return pass;
}

TEST(HostTime, AddsLaunchesCollectivesTheLayerAndItsExperts) {
  // 1000 + 30 x 5 + 3 x 20 + 500 + 300 + 600 + 4 x 50 us.
  EXPECT_NEAR(host_time(pass_of_experts(), stack_with_host_times(), microseconds(1000)).base(), 2810e-6,
              1e-12);
}

TEST(HostTime, OfASlowHostIsLonger) {
  SoftwareStack software = stack_with_host_times();
  software.run_on_host(0.5);
  EXPECT_NEAR(host_time(pass_of_experts(), software, microseconds(1000)).base(), (1000 + 2 * 1810) * 1e-6,
              1e-12);
}

TEST(HostTime, BlockedLaunchesTakeLongerCollectivesAndGraphsToo) {
  SoftwareStack software = stack_with_host_times();
  software.host.per_blocked_launch = microseconds(4);
  EXPECT_NEAR(host_time(pass_of_experts(), software, microseconds(1000)).base(), 2810e-6, 1e-12);
  software.blocking_launches = true;
  // 30 kernels and three collectives.
  EXPECT_NEAR(host_time(pass_of_experts(), software, microseconds(1000)).base(), (2810 + 33 * 4) * 1e-6,
              1e-12);
  LayerPass graphed = pass_of_experts();
  graphed.graphed = {.graphs = 1, .launches = 18, .plain_launches = 15, .collectives = 2};
  software.graph_scope = {.attention = true, .moe_router = true};
  // 12 kernels, one collective, one graph.
  EXPECT_NEAR(host_time(graphed, software, microseconds(1000)).base(),
              (250 + 60 + 20 + 22 + 1100 + 14 * 4) * 1e-6, 1e-12);
}

GroupShape group(int ranks, int nodes) {
  GroupShape shape;
  shape.ranks = ranks;
  shape.nodes = nodes;
  return shape;
}

// PyTorch's wrapper: a watched barrier and two Gloo gathers. With 50 us a call and 70 us a step two ranks
// take 2 x 70 + 2 x (50 + 70) us, and each further rank two steps more. Steps that leave a node take 350 us:
// two in the barrier, two a node in the gathers.
TEST(HostTime, AChecksGathersGrowWithTheRanks) {
  SoftwareStack software = stack_with_host_times();
  software.host.per_check = microseconds(380);
  software.host.per_checked_rank = microseconds(140);
  software.host.per_checked_node = microseconds(560);
  const GroupShape one = group(1, 1);
  const GroupShape two = group(2, 1);
  const GroupShape eight = group(8, 1);
  const GroupShape apart = group(16, 2);
  EXPECT_EQ(check_time(CollectiveOp::all_gather, eight, software).base(), 0.0);
  software.checked_collectives = true;
  EXPECT_NEAR(check_time(CollectiveOp::all_gather, two, software).base(), 380e-6, 1e-12);
  EXPECT_NEAR(check_time(CollectiveOp::reduce_scatter, eight, software).base(), (380 + 6 * 140) * 1e-6,
              1e-12);
  // Of a ring's 15 steps two leave their node: 2 x (50 + 13 x 70 + 2 x 350) and 2 x 350 us.
  EXPECT_NEAR(check_time(CollectiveOp::reduce_scatter, apart, software).base(), (2 * 1660 + 700) * 1e-6,
              1e-12);
  EXPECT_EQ(check_time(CollectiveOp::all_reduce, one, software).base(), 0.0);
  EXPECT_EQ(check_time(CollectiveOp::send_receive, two, software).base(), 0.0);
}

TEST(HostTime, AGraphOverPartsTakesTheirShareOfTheLayer) {
  LayerPass pass = pass_of_experts();
  pass.graphed = {.graphs = 1, .launches = 18, .plain_launches = 15, .collectives = 2};
  SoftwareStack software = stack_with_host_times();
  software.graph_scope = {.attention = true, .moe_router = true};
  // A quarter of the layer's 1000, 12 x 5, 1 x 20, one graph 22, no router: 300 + 600 + 4 x 50 us.
  EXPECT_NEAR(host_time(pass, software, microseconds(1000)).base(), (250 + 60 + 20 + 22 + 1100) * 1e-6,
              1e-12);
  software.graph_scope.moe_preprocess = true;
  EXPECT_NEAR(host_time(pass, software, microseconds(1000)).base(), (250 + 60 + 20 + 22 + 800) * 1e-6, 1e-12);
}

TEST(HostTime, AfterTheWaitComeTheExperts) {
  LayerPass pass = pass_of_experts();
  EXPECT_EQ(host_time_after_wait(pass, stack_with_host_times()).base(), 0.0);
  pass.items.push_back(Operator{"permute", MemoryShape{Bytes(1), 2, MemoryKind::permute}});
  pass.items.push_back(
      LayerCommunication{"expert combine", GroupKind::expert, CollectiveOp::all_to_all, Bytes(1)});
  pass.host_wait = 1;
  // 600 + 4 x 50, two launches of 5, one collective of 20 us; the three collectives before it do not count.
  EXPECT_NEAR(host_time_after_wait(pass, stack_with_host_times()).base(), (600 + 200 + 10 + 20) * 1e-6,
              1e-12);
}

// Exchanges beside another micro-batch: the layer is cut into nodes, in graphs over its parts or not, and all
// of that comes after the wait.
TEST(HostTime, ExchangesBesideAnotherMicroBatchTakeTheHostLonger) {
  SoftwareStack software = stack_with_host_times();
  software.host.per_overlapped_pass = microseconds(330);
  LayerPass pass = pass_of_experts();
  LayerCommunication dispatch{"expert dispatch", GroupKind::expert, CollectiveOp::all_to_all, Bytes(1)};
  pass.items.push_back(dispatch);
  pass.host_wait = 1;
  // As above, and a fourth collective of 20 us.
  EXPECT_NEAR(host_time(pass, software, microseconds(1000)).base(), 2830e-6, 1e-12);
  EXPECT_NEAR(host_time_after_wait(pass, software).base(), (600 + 200 + 20) * 1e-6, 1e-12);
  dispatch.beside_other_micro_batch = true;
  pass.items.back() = dispatch;
  EXPECT_NEAR(host_time(pass, software, microseconds(1000)).base(), 3160e-6, 1e-12);
  EXPECT_NEAR(host_time_after_wait(pass, software).base(), (600 + 200 + 20 + 330) * 1e-6, 1e-12);
  software.run_on_host(0.5);
  EXPECT_NEAR(host_time(pass, software, microseconds(1000)).base(), (1000 + 2 * 2160) * 1e-6, 1e-12);
}

TEST(GraphScope, AttentionWithItsNormAndResidual) {
  SoftwareStack software = stack();
  const TrainingSpec spec = training(4096, 8);
  const LayerWork eager = transformer_layer_work(llama3_70b(), spec, software, plan(4, true));
  EXPECT_EQ(eager.forward.graphed.launches, 0);
  EXPECT_EQ(eager.forward.plain_launches, 20);
  EXPECT_EQ(eager.forward.graphed.graphs, 0);

  software.graph_scope.attention = true;
  const LayerWork graphed = transformer_layer_work(llama3_70b(), spec, software, plan(4, true));
  // Of 20 kernels, five are products and attention; the other 15 fall on seven element-wise operators, three
  // on the first, two on each other. In the graph: norm 3, QKV, copy 2, rotary 2, attention, output,
  // residual 2.
  EXPECT_EQ(graphed.forward.graphed.graphs, 1);
  EXPECT_EQ(graphed.forward.graphed.plain_launches, 12);
  EXPECT_EQ(graphed.forward.plain_launches, 20);
  // The gather before the QKV product, the reduction after the output's.
  EXPECT_EQ(graphed.forward.graphed.collectives, 2);
  // The input is copied into the graph's memory: 4096 / 4 tokens x 8192 x 2 B, read and written.
  EXPECT_EQ(graphed.forward.launches, eager.forward.launches + 1);
  EXPECT_EQ(shapes_named<MemoryShape>(graphed.forward, "copy_into_graph").at(0).traffic.base(),
            2.0 * 1024 * 8192 * 2);
  EXPECT_EQ(graphed.backward.launches, eager.backward.launches + 1);
  EXPECT_EQ(graphed.backward.graphed.graphs, 1);
}

TEST(GraphScope, RouterAndPreprocessingOfAMixture) {
  ModelSpec model = llama3(32, 4096, 32, 14336);
  MoeSpec& moe = model.moe.emplace();
  moe.experts = 8;
  moe.top_k = 2;
  moe.ffn_hidden = 14336;
  SoftwareStack software = stack();
  software.moe.router_kernels_forward = 21;
  software.moe.router_kernels_backward = 10;
  software.moe.router_bytes_forward = software.moe.router_bytes_backward = 32;
  software.moe.preprocess_kernels = 9;
  ParallelPlan degrees = plan(1);
  degrees.data = degrees.expert = 8;
  software.graph_scope = {.attention = false, .moe_router = true, .moe_preprocess = true};
  const LayerWork work =
      transformer_layer_work(model, training(4096, 64), software, degrees, kGraphedMixture);
  EXPECT_EQ(work.forward.graphed.graphs, 1);
  // Router product 1 and its 21 kernels, 9 of the counts, the copies' ordering 1, and the norm's.
  EXPECT_EQ(work.forward.graphed.launches - work.forward.graphed.plain_launches, 1 + 21 + 9 + 1);
  EXPECT_EQ(work.forward.graphed.collectives, 1);  // counts
  EXPECT_EQ(shapes_named<MemoryShape>(work.forward, "copy_into_graph").size(), 1U);
  // Gradients that enter: of what goes round the experts (4096 tokens) and of two copies of each token.
  const auto copies = shapes_named<MemoryShape>(work.backward, "copy_into_graph");
  ASSERT_EQ(copies.size(), 2U);
  EXPECT_EQ(copies[0].traffic.base() + copies[1].traffic.base(), 2.0 * (1 + 2) * 4096 * 4096 * 2);

  // The host waits before the all-to-all, whose sizes it needs.
  ASSERT_GE(work.forward.host_wait, 0);
  EXPECT_EQ(
      std::get<LayerCommunication>(work.forward.items[static_cast<size_t>(work.forward.host_wait)]).name,
      "expert dispatch");
  EXPECT_EQ(work.backward.host_wait, -1);
  // What runs again waits again: behind the norm and the router, or, of the experts alone, behind the latter.
  TrainingSpec again = training(4096, 64);
  again.recompute = Recompute::full;
  const LayerPass all = transformer_layer_work(model, again, software, degrees, kGraphedMixture).recompute;
  EXPECT_EQ(all.host_wait, work.forward.host_wait);
  again.recompute = Recompute::selective;
  again.recompute_modules = {"moe"};
  const LayerPass experts =
      transformer_layer_work(model, again, software, degrees, kGraphedMixture).recompute;
  ASSERT_GE(experts.host_wait, 0);
  EXPECT_LT(experts.host_wait, all.host_wait);
  EXPECT_EQ(std::get<LayerCommunication>(experts.items[static_cast<size_t>(experts.host_wait)]).name,
            "expert dispatch");
  again.recompute_modules = {"moe_act"};
  EXPECT_EQ(transformer_layer_work(model, again, software, degrees, kGraphedMixture).recompute.host_wait, -1);
  // With a fixed capacity it knows them.
  model.moe->capacity_factor = 1.0;
  software.moe.pads_to_capacity = true;
  EXPECT_EQ(
      transformer_layer_work(model, training(4096, 64), software, degrees, kGraphedMixture).forward.host_wait,
      -1);

  // In a dense layer of the model nothing of this is there.
  const LayerWork dense = transformer_layer_work(model, training(4096, 64), software, degrees);
  EXPECT_EQ(dense.forward.graphed.graphs, 0);
  EXPECT_EQ(dense.forward.graphed.launches, 0);
}

}  // namespace
}  // namespace orrery
