#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

#include "models/loop_plan.hpp"
#include "models/pass_order.hpp"
#include "models/step_plan.hpp"

namespace orrery {

/// Walks through a step in an executable order and tells a sink what happens, stage by stage. The sink is the
/// lowering (it makes tasks) or the estimate (it adds up times), so that both follow one description of the
/// step.
///
/// A sink has a type `Handle` (default: nothing to wait for; `explicit operator bool`) and the functions
///   Handle compute(int stage, int segment, double from_s, double to_s, int chunk, int micro_batch,
///                  std::initializer_list<Handle> after)
///   Handle exchange(int stage, const Exchange&, int chunk, int micro_batch, std::initializer_list<Handle>
///   after) Handle exchange_between(int first_stage, int last_stage, const Exchange&,
///   std::initializer_list<Handle> first_after,
///                           std::initializer_list<Handle> last_after)
///   Handle storage(int stage, const StorageAccess&, std::initializer_list<Handle> after)
///   Handle send(int from_stage, int to_stage, bool forward, const Exchange&, int chunk, int micro_batch,
///               std::initializer_list<Handle> after)
/// Handles of one stage stand for all its ranks.
template <typename Sink>
class StepWalk {
 public:
  using Handle = typename Sink::Handle;

  StepWalk(const StepPlan& plan, Sink& sink) : plan_(plan), sink_(sink) {}

  /// @param order passes of all stages (execution_order), unused by sharded units
  void run(const std::vector<OrderedPass>& order, std::int32_t micro_batches) {
    const auto stages = static_cast<size_t>(plan_.stages());
    compute_.assign(stages, Handle{});
    blocked_.assign(stages, Handle{});
    data_.assign(stages, Handle{});
    forward_link_.assign(stages, Handle{});
    backward_link_.assign(stages, Handle{});
    begin_loop();
    if (plan_.sharded.enabled) {
      for (std::int32_t m = 0; m < micro_batches; ++m) run_sharded_micro_batch(m);
    } else {
      gather_parameters_for_first_forward();
      run_passes(order, micro_batches);
      if (!plan_.reduce_overlapped) reduce_at_end(micro_batches - 1);
    }
    finish_step();
  }

 private:
  /// What the training process reads itself comes before all passes; servers are reached beside them.
  void begin_loop() {
    if (!plan_.loop) return;
    const LoopPlan& loop = *plan_.loop;
    for (size_t stage = 0; stage < loop.input.read.size() && !loop.input.prefetched; ++stage) {
      const StorageAccess& read = loop.input.read[stage];
      if (read.exists()) compute_[stage] = sink_.storage(static_cast<int>(stage), read, {});
    }
    for (size_t stage = 0; stage < loop.sync.push.size(); ++stage) {
      const int number = static_cast<int>(stage);
      if (!loop.sync.push[stage].exists()) continue;
      const Handle pushed = sink_.exchange(number, loop.sync.push[stage], 0, -1, {});
      sink_.exchange(number, loop.sync.pull[stage], 0, -1, {pushed});
    }
  }

  void run_passes(const std::vector<OrderedPass>& order, std::int32_t micro_batches) {
    chain_micro_batches_ = static_cast<size_t>(micro_batches / plan_.placement.chains());
    const auto count = plan_.virtual_stages.size() * chain_micro_batches_;
    forward_arrival_.assign(count, Handle{});
    backward_arrival_.assign(count, Handle{});
    // Gradients are complete with a chunk's last backward: of the last micro-batch under 1F1B, of the first
    // under GPipe.
    last_gradient_.assign(plan_.virtual_stages.size(), 0);
    for (const OrderedPass& pass : order) {
      if (gives_weight_gradient(pass.kind)) {
        last_gradient_[static_cast<size_t>(pass.virtual_stage)] = pass.micro_batch;
      }
    }
    for (size_t i = 0; i < order.size(); ++i) {
      if (order[i].paired) {
        run_pair(order[i], order[i + 1]);
        ++i;
      } else if (order[i].kind == PassKind::forward) {
        hand_on(order[i], true, run_forward(order[i], false, Handle{}));
      } else {
        const Handle done = run_backward(order[i], false);
        if (gives_input_gradient(order[i].kind)) hand_on(order[i], false, done);
      }
    }
  }

