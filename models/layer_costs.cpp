#include "models/layer_costs.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "models/host_time.hpp"
#include "models/low_rank_adapters.hpp"
#include "models/moe_shape.hpp"
#include "models/offload.hpp"

namespace orrery {
namespace {

/// Seconds by term and evidence, to say what a term rests on and how wide its spread is.
struct Tally {
  std::array<std::array<double, 5>, kBreakdownTerms> by_evidence{};
  double kernel_s = 0, kernel_spread_s = 0;
  std::array<double, kBreakdownTerms> communication_s{}, communication_spread_s{};

  void add(BreakdownTerm term, Evidence evidence, double seconds) {
    by_evidence[static_cast<size_t>(term)][static_cast<size_t>(evidence)] += seconds;
  }
  void add_scaled(const Tally& other, double factor) {
    for (size_t t = 0; t < by_evidence.size(); ++t) {
      for (size_t e = 0; e < by_evidence[t].size(); ++e)
        by_evidence[t][e] += factor * other.by_evidence[t][e];
    }
    kernel_s += factor * other.kernel_s;
    kernel_spread_s += factor * other.kernel_spread_s;
    for (size_t t = 0; t < communication_s.size(); ++t) {
      communication_s[t] += factor * other.communication_s[t];
      communication_spread_s[t] += factor * other.communication_spread_s[t];
    }
  }
  /// Weakest evidence that carries at least 5 % of the term's time (contract section 3.1's rule).
  Evidence weakest(size_t term) const {
    double total = 0;
    for (const double s : by_evidence[term]) total += s;
    Evidence result = Evidence::measured;
    for (size_t e = 0; e < by_evidence[term].size(); ++e) {
      if (by_evidence[term][e] > 0 && by_evidence[term][e] >= 0.05 * total) result = static_cast<Evidence>(e);
    }
    return result;
  }
};

constexpr std::string_view kSharedExpertPrefix = "shared_";  ///< of the names of shared experts' operators

class PassCoster {
 public:
  PassCoster(const SoftwareStack& stack, const CostInputs& inputs) : stack_(stack), inputs_(inputs) {}

  /// Appends a pass to `cost`; collectives are recorded in `communications`.
  void add(const LayerPass& pass, BreakdownTerm term, PassCost& cost,
           std::vector<InlineCommunication>& communications) {
    const size_t first = cost.pieces.size();
    double attention_s = 0;
    shared_s_ = kernels_s_ = 0;
    for (const LayerItem& item : pass.items) {
      if (const auto* op = std::get_if<Operator>(&item)) {
        const KernelTime time = inputs_.cost.time(*op);
        const Seconds duration = time.time * (inputs_.straggler_factor * inputs_.factors.on(*op));
        if (std::holds_alternative<AttentionShape>(op->shape)) attention_s += duration.base();
        if (op->name.starts_with(kSharedExpertPrefix)) shared_s_ += duration.base();
        kernels_s_ += duration.base();
        cost.pieces.push_back({op->name, term, duration, time.evidence, -1});
        tally_.add(term, time.evidence, duration.base());
        tally_.kernel_s += duration.base();
        tally_.kernel_spread_s += duration.base() * time.relative_spread;
      } else {
        cost.pieces.push_back(
            {std::get<LayerCommunication>(item).name, term, Seconds(0), Evidence::measured, -1});
      }
    }
    // Where launches block, nothing runs beside a collective.
    if (stack_.blocking_launches) attention_s = shared_s_ = kernels_s_ = 0;
    const bool beside_products = stack_.async_tensor_backward && !stack_.blocking_launches;
    // Second pass: what hides behind attention needs the attention's time first.
    double hidden_s = attention_s;
    for (size_t i = 0; i < pass.items.size(); ++i) {
      if (const auto* communication = std::get_if<LayerCommunication>(&pass.items[i])) {
        const double beside_s =
            beside_products && communication->beside_next_operator && i + 1 < pass.items.size()
                ? cost.pieces[first + i + 1].duration.base()
                : 0.0;
        const double pipelined_s = pipelined_product(pass, i, cost, first);
        add_communication(*communication, beside_s, pipelined_s, cost.pieces[first + i], hidden_s,
                          communications);
      }
    }
    if (slowed_s_ > 0) {
      cost.pieces.push_back(
          {"slowed_by_communication", term, Seconds(slowed_s_), Evidence::interpolated, -1});
      tally_.add(term, Evidence::interpolated, slowed_s_);
      slowed_s_ = 0;
    }
    cost.launches += launches_with_collectives(pass);
    for (size_t i = first; i < cost.pieces.size(); ++i) {
      cost.duration += cost.pieces[i].duration;
      cost.by_term[static_cast<size_t>(cost.pieces[i].term)] += cost.pieces[i].duration.base();
    }
  }

