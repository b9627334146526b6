#include <gtest/gtest.h>

#include "layer_fixtures.hpp"

namespace orrery {
namespace {

using namespace layer_fixtures;

std::vector<CollectiveOp> kinds(const LayerPass& pass) {
  std::vector<CollectiveOp> found;
  for (const LayerCommunication& communication : communications_of(pass)) found.push_back(communication.op);
  return found;
}
using Kinds = std::vector<CollectiveOp>;
constexpr auto kAllReduce = CollectiveOp::all_reduce;
constexpr auto kAllGather = CollectiveOp::all_gather;
constexpr auto kReduceScatter = CollectiveOp::reduce_scatter;
constexpr auto kAllToAll = CollectiveOp::all_to_all;

TEST(TensorParallel, TwoAllReducesForwardAndTwoBackward) {
  // Shoeybi et al. 2019, section 3: f and g once an attention and once an MLP block.
  const LayerWork work = transformer_layer_work(gpt3_175b(), training(2048, 1536, 2), stack(), plan(8));
  EXPECT_EQ(kinds(work.forward), Kinds({kAllReduce, kAllReduce}));
  EXPECT_EQ(kinds(work.backward), Kinds({kAllReduce, kAllReduce}));
  for (const LayerCommunication& communication : communications_of(work.forward)) {
    EXPECT_EQ(communication.payload.base(), 2.0 * 2048 * 12288 * 2);  // b s h in 16 bits
    EXPECT_EQ(communication.group, GroupKind::tensor);
    EXPECT_EQ(communication.exposed_share, 1.0);
    EXPECT_FALSE(communication.beside_next_operator);
  }
}

TEST(TensorParallel, SequenceParallelismGathersBeforeAndScattersAfter) {
  // Korthikanti et al. 2022, section 4.2.2: the input is gathered again for the weight gradient.
  const LayerWork work = transformer_layer_work(llama3_70b(), training(8192, 128), stack(), plan(4, true));
  EXPECT_EQ(kinds(work.forward), Kinds({kAllGather, kReduceScatter, kAllGather, kReduceScatter}));
  EXPECT_EQ(kinds(work.backward),
            Kinds({kAllGather, kAllGather, kReduceScatter, kAllGather, kAllGather, kReduceScatter}));
  for (const LayerPass* pass : {&work.forward, &work.backward}) {
    for (const LayerCommunication& communication : communications_of(*pass)) {
      EXPECT_EQ(communication.payload.base(), 8192.0 * 8192 * 2);  // the whole gathered buffer
    }
  }
  // The second gather stands beside the data gradient, the scatter beside the weight gradient.
  const auto backward = communications_of(work.backward);
  EXPECT_FALSE(backward[0].beside_next_operator);
  EXPECT_TRUE(backward[1].beside_next_operator);
  EXPECT_TRUE(backward[2].beside_next_operator);
}

TEST(TensorParallel, MovesAsManyBytesWithAndWithoutSequenceParallelism) {
  // A ring all-reduce is a reduce-scatter and an all-gather: forward volumes agree (Korthikanti et al. 2022,
  // section 4.2.2).
  const auto wire = [](const LayerPass& pass) {
    double bytes = 0;
    for (const LayerCommunication& c : communications_of(pass)) {
      bytes += c.payload.base() * (c.op == CollectiveOp::all_reduce ? 2 : 1);
    }
    return bytes;
  };
  const LayerWork plain = transformer_layer_work(gpt3_175b(), training(2048, 8), stack(), plan(8));
  const LayerWork sharded = transformer_layer_work(gpt3_175b(), training(2048, 8), stack(), plan(8, true));
  EXPECT_EQ(wire(plain.forward), wire(sharded.forward));
}

TEST(TensorParallel, OverlapLeavesTheStacksShareExposed) {
  SoftwareStack software = stack();
  software.tensor_overlap_exposed = 0.25;
  ParallelPlan overlapped = plan(8, true);
  overlapped.overlap.tensor = true;
  for (const LayerCommunication& communication : communications_of(
           transformer_layer_work(gpt3_175b(), training(2048, 8), software, overlapped).forward)) {
    EXPECT_EQ(communication.exposed_share, 0.25);
  }
}

TEST(TensorParallel, OneRankSendsNothing) {
  for (const bool sequence : {false, true}) {
    const ParallelPlan alone = plan(1, sequence);
    for (const LayerWork& work : {transformer_layer_work(gpt3_175b(), training(2048, 8), stack(), alone),
                                  embedding_work(gpt3_175b(), training(2048, 8), stack(), alone),
                                  head_work(gpt3_175b(), training(2048, 8), stack(), alone)}) {
      EXPECT_TRUE(communications_of(work.forward).empty());
      EXPECT_TRUE(communications_of(work.backward).empty());
    }
  }
}

TEST(TensorParallel, LossSendsThreeNumbersATokenAndTheHeadReducesItsInputGradient) {
  const LayerWork head = head_work(gpt3_175b(), training(2048, 8), stack(), plan(8));
  EXPECT_EQ(kinds(head.forward), Kinds({kAllReduce, kAllReduce, kAllReduce}));
  for (const LayerCommunication& communication : communications_of(head.forward)) {
    EXPECT_EQ(communication.payload.base(), 2048.0 * 4);
  }
  EXPECT_EQ(kinds(head.backward), Kinds({kAllReduce}));
  EXPECT_EQ(communications_of(head.backward)[0].payload.base(), 2048.0 * 12288 * 2);
}

TEST(TensorParallel, EmbeddingIsSummedOverTheVocabularyShards) {
  const auto embedding = [](bool sequence) {
    return embedding_work(gpt3_175b(), training(2048, 8), stack(), plan(8, sequence));
  };
  EXPECT_EQ(kinds(embedding(false).forward), Kinds({kAllReduce}));
  EXPECT_EQ(kinds(embedding(false).backward), Kinds({}));
  EXPECT_EQ(kinds(embedding(true).forward), Kinds({kReduceScatter}));
  EXPECT_EQ(kinds(embedding(true).backward), Kinds({kAllGather}));
}

TEST(Embedding, ItsNormIsReadAndWrittenOnceAndItsGradientReadsTwo) {
  const auto passes = [](const ModelSpec& model, bool forward) {
    const LayerWork work = embedding_work(model, training(2048, 8), stack(), plan(8));
    double bytes = 0;
    for (const MemoryShape& memory :
         shapes_named<MemoryShape>(forward ? work.forward : work.backward, "embedding_norm")) {
      EXPECT_EQ(memory.kind, MemoryKind::norm);
      bytes += memory.traffic.base();
    }
    return bytes / (2048.0 * 12288 * 2);
  };
  ModelSpec model = gpt3_175b();
  EXPECT_EQ(passes(model, true), 0);
  model.embedding_norm = true;
  EXPECT_EQ(passes(model, true), 2);
  EXPECT_EQ(passes(model, false), 3);
}

ParallelPlan context_plan(int context, ContextMethod method) {
  ParallelPlan degrees = plan(2);
  degrees.context = context;
  degrees.context_method = method;
  return degrees;
}

/// Pairs of query and key that a rank's attention calls work on, a causal square counting half.
double score_pairs(const LayerPass& pass) {
  double pairs = 0;
  for (const AttentionShape& call : shapes_named<AttentionShape>(pass, "attention_core")) {
    pairs += static_cast<double>(call.seq_q) * static_cast<double>(call.seq_kv) *
             static_cast<double>(call.heads) * (call.causal ? 0.5 : 1.0);
  }
  return pairs;
}

TEST(ContextParallel, EveryMethodSharesTheScoresEvenly) {
  // Whole sequence 32768, 32 heads a tensor rank, 4 context ranks: s^2 / 2 x 32 / 4.
  for (const auto method : {ContextMethod::ring, ContextMethod::all_gather, ContextMethod::ulysses}) {
    const LayerWork work =
        transformer_layer_work(llama3_70b(), training(32768, 8), stack(), context_plan(4, method));
    EXPECT_DOUBLE_EQ(score_pairs(work.forward), 32768.0 * 32768 / 2 * 32 / 4);
    EXPECT_DOUBLE_EQ(score_pairs(work.backward), 32768.0 * 32768 / 2 * 32 / 4);
    EXPECT_EQ(shapes_named<GemmShape>(work.forward, "qkv_projection").at(0).m, 8192);
  }
}

TEST(ContextParallel, RingSendsKeysAndValuesBehindTheAttention) {
  const LayerWork work =
      transformer_layer_work(llama3_70b(), training(32768, 8), stack(), context_plan(4, ContextMethod::ring));
  const auto find_context = [](const LayerPass& pass) {
    std::vector<LayerCommunication> found;
    for (const LayerCommunication& c : communications_of(pass)) {
      if (c.group == GroupKind::context) found.push_back(c);
    }
    return found;
  };
  const auto forward = find_context(work.forward);
  ASSERT_EQ(forward.size(), 1U);
  EXPECT_EQ(forward[0].op, CollectiveOp::send_receive);
  EXPECT_EQ(forward[0].count, 3);
  EXPECT_TRUE(forward[0].overlaps_attention);
  EXPECT_EQ(forward[0].payload.base(),
            2.0 * 8192 * 4 * 128 * 2);  // K and V, 4 key heads a tensor rank, 16 bits
  EXPECT_EQ(find_context(work.backward).at(0).payload.base(), 2 * forward[0].payload.base());
  EXPECT_EQ(shapes_named<AttentionShape>(work.forward, "attention_core").size(), 4U);
}

TEST(ContextParallel, ARingPutsEachRanksPartToTheOthers) {
  SoftwareStack software = stack();
  software.ring_merge.output = {2, 3};
  software.ring_merge.key_values = {2, 0};
  software.ring_merge.query_gradient = {2, 3};
  software.ring_merge.key_value_gradients = {4.5, 1.5};
  const auto merged = [&](bool forward, ContextMethod method) {
    const LayerWork work =
        transformer_layer_work(llama3_70b(), training(32768, 8), software, context_plan(4, method));
    double bytes = 0;
    for (const MemoryShape& memory :
         shapes_named<MemoryShape>(forward ? work.forward : work.backward, "context_merge")) {
      bytes += memory.traffic.base();
    }
    return bytes;
  };
  // 8192 tokens of a rank in 16 bits; a tensor rank of two has 32 heads of 128 and 4 of keys and of values.
  const double queries = 8192.0 * 32 * 128 * 2, key_values = 8192.0 * 2 * 4 * 128 * 2;
  EXPECT_DOUBLE_EQ(merged(true, ContextMethod::ring), 11 * queries + 2 * key_values);
  EXPECT_DOUBLE_EQ(merged(false, ContextMethod::ring), 11 * queries + 9 * key_values);
  EXPECT_EQ(merged(true, ContextMethod::ulysses), 0);
  EXPECT_EQ(merged(false, ContextMethod::all_gather), 0);
}

TEST(ContextParallel, UlyssesExchangesFourTimesEachWay) {
  const LayerWork work = transformer_layer_work(llama3_70b(), training(32768, 8), stack(),
                                                context_plan(4, ContextMethod::ulysses));
  for (const LayerPass* pass : {&work.forward, &work.backward}) {
    Kinds context;
    for (const LayerCommunication& c : communications_of(*pass)) {
      if (c.group == GroupKind::context) context.push_back(c.op);
    }
    EXPECT_EQ(context, Kinds({kAllToAll, kAllToAll, kAllToAll, kAllToAll}));
  }
  const AttentionShape call = shapes_named<AttentionShape>(work.forward, "attention_core").at(0);
  EXPECT_EQ(call.seq_q, 32768);
  EXPECT_EQ(call.heads, 8);  // 64 / 2 / 4
  EXPECT_EQ(call.kv_heads, 1);
}

TEST(ContextParallel, GatheredKeysAndValuesReturnTheirGradients) {
  const LayerWork work = transformer_layer_work(llama3_70b(), training(32768, 8), stack(),
                                                context_plan(4, ContextMethod::all_gather));
  double gathered = 0;
  double scattered = 0;
  for (const LayerCommunication& c : communications_of(work.backward)) {
    if (c.group != GroupKind::context) continue;
    (c.op == CollectiveOp::all_gather ? gathered : scattered) += c.payload.base();
  }
  EXPECT_EQ(gathered, 2.0 * 32768 * 4 * 128 * 2);
  EXPECT_EQ(scattered, gathered);
}

}  // namespace
}  // namespace orrery