  /// Both wait for what either needs, and what they give leaves when both are over.
  void run_pair(const OrderedPass& forward, const OrderedPass& backward) {
    run_forward(forward, true, backward_arrival_[slot(backward)]);
    const Handle done = run_backward(backward, true);
    hand_on(forward, true, done);
    hand_on(backward, false, done);
  }

  size_t slot(const OrderedPass& pass) const {
    return static_cast<size_t>(pass.virtual_stage) * chain_micro_batches_ +
           static_cast<size_t>(pass.micro_batch);
  }

  int segment_of(const OrderedPass& pass, bool paired) const {
    const VirtualStage& here = plan_.virtual_stages[static_cast<size_t>(pass.virtual_stage)];
    return (paired ? here.paired_segment_of : here.segment_of)[static_cast<size_t>(pass.kind)];
  }
  double duration_of(int segment) const {
    return plan_.segments[static_cast<size_t>(segment)].duration.base();
  }
  /// When what a pass gives is complete: the exposed share of the send comes after it, beside the send.
  double end_of(int segment) const {
    return duration_of(segment) - plan_.segments[static_cast<size_t>(segment)].send_tail.base();
  }
  /// Holds the sender up for that share.
  void hold(const OrderedPass& pass, int segment) {
    const double end = end_of(segment), duration = duration_of(segment);
    if (end < duration) compute(pass, segment, end, duration, {});
  }

  Handle run_forward(const OrderedPass& pass, bool paired, Handle partner_arrival) {
    const auto index = static_cast<size_t>(pass.virtual_stage);
    const VirtualStage& here = plan_.virtual_stages[index];
    const int segment = segment_of(pass, paired);
    const double end = end_of(segment);
    const Handle arrival = forward_arrival_[slot(pass)];
    const bool gathers = pass.micro_batch == 0 && plan_.gather_at == GatherAt::next_forward && here.gathers();
    Handle done;
    if (!gathers) {
      done = compute(pass, segment, 0.0, end, {arrival, partner_arrival});
      hold(pass, segment);
      return done;
    }
    const std::vector<Bucket> needed = in_order(here.bucket_needed_s, here.expert_needed_s);
    for (size_t k = 0; k < needed.size();) {
      // Gathers follow one another, so the last one of an offset stands for all of them.
      const double from = needed[k].offset_s;
      while (k + 1 < needed.size() && needed[k + 1].offset_s <= from) ++k;
      const Handle parameters = gathers_[index][k];
      ++k;
      done =
          compute(pass, segment, from, k < needed.size() ? needed[k].offset_s : end, {arrival, parameters});
    }
    hold(pass, segment);
    return done;
  }

  /// A backward, or one of its two parts.
  Handle run_backward(const OrderedPass& pass, bool paired) {
    const auto index = static_cast<size_t>(pass.virtual_stage);
    const VirtualStage& here = plan_.virtual_stages[index];
    const int segment = segment_of(pass, paired);
    const Handle arrival = gives_input_gradient(pass.kind) ? backward_arrival_[slot(pass)] : Handle{};
    const bool reduces = plan_.reduce_overlapped && here.reduces() && gives_weight_gradient(pass.kind) &&
                         (plan_.reduce_every_micro_batch || pass.micro_batch == last_gradient_[index]);
    Handle done;
    if (!reduces) {
      done = compute(pass, segment, 0.0, end_of(segment), {arrival, Handle{}});
      hold(pass, segment);
      return done;
    }
    double from = 0.0;
    const bool whole = pass.kind == PassKind::backward;
    for (const Bucket& ready : in_order(whole ? here.bucket_ready_s : here.bucket_ready_apart_s,
                                        whole ? here.expert_ready_s : here.expert_ready_apart_s)) {
      if (!done || ready.offset_s > from) {
        done = compute(pass, segment, from, ready.offset_s, {arrival, Handle{}});
      }
      reduce_bucket(static_cast<size_t>(pass.stage), here, ready.experts, pass.chunk, pass.micro_batch, done);
      from = ready.offset_s;
    }
    hold(pass, segment);
    return done;
  }