  /// A pass cannot be shorter than the host needs to launch it; the rest is time in which no kernel runs.
  /// Where launches block, the host works only while no kernel runs.
  void add_host_floor(Seconds host, PassCost& cost) {
    cost.host = host;
    const Seconds wait = stack_.blocking_launches ? host : host - cost.duration;
    if (wait <= Seconds(0)) return;
    cost.pieces.push_back({"host launch", BreakdownTerm::other, wait, Evidence::assumed, -1});
    cost.by_term[static_cast<size_t>(BreakdownTerm::other)] += wait.base();
    cost.duration += wait;
    tally_.add(BreakdownTerm::other, Evidence::assumed, wait.base());
  }

  Seconds host_time_of(const LayerPass& pass, Seconds per_layer) const {
    return (host_time(pass, stack_, per_layer) + checks_of(pass, 0)) * inputs_.factors[Factor::host];
  }

  /// Least time of a pass in which the host waits for the GPU, timed as `cost` from its first piece on.
  Seconds waiting_time(const LayerPass& pass, const PassCost& cost) const {
    if (pass.host_wait < 0 || stack_.blocking_launches) return Seconds(0);
    Seconds time =
        (host_time_after_wait(pass, stack_) + checks_of(pass, static_cast<size_t>(pass.host_wait))) *
        inputs_.factors[Factor::host];
    for (size_t i = 0; i < static_cast<size_t>(pass.host_wait); ++i) time += cost.pieces[i].duration;
    return time;
  }

  Tally take_tally() {
    const Tally result = tally_;
    tally_ = Tally{};
    return result;
  }
  void set_tally(const Tally& tally) { tally_ = tally; }

 private:
  /// Host time of the checks before a pass's collectives, from the item `first` on. Exchanges of tokens by
  /// kernels of their own are no collectives of the framework.
  Seconds checks_of(const LayerPass& pass, size_t first) const {
    Seconds time;
    for (size_t i = first; i < pass.items.size(); ++i) {
      const auto* communication = std::get_if<LayerCommunication>(&pass.items[i]);
      if (communication == nullptr || communication->exchange) continue;
      time += check_time(communication->op, shape_of(*communication), stack_) * communication->count;
    }
    return time;
  }

  static int launches_with_collectives(const LayerPass& pass) {
    int launches = pass.launches;
    for (const LayerItem& item : pass.items) {
      if (const auto* communication = std::get_if<LayerCommunication>(&item))
        launches += communication->count;
    }
    return launches;
  }

  const GroupShape& shape_of(const LayerCommunication& communication) const {
    if (communication.group == GroupKind::tensor) return inputs_.tensor;
    if (communication.group == GroupKind::context) return inputs_.context;
    if (communication.group == GroupKind::data) return inputs_.data;
    return communication.members == Members::expert_tensor       ? inputs_.expert_tensor
           : communication.members == Members::tensor_and_expert ? inputs_.tensor_and_expert
                                                                 : inputs_.expert;
  }

  /// @param payload becomes what an all-to-all would carry to load the links alike
  CollectiveTime time_of(const LayerCommunication& communication, const GroupShape& shape,
                         Bytes& payload) const {
    if (!communication.exchange) {
      return inputs_.collective_time(communication.group, communication.op, communication.payload, shape);
    }
    if (inputs_.exchange == nullptr) {
      throw std::invalid_argument("the kernels of this dispatcher have no times here");
    }
    return slowed(
        expert_exchange_as_collective(*inputs_.exchange, communication.combines, *communication.exchange,
                                      shape, inputs_.cost.device().name, payload),
        inputs_.factors.on(communication.group, shape.nodes));
  }