  /// Gives the activations (or the gradient of the input) to the next (previous) virtual stage, unless it is
  /// the chain's last (first).
  void hand_on(const OrderedPass& pass, bool forward, Handle done) {
    const PipelinePlacement& place = plan_.placement;
    if (forward ? place.is_last(pass.virtual_stage) : place.is_first(pass.virtual_stage)) return;
    const int to = place.stage_of(pass.virtual_stage + (forward ? 1 : -1));
    if (to != pass.stage) done = send(pass, to, forward, done);
    if (forward) {
      forward_arrival_[slot(pass) + chain_micro_batches_] = done;
    } else {
      backward_arrival_[slot(pass) - chain_micro_batches_] = done;
    }
  }

  Handle compute(const OrderedPass& pass, int segment, double from, double to,
                 const std::array<Handle, 2>& needs) {
    const auto stage = static_cast<size_t>(pass.stage);
    const Handle done = sink_.compute(pass.stage, segment, from, to, pass.chunk, pass.micro_batch,
                                      {compute_[stage], blocked_[stage], needs[0], needs[1]});
    compute_[stage] = done;
    blocked_[stage] = Handle{};
    return done;
  }

  Handle send(const OrderedPass& pass, int to, bool forward, Handle done) {
    const auto from = static_cast<size_t>(pass.stage);
    Handle& link = forward ? forward_link_[from] : backward_link_[from];
    link = sink_.send(pass.stage, to, forward, plan_.send_between(pass.stage, to), pass.chunk,
                      pass.micro_batch, {done, link});
    if (plan_.sends_block) blocked_[from] = link;
    return link;
  }

  /// A bucket of gradients or parameters, of experts or of the rest, with its place in a pass.
  struct Bucket {
    double offset_s;
    bool experts;
  };

  /// Both kinds of bucket in the order of their offsets; at the same one those of experts come last.
  static std::vector<Bucket> in_order(const std::vector<double>& dense, const std::vector<double>& experts) {
    std::vector<Bucket> buckets;
    buckets.reserve(dense.size() + experts.size());
    for (const double offset : dense) buckets.push_back({offset, false});
    for (const double offset : experts) buckets.push_back({offset, true});
    std::stable_sort(buckets.begin(), buckets.end(),
                     [](const Bucket& a, const Bucket& b) { return a.offset_s < b.offset_s; });
    return buckets;
  }

  void reduce_bucket(size_t stage, const VirtualStage& here, bool experts, int chunk,
                     std::int32_t micro_batch, Handle ready) {
    const Exchange& reduce = experts ? here.expert_reduce : here.reduce;
    const Exchange& replica = experts ? here.expert_replica_reduce : here.replica_reduce;
    // A shard group of one rank leaves nothing to do but the reduction across replicas.
    for (const Exchange* exchange : {&reduce, &replica}) {
      if (!exchange->exists()) continue;
      data_[stage] =
          sink_.exchange(static_cast<int>(stage), *exchange, chunk, micro_batch, {ready, data_[stage]});
      ready = Handle{};
    }
  }

  void gather_parameters_for_first_forward() {
    gathers_.assign(plan_.virtual_stages.size(), {});
    if (plan_.gather_at != GatherAt::next_forward) return;
    for (size_t index = 0; index < plan_.virtual_stages.size(); ++index) {
      const VirtualStage& here = plan_.virtual_stages[index];
      const auto [stage, chunk] = place_of(index);
      for (const Bucket& bucket : in_order(here.bucket_needed_s, here.expert_needed_s)) {
        data_[stage] =
            sink_.exchange(static_cast<int>(stage), bucket.experts ? here.expert_gather : here.gather, chunk,
                           0, {data_[stage]});
        gathers_[index].push_back(data_[stage]);
      }
    }
  }

  /// Stage and chunk of a virtual stage.
  std::pair<size_t, int> place_of(size_t virtual_stage) const {
    const auto v = static_cast<int>(virtual_stage);
    return {static_cast<size_t>(plan_.placement.stage_of(v)), plan_.placement.chunk_of(v)};
  }

  void reduce_at_end(std::int32_t last_micro_batch) {
    for (size_t index = 0; index < plan_.virtual_stages.size(); ++index) {
      const VirtualStage& here = plan_.virtual_stages[index];
      const auto [stage, chunk] = place_of(index);
      for (size_t k = 0; k < here.buckets(); ++k) {
        reduce_bucket(stage, here, false, chunk, last_micro_batch, compute_[stage]);
      }
      for (size_t k = 0; k < here.expert_buckets(); ++k) {
        reduce_bucket(stage, here, true, chunk, last_micro_batch, compute_[stage]);
      }
    }
  }

  /// Tied embedding, optimizer, and the gather of updated parameters where nothing hides it.
  void finish_step() {
    const auto stages = static_cast<size_t>(plan_.stages());
    Handle tied;
    if (plan_.tied_embedding_reduce.exists()) {
      tied = sink_.exchange_between(0, static_cast<int>(stages) - 1, plan_.tied_embedding_reduce,
                                    {compute_[0], data_[0]}, {compute_[stages - 1], data_[stages - 1]});
    }
    // DualPipe: the two ranks of a stage add up their gradients.
    std::vector<Handle> copies(stages);
    for (size_t stage = 0; stage < plan_.copies_reduce.size(); ++stage) {
      const size_t twin = stages - 1 - stage;
      copies[stage] = copies[twin] =
          sink_.exchange_between(static_cast<int>(stage), static_cast<int>(twin), plan_.copies_reduce[stage],
                                 {compute_[stage], data_[stage]}, {compute_[twin], data_[twin]});
    }
    const size_t first_optimizer = plan_.segments.size() - stages;
    for (size_t stage = 0; stage < stages; ++stage) {
      const bool waits_for_tied = stage == 0 || stage + 1 == stages;
      const int segment = static_cast<int>(first_optimizer + stage);
      const double duration = plan_.segments[static_cast<size_t>(segment)].duration.base();
      compute_[stage] = sink_.compute(
          static_cast<int>(stage), segment, 0.0, duration, 0, -1,
          {compute_[stage], blocked_[stage], data_[stage], waits_for_tied && tied ? tied : copies[stage]});
    }
    if (plan_.gather_at != GatherAt::after_optimizer) return;
    for (size_t index = 0; index < plan_.virtual_stages.size(); ++index) {
      const VirtualStage& here = plan_.virtual_stages[index];
      const auto [stage, chunk] = place_of(index);
      for (const Bucket& bucket : in_order(here.bucket_needed_s, here.expert_needed_s)) {
        data_[stage] =
            sink_.exchange(static_cast<int>(stage), bucket.experts ? here.expert_gather : here.gather, chunk,
                           -1, {compute_[stage], data_[stage]});
      }
    }
  }

  // --- ZeRO 3 / FSDP: one stage, layer by layer.
  // As many layers as the stack prefetches are gathered while one computes, and no more are alive (FSDP's
  // rate limiter), so with one ahead layer u's gather waits for layer u-2's compute. Gathers and reductions
  // share one communicator and run in issue order: in the backward the next gather goes before the reduction
  // of the layer just finished (BACKWARD_PRE).

  Handle unit_exchange(const Exchange& exchange, std::int32_t micro_batch, Handle after) {
    if (!exchange.exists()) return after;
    data_[0] = sink_.exchange(0, exchange, 0, micro_batch, {after, data_[0]});
    return data_[0];
  }

  /// A layer's parameters, those of its experts from the ranks that share them.
  Handle gather_unit(const ShardedUnits::Unit& unit, std::int32_t micro_batch, Handle after) {
    const Handle gathered = unit_exchange(unit.gather, micro_batch, after);
    return unit.expert_gather.exists() ? unit_exchange(unit.expert_gather, micro_batch, after) : gathered;
  }