  /// What of an exchange of tokens stays exposed where something runs beside it.
  double exposed_beside_kernels(const LayerCommunication& communication, double exposed_s) {
    if (communication.overlaps_shared_experts) {
      const double hides = std::min(shared_s_, exposed_s);
      shared_s_ -= hides;
      exposed_s -= hides;
    }
    if (communication.beside_other_micro_batch) {
      // The other micro-batch is in its opposite pass: over both together there are as many kernels as this
      // pass and its opposite have, and as many exchanges.
      const double hides = std::min(kernels_s_, exposed_s);
      kernels_s_ -= hides;
      exposed_s -= inputs_.paired_share * hides;
    }
    return exposed_s;
  }

  /// Time of the product that a cut-up collective is interleaved with: the one that reads what is gathered,
  /// or the one whose output is reduced.
  static double pipelined_product(const LayerPass& pass, size_t at, const PassCost& cost, size_t first) {
    const auto* communication = std::get_if<LayerCommunication>(&pass.items[at]);
    const bool reads = communication->op == CollectiveOp::all_gather;
    for (size_t i = reads ? at + 1 : at; reads ? i < pass.items.size() : i > 0; reads ? ++i : --i) {
      const size_t near = reads ? i : i - 1;
      const auto* op = std::get_if<Operator>(&pass.items[near]);
      if (op == nullptr) break;
      if (std::holds_alternative<GemmShape>(op->shape)) return cost.pieces[first + near].duration.base();
    }
    return 0;
  }

  /// What of a collective outlasts the product that runs beside it. A library's collective holds SMs: of a
  /// persistent product's blocks, one an SM, some begin only when the collective or the first blocks end, and
  /// take as long as all do. The product ends after product + min(collective, product), the last of both
  /// after max(collective, that). Source: pytorch/pytorch issue 143988 and pull request 144974 (products
  /// beside NCCL on H100: two waves, twice the time). Not modelled: products of fewer blocks than SMs, which
  /// wait for nothing, and what userbuffers hold up, whose kernels are given few SMs.
  double exposed_beside(const LayerCommunication& communication, double total_s, double product_s) const {
    const double outlasts = std::max(0.0, total_s - product_s);
    const bool waits = inputs_.cost.device().persistent_products && !communication.cut_up;
    return waits ? std::max(outlasts, std::min(total_s, product_s)) : outlasts;
  }

  /// @param beside_s time of the operator that runs beside it
  /// @param pipelined_s time of the product that it is cut up with under overlap.tensor: no chunk can hide
  ///   behind more than that (Wang et al. 2023, Overlap Communication with Dependent Computation via
  ///   Decomposition, section 3)
  /// @param hidden_s attention time that is left to hide behind
  void add_communication(const LayerCommunication& communication, double beside_s, double pipelined_s,
                         Piece& piece, double& hidden_s, std::vector<InlineCommunication>& communications) {
    const GroupShape& shape = shape_of(communication);
    Bytes payload = communication.payload;
    CollectiveTime each = time_of(communication, shape, payload);
    const double total_s = each.total().base() * communication.count;
    double exposed_s = std::max(total_s * communication.exposed_share, total_s - pipelined_s);
    exposed_s = std::min(exposed_s, exposed_beside(communication, total_s, beside_s));
    if (communication.overlaps_attention) {
      const double hides = std::min(hidden_s, exposed_s);
      hidden_s -= hides;
      exposed_s -= hides;
    }
    exposed_s = exposed_beside_kernels(communication, exposed_s);
    // What stays hidden holds SMs and memory bandwidth of the kernels beside it: over the hidden time they
    // run at 1 / (1 + slowdown) of their rate.
    const double beside = total_s - exposed_s;
    slowed_s_ += beside * stack_.overlap_slowdown / (1.0 + stack_.overlap_slowdown);
    piece.term = exposed_term(communication.group);
    piece.duration = Seconds(exposed_s);
    piece.evidence = each.evidence;
    tally_.add(piece.term, each.evidence, exposed_s);
    tally_.communication_s[static_cast<size_t>(piece.term)] += exposed_s;
    tally_.communication_spread_s[static_cast<size_t>(piece.term)] += exposed_s * each.relative_spread;
    for (InlineCommunication& known : communications) {
      if (known.group == communication.group && known.op == communication.op && known.payload == payload &&
          known.members == communication.members) {
        known.count += communication.count;
        known.exposed += Seconds(exposed_s);
        return;
      }
    }
    communications.push_back({communication.group, communication.op, shape.ranks, payload,
                              communication.count, each, Seconds(exposed_s), shape.crosses_domains(),
                              communication.members});
  }

  const SoftwareStack& stack_;
  const CostInputs& inputs_;
  Tally tally_;
  // Of the pass being added:
  double slowed_s_ = 0;
  double shared_s_ = 0,
         kernels_s_ = 0;  ///< kernels of shared experts, and all, that nothing hides behind yet
};

/// A backward pass (or its input gradients alone), after what it recomputes.
PassCost cost_backward(const LayerWork& work, const LayerPass& backward, PassCoster& coster,
                       Seconds host_forward, Seconds host_backward,
                       std::vector<InlineCommunication>& communications) {
  PassCost cost;
  Seconds host = coster.host_time_of(backward, host_backward);
  if (!work.recompute.items.empty()) {
    // A recomputed stretch is launched again; the framework's share a layer in proportion to its launches.
    const double share = work.forward.launches > 0
                             ? static_cast<double>(work.recompute.launches) / work.forward.launches
                             : 1.0;
    host += coster.host_time_of(work.recompute, host_forward * std::min(share, 1.0));
    coster.add(work.recompute, BreakdownTerm::recompute, cost, communications);
    // What runs again waits for the GPU again where the forward did; the backward is started after that.
    const Seconds waiting = coster.waiting_time(work.recompute, cost);
    if (waiting > Seconds(0)) host = max(host, waiting + coster.host_time_of(backward, host_backward));
  }
  coster.add(backward, BreakdownTerm::backward, cost, communications);
  coster.add_host_floor(host, cost);
  return cost;
}

/// Costs of the backward's two parts, its host time shared by launches. Says nothing more about evidence and
/// spread than the whole backward.
void add_split_backward(const LayerWork& work, PassCoster& coster, Seconds host_forward,
                        Seconds host_backward, PartCost& part,
                        std::vector<InlineCommunication>& communications) {
  const Tally tally = coster.take_tally();
  const double input_share = work.backward.launches > 0
                                 ? static_cast<double>(work.input_gradient.launches) / work.backward.launches
                                 : 1.0;
  part.input_gradient = cost_backward(work, work.input_gradient, coster, host_forward,
                                      host_backward * input_share, communications);
  coster.add(work.weight_gradient, BreakdownTerm::backward, part.weight_gradient, communications);
  coster.add_host_floor(coster.host_time_of(work.weight_gradient, host_backward * (1.0 - input_share)),
                        part.weight_gradient);
  coster.set_tally(tally);
}

PartCost cost_part(const LayerWork& work, ScheduleKind schedule, PassCoster& coster, Seconds host_forward,
                   Seconds host_backward) {
  PartCost part;
  coster.add(work.forward, BreakdownTerm::forward, part.forward, part.communications);
  coster.add_host_floor(
      max(coster.host_time_of(work.forward, host_forward), coster.waiting_time(work.forward, part.forward)),
      part.forward);
  std::vector<InlineCommunication> apart = part.communications;
  part.backward =
      cost_backward(work, work.backward, coster, host_forward, host_backward, part.communications);
  if (splits_backward(schedule)) {
    add_split_backward(work, coster, host_forward, host_backward, part, apart);
    if (!has_whole_backward(schedule)) part.communications = std::move(apart);
  }
  return part;
}

}  // namespace

LayerCosts make_layer_costs(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                            const ParallelPlan& parallel, const CostInputs& inputs) {
  LayerCosts costs;
  PassCoster coster(stack, inputs);
  const Seconds host_forward = stack.host.per_layer_forward;
  const Seconds host_backward = stack.host.per_layer_backward;
  Tally tally;

  costs.frozen = training.lora.has_value();
  costs.kind_of_layer = kinds_by_layer(model);
  const bool partly = training.recompute != Recompute::none && training.recompute_layers >= 0;
  for (const LayerKind& kind : layer_kinds(model)) {
    LayerCosts::Kind& cost = costs.kinds.emplace_back();
    cost.kind = kind;
    cost.parameters = layer_parameters_per_rank(model, parallel, kind);
    cost.matrix_parameters = layer_matrix_parameters_per_rank(model, parallel, kind);
    if (kind.moe) cost.expert_parameters = moe_parameters_per_rank(model, parallel).experts;
    cost.trained_parameters = cost.parameters;
    if (training.lora) {
      cost.trained_parameters = adapter_parameters_per_rank(model, training, parallel);
      cost.parameters += cost.trained_parameters;
    }
    cost.layer = cost_part(transformer_layer_work(model, training, stack, parallel, kind), parallel.schedule,
                           coster, host_forward, host_backward);
    const auto place = static_cast<int>(costs.kinds.size()) - 1;
    tally.add_scaled(coster.take_tally(), static_cast<double>(std::count(costs.kind_of_layer.begin(),
                                                                         costs.kind_of_layer.end(), place)));
    if (partly) {
      cost.layer_without_recompute =
          cost_part(transformer_layer_work_without_recompute(model, training, stack, parallel, kind),
                    parallel.schedule, coster, host_forward, host_backward);
      coster.take_tally();
    } else {
      cost.layer_without_recompute = cost.layer;
    }
  }
  costs.embedding = cost_part(embedding_work(model, training, stack, parallel), parallel.schedule, coster,
                              Seconds(0), Seconds(0));
  tally.add_scaled(coster.take_tally(), 1.0);
  costs.head = cost_part(head_work(model, training, stack, parallel), parallel.schedule, coster, Seconds(0),
                         Seconds(0));
  tally.add_scaled(coster.take_tally(), 1.0 + model.mtp_layers);
  costs.mtp_layers = model.mtp_layers;
  if (model.mtp_layers > 0) {
    costs.mtp = cost_part(token_prediction_work(model, training, stack, parallel), parallel.schedule, coster,
                          Seconds(0), Seconds(0));
    tally.add_scaled(coster.take_tally(), model.mtp_layers);
    costs.mtp_parameters = token_prediction_parameters_per_rank(model, parallel);
  }

  for (size_t term = 0; term < costs.evidence.size(); ++term) costs.evidence[term] = tally.weakest(term);
  if (tally.kernel_s > 0) costs.kernel_spread = tally.kernel_spread_s / tally.kernel_s;
  for (size_t term = 0; term < tally.communication_s.size(); ++term) {
    if (tally.communication_s[term] > 0)
      costs.communication_spread[term] = tally.communication_spread_s[term] / tally.communication_s[term];
  }
  costs.embedding_parameters = embedding_parameters_per_rank(model, training, parallel, stack.vocab_multiple);
  costs.head_parameters = head_parameters_per_rank(model, parallel, stack.vocab_multiple);
  return costs;
}

PassCost make_optimizer_cost(const TrainingSpec& training, const SoftwareStack& stack,
                             const ParallelPlan& parallel, const OptimizerLoad& load,
                             const CostInputs& inputs, std::vector<InlineCommunication>& communications) {
  PassCoster coster(stack, inputs);
  PassCost cost;
  const LayerPass pass = optimizer_pass(training, stack, parallel, load);
  coster.add(pass, BreakdownTerm::optimizer, cost, communications);
  const Seconds copies = stack.host.per_gather_copy * gather_copies(stack, parallel, load);
  coster.add_host_floor(coster.host_time_of(pass, Seconds(0)) + copies * inputs.factors[Factor::host], cost);
  const auto add = [&cost](std::string_view name, BreakdownTerm term, Seconds time, Evidence evidence) {
    if (time <= Seconds(0)) return;
    cost.pieces.push_back({name, term, time, evidence, -1});
    cost.by_term[static_cast<size_t>(term)] += time.base();
    cost.duration += time;
  };
  if (training.offload.optimizer) {
    const HostUpdate host = host_update(training, stack, parallel, load.updated, inputs);
    add("gradient offload", BreakdownTerm::optimizer, host.gradients, Evidence::datasheet);
    add("host update", BreakdownTerm::optimizer, host.update, Evidence::assumed);
  }
  add("host step", BreakdownTerm::other, stack.host.per_step * inputs.factors[Factor::host],
      Evidence::assumed);
  return cost;
}

}  // namespace orrery