  void reduce_unit(const Exchange& reduce, const Exchange& replica, std::int32_t micro_batch, Handle done) {
    const Handle reduced = unit_exchange(reduce, micro_batch, done);
    unit_exchange(replica, micro_batch, reduced);
  }

  Handle unit_compute(int segment, std::int32_t micro_batch, Handle parameters) {
    const double duration = plan_.segments[static_cast<size_t>(segment)].duration.base();
    compute_[0] = sink_.compute(0, segment, 0.0, duration, 0, micro_batch,
                                {compute_[0], parameters, Handle{}, Handle{}});
    return compute_[0];
  }

  void run_sharded_micro_batch(std::int32_t m) {
    const ShardedUnits& units = plan_.sharded;
    const size_t layers = units.unit_of_layer.size();
    const Handle root = unit_exchange(units.root_gather, m, compute_[0]);
    forward_arrival_.assign(layers, Handle{});  // gather of each layer
    layer_done_.assign(layers, Handle{});
    const auto ahead = static_cast<size_t>(units.prefetch_forward);
    const auto gather_forward = [&](size_t layer) {
      if (layer >= layers) return;
      const Handle after = layer > ahead ? layer_done_[layer - ahead - 1] : compute_[0];
      forward_arrival_[layer] = gather_unit(units.unit(layer), m, after);
    };
    for (size_t layer = 0; layer < ahead; ++layer) gather_forward(layer);
    unit_compute(units.embedding_forward, m, root);
    for (size_t layer = 0; layer < layers; ++layer) {
      if (layer == units.head_after) unit_compute(units.head_forward, m, root);
      gather_forward(layer + ahead);
      layer_done_[layer] = unit_compute(units.unit(layer).forward, m, forward_arrival_[layer]);
    }
    if (units.head_after == layers) unit_compute(units.head_forward, m, root);
    // Backward, counted from the last layer.
    backward_arrival_.assign(layers, Handle{});
    const auto behind = static_cast<size_t>(units.prefetch_backward);
    const auto gather_backward = [&](size_t back) {
      if (back >= layers) return;
      const size_t layer = layers - 1 - back;
      if (back == 0 && units.keeps_last) {
        backward_arrival_[layer] = forward_arrival_[layer];
        return;
      }
      const Handle after = back > behind ? layer_done_[layer + behind + 1] : compute_[0];
      backward_arrival_[layer] = gather_unit(units.unit(layer), m, after);
    };
    for (size_t back = 0; back < behind; ++back) gather_backward(back);
    if (units.head_after == layers) unit_compute(units.head_backward, m, root);
    for (size_t back = 0; back < layers; ++back) {
      const size_t layer = layers - 1 - back;
      gather_backward(back + behind);
      const ShardedUnits::Unit& unit = units.unit(layer);
      layer_done_[layer] = unit_compute(unit.backward, m, backward_arrival_[layer]);
      reduce_unit(unit.reduce, unit.replica_reduce, m, layer_done_[layer]);
      reduce_unit(unit.expert_reduce, unit.expert_replica_reduce, m, layer_done_[layer]);
      if (layer == units.head_after) unit_compute(units.head_backward, m, root);
    }
    unit_compute(units.embedding_backward, m, root);
    reduce_unit(units.root_reduce, units.root_replica_reduce, m, compute_[0]);
  }

  const StepPlan& plan_;
  Sink& sink_;
  std::vector<Handle> compute_, blocked_, data_, forward_link_,
      backward_link_;  // by stage: last of each stream
  std::vector<Handle> forward_arrival_,
      backward_arrival_;  // by virtual stage and micro-batch (sharded: by layer)
  std::vector<Handle> layer_done_;
  std::vector<std::int32_t> last_gradient_;  // by virtual stage: micro-batch that completes its gradients
  size_t chain_micro_batches_ = 0;
  std::vector<std::vector<Handle>> gathers_;  // by virtual stage, bucket
};

}  // namespace orrery
