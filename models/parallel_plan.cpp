#include "models/parallel_plan.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <numeric>
#include <string_view>

#include "models/accepted_keys.hpp"
#include "models/feature_checks.hpp"
#include "models/graph_checks.hpp"
#include "models/layer_shapes.hpp"
#include "models/moe_checks.hpp"
#include "models/training_checks.hpp"
#include "models/workers.hpp"
#include "sim/cost/year_month.hpp"

namespace orrery {

namespace {

/// Largest head of the fused attention kernels (FlashAttention 2 and 3, cuDNN: up to 256).
constexpr std::int64_t kLargestFusedHead = 256;

constexpr int kMostDegree = 1 << 20;
constexpr int kMostInterleave = 1024;

constexpr std::array<std::string_view, 6> kSchedules = {"gpipe",          "1f1b",          "interleaved",
                                                        "zero_bubble_h1", "zero_bubble_v", "dualpipe"};
constexpr std::array<std::string_view, 3> kContextMethods = {"ring", "all_gather", "ulysses"};
constexpr std::array<std::string_view, 5> kGroups = {"tensor", "context", "data", "pipeline", "expert"};

std::string text_of(std::int64_t value) { return std::to_string(value); }

/// Reads and completes a plan; each step of read() leaves its part of the plan resolved.
class PlanReader {
 public:
  PlanReader(const SpecReader& reader, const ModelSpec& model, const TrainingSpec& training,
             const SoftwareStack& stack, int gpus)
      : reader_(reader), model_(model), training_(training), stack_(stack), gpus_(gpus) {}

  ParallelPlan read() {
    reader_.only(std::vector<std::string>(kPlanKeys.begin(), kPlanKeys.end()));
    if (!reader_.is_object()) return plan_;
    model_is_known_ = AcceptedKeys(reader_).sections({"model"});
    read_degrees();
    read_expert_degrees();
    read_schedule();
    read_options();
    read_overlap();
    read_placement();
    // Each check runs where all that it reads was accepted.
    const AcceptedKeys accepted(reader_);
    const bool training = accepted.sections({"training"});
    const bool model = accepted.sections({"model", "training"});
    const bool stack = accepted.sections({"model", "training", "software"});
    const bool data = gpus_ > 0 && accepted.plan({"tensor", "pipeline", "context", "data"}) && derive_data();
    const bool workers = data && training && accepted.plan({"schedule", "interleave"}) && workers_agree();
    if (workers) check_batch();
    const bool kernels =
        stack && accepted.sections({"cluster"});  // of attention: the GPU's architecture decides
    if (accepted.sections({"model"}) && accepted.plan({"tensor", "context", "context_method"}))
      check_divisors();
    if (kernels) check_head_size();
    if (kernels && accepted.plan({"context", "context_method"})) check_attention();
    const bool all = kernels && workers && accepted.whole_plan();
    if (all) check_optimizer(reader_, model_, training_, stack_, plan_);
    if (model && accepted.plan({"tensor", "context", "context_method", "sequence"})) check_sequence();
    if (stack && accepted.plan({"pipeline", "interleave", "schedule", "stage_layers"})) deal_layers();
    if (stack) check_adapters(reader_, model_, training_, stack_);
    if (model) check_recomputed_modules(reader_, model_, training_);
    if (stack && accepted.whole_plan()) check_stack_features(reader_, model_, training_, stack_, plan_);
    if (!all) return plan_;
    check_zero();
    check_experts();
    check_graph_scope(reader_, model_, training_, stack_, plan_);
    check_blocking_launches(reader_, stack_, plan_);
    check_checked_collectives(reader_, stack_);
    check_offload(reader_, model_, training_, stack_, plan_);
    check_loop(reader_, model_, training_, plan_);
    return plan_;
  }

 private:
  int degree(std::string_view key) const {
    return reader_.has(key) ? static_cast<int>(reader_.at(key).integer(1, kMostDegree)) : 1;
  }
  bool flag(const SpecReader& reader, std::string_view key, bool otherwise) const {
    return reader.has(key) ? reader.at(key).boolean() : otherwise;
  }
  void refuse(std::string_view key, std::int64_t found, const std::string& expected) const {
    reader_.problems().add(reader_.pointer() + "/" + std::string(key), text_of(found), expected);
  }
  /// A problem of a value beside `parallel` in the experiment.
  void refuse_beside(const std::string& place, const std::string& found, const std::string& expected) const {
    const std::string parent = reader_.pointer().substr(0, reader_.pointer().find_last_of('/'));
    reader_.problems().add(parent + "/" + place, found, expected);
  }

  void read_degrees() {
    plan_.tensor = degree("tensor");
    plan_.pipeline = degree("pipeline");
    plan_.context = degree("context");
    if (reader_.has("interleave")) {
      plan_.interleave = static_cast<int>(reader_.at("interleave").integer(1, kMostInterleave));
    }
    if (reader_.has("data")) plan_.data = degree("data");
    plan_.sequence = flag(reader_, "sequence", false);
  }

  void read_expert_degrees() {
    for (const std::string_view key : {"expert", "expert_tensor"}) {
      const int found = degree(key);
      if (found > 1 && !model_.moe && model_is_known_) {
        reader_.at(key).refuse_message("is only legal above 1 with a mixture of experts (model.moe)");
        continue;
      }
      (key == "expert" ? plan_.expert : plan_.expert_tensor) = found;
    }
  }

  void read_schedule() {
    const bool interleaves = plan_.interleave > 1;
    plan_.schedule = interleaves ? ScheduleKind::interleaved : ScheduleKind::one_f_one_b;
    if (interleaves && plan_.pipeline == 1) {
      refuse("interleave", plan_.interleave, "1 with pipeline 1");
      return;
    }
    if (!reader_.has("schedule")) return;
    const SpecReader schedule = reader_.at("schedule");
    const size_t kind = schedule.choice(kSchedules);
    plan_.schedule = static_cast<ScheduleKind>(kind);
    if (!schedule.is_text() || schedule.text() != kSchedules[kind]) return;  // refused
    if (plan_.schedule == ScheduleKind::zero_bubble_v) {
      if (reader_.has("interleave") && plan_.interleave != 2) {
        refuse("interleave", plan_.interleave, "2 (or none) with schedule " + schedule_text());
      }
      plan_.interleave = 2;
    } else if (interleaves != (plan_.schedule == ScheduleKind::interleaved)) {
      schedule.refuse(interleaves ? "\"interleaved\" with interleave " + text_of(plan_.interleave)
                                  : "\"gpipe\" or \"1f1b\" with interleave 1");
    }
    if (splits_backward(plan_.schedule) && plan_.pipeline == 1) {
      refuse("pipeline", 1, "at least 2 with schedule " + schedule_text() + " (1f1b runs with 1)");
    } else if (plan_.schedule == ScheduleKind::dualpipe && plan_.pipeline % 2 != 0) {
      refuse("pipeline", plan_.pipeline,
             "an even number with schedule " + schedule_text() + ", such as " + text_of(plan_.pipeline - 1) +
                 " or " + text_of(plan_.pipeline + 1));
    }
  }

  std::string schedule_text() const {
    return "\"" + std::string(kSchedules[static_cast<size_t>(plan_.schedule)]) + "\"";
  }

  void read_options() {
    if (reader_.has("context_method")) {
      plan_.context_method = static_cast<ContextMethod>(reader_.at("context_method").choice(kContextMethods));
    }
    if (reader_.has("zero")) plan_.zero = static_cast<int>(reader_.at("zero").integer(0, 3));
    if (reader_.has("bucket")) plan_.bucket = reader_.at("bucket").number_above(0.0);
  }

  std::string of_own_workers() const {
    return std::string(" with sync \"") + (training_.sync.kind == SyncKind::local ? "local" : "async") +
           "\", zero 0 and context 1";
  }

  void read_overlap() {
    // Schedules that always have another pass to run beside a send; DualPipe is made of that.
    const bool beside = plan_.schedule >= ScheduleKind::interleaved;
    plan_.overlap = {stack_.overlap_gradient, stack_.overlap_parameter && plan_.zero > 0,
                     stack_.overlap_tensor,
                     plan_.schedule == ScheduleKind::dualpipe || (stack_.overlap_pipeline && beside),
                     stack_.overlap_expert && plan_.expert > 1};
    // Workers of their own, each one rank of the group, reduce no gradients within a step.
    const bool reduces = training_.sync.kind == SyncKind::step || plan_.zero > 0 || plan_.context > 1;
    plan_.overlap.gradient = plan_.overlap.gradient && reduces;
    if (!reduces && reader_.has("bucket")) {
      reader_.at("bucket").refuse_message("is only legal where a step reduces gradients: not" +
                                          of_own_workers());
    }
    if (!reader_.has("overlap")) return;
    const SpecReader overlap = reader_.at("overlap");
    overlap.only({"gradient", "parameter", "tensor", "pipeline", "expert"});
    if (!overlap.is_object()) return;
    plan_.overlap.gradient = flag(overlap, "gradient", plan_.overlap.gradient);
    plan_.overlap.parameter = flag(overlap, "parameter", plan_.overlap.parameter);
    plan_.overlap.tensor = flag(overlap, "tensor", plan_.overlap.tensor);
    plan_.overlap.pipeline = flag(overlap, "pipeline", plan_.overlap.pipeline);
    plan_.overlap.expert = flag(overlap, "expert", plan_.overlap.expert);
    if (plan_.overlap.gradient && !reduces) {
      overlap.at("gradient").refuse("false" + of_own_workers() + ", where a step reduces no gradients");
    }
    if (plan_.overlap.expert && !model_.moe && model_is_known_ && overlap.has("expert")) {
      overlap.at("expert").refuse_message("is only legal with a mixture of experts (model.moe)");
    }
  }

  void read_placement() {
    if (!reader_.has("placement")) return;
    const SpecReader placement = reader_.at("placement");
    std::vector<std::string> order;
    for (const SpecReader& element : placement.elements()) {
      order.emplace_back(kGroups[element.choice(kGroups)]);
    }
    const auto times = [&order](std::string_view name) {
      return std::count(order.begin(), order.end(), name);
    };
    // The last name, expert, may be left out.
    const bool complete = std::all_of(kGroups.begin(), kGroups.end() - 1,
                                      [&times](std::string_view name) { return times(name) == 1; });
    if (placement.is_list() && (!complete || times(kGroups.back()) > 1)) {
      placement.refuse_message(
          "expected each of tensor, context, data, pipeline once (and expert where it applies)");
      return;
    }
    plan_.placement = order;
  }

  /// "tensor 8 x pipeline 4 x data 3"; degrees of 1 other than tensor, pipeline and data are left out.
  std::string product_text(bool with_data) const {
    std::string text = "tensor " + text_of(plan_.tensor) + " x pipeline " + text_of(plan_.pipeline);
    if (plan_.context > 1) text += " x context " + text_of(plan_.context);
    if (with_data) text += " x data " + text_of(plan_.data);
    return text;
  }

  /// The data degree, if the GPUs divide by the others; tells whether they do.
  bool derive_data() {
    const std::int64_t without_data = std::int64_t{plan_.tensor} * plan_.pipeline;
    // Degrees go to 2^20, so three of them fit 64 bits and the fourth might not: divide instead of
    // multiplying it in.
    const std::int64_t model_gpus = without_data * plan_.context;
    const bool divides = model_gpus <= gpus_ && gpus_ % model_gpus == 0;
    if (!reader_.has("data")) {
      if (divides) {
        plan_.data = static_cast<int>(gpus_ / model_gpus);
      } else {
        reader_.problems().add_message("", "plan needs a multiple of " + text_of(model_gpus) + " GPUs (" +
                                               product_text(false) + "), cluster has " + text_of(gpus_));
      }
      return divides;
    }
    if (divides && gpus_ / model_gpus == plan_.data) return true;
    const double needed = static_cast<double>(model_gpus) * plan_.data;
    std::string message = "plan needs " + shortest_number(needed) + " GPUs (" + product_text(true) +
                          "), cluster has " + text_of(gpus_);
    if (divides) message += "; data " + text_of(gpus_ / model_gpus) + " would fit";
    reader_.problems().add_message("", message);
    return false;
  }

  bool workers_agree() const {
    const size_t before = reader_.problems().list().size();
    check_workers(reader_, training_, plan_);
    return reader_.problems().list().size() == before;
  }

  void check_batch() const {
    if (training_.data && !training_.data->shards.empty()) return;
    const std::int64_t global = training_.global_batch;
    const bool too_large = training_.micro_batch > global;
    const std::int64_t unit = training_.micro_batch * plan_.data;
    if (too_large || global % unit != 0) {
      refuse_beside("training/global_batch", text_of(global),
                    "a multiple of " + text_of(unit) + " (micro_batch " + text_of(training_.micro_batch) +
                        " x data " + text_of(plan_.data) + ")" + nearest_multiples(global, unit));
      return;
    }
    const std::int64_t micro_batches = global / unit;
    if (micro_batches > kMostMicroBatches) {
      refuse_beside("training/global_batch", text_of(global),
                    "at most " + text_of(kMostMicroBatches * unit) + " (" + text_of(kMostMicroBatches) +
                        " micro-batches a step)");
      return;
    }
    if (plan_.schedule == ScheduleKind::dualpipe) check_dualpipe_batch(unit, micro_batches);
    // Megatron-core runs groups of `pipeline` micro-batches a virtual stage and refuses a rest smaller than
    // that.
    if (plan_.schedule == ScheduleKind::interleaved && micro_batches % plan_.pipeline != 0) {
      const std::int64_t round = unit * plan_.pipeline;
      refuse_beside("training/global_batch", text_of(global),
                    "a multiple of " + text_of(round) + " (micro_batch " + text_of(training_.micro_batch) +
                        " x data " + text_of(plan_.data) + " x pipeline " + text_of(plan_.pipeline) +
                        ") under the interleaved schedule" + nearest_multiples(global, round));
    }
  }

  /// DualPipe sends as many micro-batches through either chain, and fills both (two a stage).
  void check_dualpipe_batch(std::int64_t unit, std::int64_t micro_batches) const {
    const std::int64_t least = std::int64_t{2} * plan_.pipeline;
    if (micro_batches % 2 == 0 && micro_batches >= least) return;
    const std::int64_t nearest = std::max(least, micro_batches / 2 * 2);
    refuse_beside("training/global_batch", text_of(training_.global_batch),
                  "an even number of micro-batches, at least " + text_of(least) +
                      " (2 x pipeline), under schedule " + schedule_text() + ": a multiple of " +
                      text_of(2 * unit) + " (2 x micro_batch " + text_of(training_.micro_batch) + " x data " +
                      text_of(plan_.data) + ") from " + text_of(least * unit) + ", such as " +
                      text_of(nearest * unit));
  }

  static std::string nearest_multiples(std::int64_t found, std::int64_t unit) {
    const std::int64_t below = found / unit * unit;
    return ", such as " + (below > 0 ? text_of(below) + " or " : "") + text_of(below + unit);
  }

  void check_head_size() const {
    if (stack_.attention_kernel == AttentionKernel::unfused || model_.head_dim <= kLargestFusedHead) return;
    refuse_beside("model/head_dim", text_of(model_.head_dim),
                  "at most " + text_of(kLargestFusedHead) +
                      " with a fused attention kernel (software.attention_kernel unfused has no limit)");
  }

  bool divides_model(int tensor) const {
    const auto divides = [tensor](std::int64_t size) { return size % tensor == 0; };
    return divides(model_.heads) && divides(model_.hidden) && divides(model_.ffn_hidden) &&
           (model_.vocab_from_preset || divides(model_.vocab)) &&
           (divides(model_.kv_heads) || tensor % model_.kv_heads == 0);
  }

  void check_divisors() const {
    const int tensor = plan_.tensor;
    // Legal for all of the model's sizes, so that one change mends all that is said here.
    int legal = tensor;
    while (legal > 1 && !divides_model(legal)) --legal;
    const std::string such_as = ", such as " + text_of(legal);
    const auto require_divisor = [&](std::string_view what, std::int64_t size) {
      if (size % tensor != 0)
        refuse("tensor", tensor, "a divisor of " + std::string(what) + " " + text_of(size) + such_as);
    };
    require_divisor("heads", model_.heads);
    require_divisor("hidden", model_.hidden);
    require_divisor("ffn_hidden", model_.ffn_hidden);
    if (!model_.vocab_from_preset) require_divisor("vocab", model_.vocab);
    if (model_.kv_heads % tensor != 0 && tensor % model_.kv_heads != 0) {
      refuse("tensor", tensor, "a divisor or a multiple of kv_heads " + text_of(model_.kv_heads) + such_as);
    }
    const std::int64_t exchanged = std::int64_t{tensor} * plan_.context;
    if (plan_.context > 1 && plan_.context_method == ContextMethod::ulysses &&
        model_.heads % exchanged != 0) {
      refuse("context", plan_.context,
             "heads " + text_of(model_.heads) + " to be a multiple of tensor " + text_of(tensor) +
                 " x context under ulysses");
    }
  }

  /// Kinds of attention that a kernel or a way of context parallelism cannot do, and what of the training is
  /// meant for another kind. Sources: Transformer Engine, pytorch/attention/dot_product_attention: utils.py
  /// (a softmax with a sink runs on cuDNN's or the unfused kernel), context_parallel.py (windows not in a
  /// ring, sinks only where heads are exchanged); windows came with flash-attn 2.3.
  void check_attention() const {
    const AttentionKernel kernel = stack_.attention_kernel;
    const bool sliding = model_.attention == AttentionKind::sliding;
    if (sliding && kernel == AttentionKernel::flash1) {
      refuse_beside("software/attention_kernel", "\"flash1\"",
                    "\"flash2\" or a later kernel under sliding-window attention (model.attention)");
    }
    if (model_.attention_sinks && kernel != AttentionKernel::cudnn && kernel != AttentionKernel::unfused) {
      refuse_beside("software/attention_kernel",
                    "\"" + std::string(kAttentionKernels[static_cast<size_t>(kernel)]) + "\"",
                    "\"cudnn\" or \"unfused\" with attention sinks (model.attention_sinks)");
    }
    const bool ulysses = plan_.context_method == ContextMethod::ulysses;
    const std::string method =
        "\"" + std::string(kContextMethods[static_cast<size_t>(plan_.context_method)]) + "\"";
    if (plan_.context > 1 && model_.attention_sinks && !ulysses) {
      reader_.problems().add(reader_.pointer() + "/context_method", method,
                             "\"ulysses\" with attention sinks (model.attention_sinks)");
    } else if (plan_.context > 1 && sliding && plan_.context_method == ContextMethod::ring) {
      reader_.problems().add(
          reader_.pointer() + "/context_method", method,
          "\"all_gather\" or \"ulysses\" under sliding-window attention (model.attention)");
    }
    const auto& modules = training_.recompute_modules;
    const auto latent = std::find(modules.begin(), modules.end(), "mla_up_proj");
    if (latent != modules.end() && model_.attention != AttentionKind::mla) {
      refuse_beside("training/recompute/modules/" + text_of(latent - modules.begin()), "\"mla_up_proj\"",
                    "a module that the model has: that one needs attention kind \"mla\"");
    }
  }

  void check_sequence() const {
    const std::int64_t length = training_.seq_length;
    if (model_.position == PositionEncoding::learned && model_.max_positions > 0 &&
        length > model_.max_positions) {
      refuse_beside("training/seq_length", text_of(length),
                    "at most " + text_of(model_.max_positions) +
                        ", the positions that the model has learned (model.max_positions)");
    }
    const std::int64_t context = plan_.context;
    // A causal sequence is cut into 2 x context pieces and dealt from both ends, so that ranks work equally.
    const bool two_ended = context > 1 && model_.causal && plan_.context_method != ContextMethod::ulysses;
    const std::int64_t pieces = two_ended ? 2 * context : context;
    if (length % pieces != 0) {
      refuse("context", context,
             two_ended ? "twice it to divide seq_length " + text_of(length) + " (causal load balance)"
                       : "a divisor of seq_length " + text_of(length));
      return;
    }
    if (plan_.sequence && length / context % plan_.tensor != 0) {
      refuse("tensor", plan_.tensor,
             "a divisor of the " + text_of(length / context) +
                 " tokens of a sequence under sequence parallelism");
    }
  }

  int& layers_of(int chunk, int stage) {
    return plan_.stage_layers[static_cast<size_t>(plan_.pipeline_placement().virtual_stage(stage, chunk))];
  }

  /// Takes `shortfall` layers away from the first (or the last) virtual stages of a stage.
  void take_away(int stage, bool from_front, int shortfall) {
    for (int i = 0; i < plan_.interleave && shortfall > 0; ++i) {
      const int chunk = from_front ? i : plan_.interleave - 1 - i;
      int& layers = layers_of(chunk, stage);
      const int taken = std::min(layers, shortfall);
      layers -= taken;
      shortfall -= taken;
    }
  }

  /// `pipeline` numbers on `interleave` virtual stages each: evenly, a shortfall on the first virtual stage
  /// of stage 0 and the last of the others.
  void deal_within_stages(const std::vector<int>& totals) {
    plan_.stage_layers.assign(totals.size() * static_cast<size_t>(plan_.interleave), 0);
    for (int stage = 0; stage < plan_.pipeline; ++stage) {
      const int total = totals[static_cast<size_t>(stage)];
      const int each = (total + plan_.interleave - 1) / plan_.interleave;
      for (int chunk = 0; chunk < plan_.interleave; ++chunk) {
        layers_of(chunk, stage) = each;
      }
      // In a V stage 0 has both ends, of which the head is the heavier.
      take_away(stage, stage == 0 && !plan_.pipeline_placement().folded(), each * plan_.interleave - total);
    }
  }

  void deal_layers() {
    const int virtual_stages = plan_.pipeline * plan_.interleave;
    if (reader_.has("stage_layers")) {
      read_stage_layers(virtual_stages);
    } else if (virtual_stages > model_.layers) {
      reader_.problems().add_message(reader_.pointer(),
                                     "pipeline " + text_of(plan_.pipeline) + " x interleave " +
                                         text_of(plan_.interleave) +
                                         " has more virtual stages than the model has layers (" +
                                         text_of(model_.layers) + "); stage_layers can leave some without");
    } else {
      deal_evenly(virtual_stages);
    }
    check_recomputed_layers();
  }

  /// As evenly as possible; what is missing to equal shares is missing first on the last virtual stage (which
  /// has the head), then on the first (which has the embedding), then from the end. A stack that counts the
  /// embedding and the head as layers deals two more and takes those away again.
  void deal_evenly(int virtual_stages) {
    const auto count = static_cast<size_t>(virtual_stages);
    const bool uneven = model_.layers % virtual_stages != 0;
    const int ends = uneven && stack_.embedding_as_layer ? 2 : 0;
    const int items = model_.layers + ends;
    const int each = (items + virtual_stages - 1) / virtual_stages;
    std::vector<int>& layers = plan_.stage_layers;
    layers.assign(count, each);
    const auto shortfall = static_cast<size_t>(each * virtual_stages - items);
    for (size_t i = 0; i < shortfall; ++i) {
      const size_t place = i == 0 ? count - 1 : (i == 1 ? 0 : count - i);
      --layers[place];
    }
    if (ends > 0) {
      --layers.front();
      --layers.back();
    }
  }

  void read_stage_layers(int virtual_stages) {
    const SpecReader list = reader_.at("stage_layers");
    std::vector<int> given;
    for (const SpecReader& element : list.elements()) {
      given.push_back(static_cast<int>(element.integer(0, model_.layers)));
    }
    if (!list.is_list()) return;
    const auto stages = static_cast<size_t>(plan_.pipeline);
    const bool whole = given.size() == static_cast<size_t>(virtual_stages);
    if (!whole && given.size() != stages) {
      std::string expected = text_of(plan_.pipeline) + " numbers (pipeline)";
      if (plan_.interleave > 1) expected += " or " + text_of(virtual_stages) + " (pipeline x interleave)";
      reader_.problems().add(list.pointer(), "a list of " + std::to_string(given.size()), expected);
      return;
    }
    const std::int64_t sum = std::accumulate(given.begin(), given.end(), std::int64_t{0});
    if (sum != model_.layers) {
      reader_.problems().add(list.pointer(), "a sum of " + text_of(sum),
                             "a sum of " + text_of(model_.layers) + " (the model's layers)");
      return;
    }
    if (whole) {
      plan_.stage_layers = given;
    } else {
      deal_within_stages(given);
    }
  }

  void check_recomputed_layers() const {
    std::vector<int> totals(static_cast<size_t>(plan_.pipeline), 0);
    const PipelinePlacement place = plan_.pipeline_placement();
    for (size_t i = 0; i < plan_.stage_layers.size(); ++i) {
      totals[static_cast<size_t>(place.stage_of(static_cast<int>(i)))] += plan_.stage_layers[i];
    }
    const int most = *std::max_element(totals.begin(), totals.end());
    if (!plan_.stage_layers.empty() && training_.recompute_layers > most) {
      refuse_beside("training/recompute/layers", text_of(training_.recompute_layers),
                    "at most " + text_of(most) + ", the layers of the largest stage");
    }
  }

  void check_zero() {
    const int replicas = plan_.data * plan_.context;
    plan_.shard_group = replicas;
    const int most = stack_.sharding.most_zero_with_pipeline;
    if (plan_.pipeline > 1 && plan_.zero > most) {
      const std::string levels = most == 0 ? "0" : most == 1 ? "0 or 1" : "0, 1 or 2";
      refuse("zero", plan_.zero,
             levels + " with pipeline " + text_of(plan_.pipeline) +
                 (stack_.name.empty() ? "" : " under " + stack_.name));
    } else if (plan_.zero >= 2 && plan_.schedule == ScheduleKind::dualpipe) {
      refuse("zero", plan_.zero,
             "0 or 1 with schedule " + schedule_text() +
                 ": reducing gradients in every micro-batch would take its pairs apart");
    }
    check_zero_options();
    if (plan_.zero == 3) plan_.overlap.gradient = plan_.overlap.parameter = true;
    // The framework's own code decides (predict says so where the experiment asks for an overlap).
    if (plan_.zero == 1 && !stack_.sharding.hooks) plan_.overlap.gradient = false;
    if (!reader_.has("shard_group")) return;
    const SpecReader shard_group = reader_.at("shard_group");
    plan_.shard_group = static_cast<int>(shard_group.integer(1, kMostDegree));
    if (plan_.zero == 0) {
      shard_group.refuse_message("is only legal with zero 1 to 3");
    } else if (replicas % plan_.shard_group != 0) {
      refuse("shard_group", plan_.shard_group, "a divisor of data x context = " + text_of(replicas));
    }
  }

  /// Largest degree up to `found` that divides all of these.
  static std::int64_t nearest_divisor(std::int64_t found, std::initializer_list<std::int64_t> sizes) {
    for (std::int64_t degree = found; degree > 1; --degree) {
      if (std::all_of(sizes.begin(), sizes.end(),
                      [degree](std::int64_t size) { return size % degree == 0; })) {
        return degree;
      }
    }
    return 1;
  }

  /// Experts over the ranks of a stage (Megatron-core, parallel_state.py and transformer/moe/experts.py).
  void check_experts() const {
    if (!model_.moe) {
      check_no_expert_modules();
      return;
    }
    const MoeSpec& moe = *model_.moe;
    check_moe_software();
    const std::int64_t ranks = std::int64_t{plan_.tensor} * plan_.context * plan_.data;
    const int tensor = plan_.expert_tensor;
    if (ranks % tensor != 0 || moe.ffn_hidden % tensor != 0) {
      refuse("expert_tensor", tensor,
             "a divisor of the " + text_of(ranks) + " GPUs of a stage and of the experts' ffn_hidden " +
                 text_of(moe.ffn_hidden) + ", such as " +
                 text_of(nearest_divisor(tensor, {ranks, moe.ffn_hidden})));
      return;
    }
    if (moe.experts % plan_.expert != 0 || ranks / tensor % plan_.expert != 0) {
      std::string expected = "a divisor of the model's " + text_of(moe.experts) + " experts and of the " +
                             text_of(ranks) + " GPUs of a stage";
      if (tensor > 1) expected += " over expert_tensor " + text_of(tensor);
      refuse("expert", plan_.expert,
             expected + ", such as " + text_of(nearest_divisor(plan_.expert, {moe.experts, ranks / tensor})));
      return;
    }
    check_moe_imbalance(reader_, moe, plan_);
    if (plan_.tensor > 1 && !plan_.sequence) {
      // Otherwise every tensor rank would route the same tokens (Megatron-core's MoELayer demands it, too).
      reader_.problems().add(reader_.pointer() + "/sequence", "false",
                             "true with tensor " + text_of(plan_.tensor) + " and a mixture of experts");
    }
    const std::int64_t shared = moe.shared_experts * moe.shared_ffn_hidden;
    if (shared % plan_.tensor != 0) {
      refuse("tensor", plan_.tensor, "a divisor of the shared experts' width " + text_of(shared));
    }
    if (plan_.zero > 0) check_expert_shards();
    if (plan_.overlap.expert) check_expert_overlap();
  }

  void check_no_expert_modules() const {
    for (const std::string_view module : {"moe", "moe_act"}) {
      if (!recomputes_module(training_, module.data())) continue;
      refuse_beside("training/recompute/modules", "\"" + std::string(module) + "\"",
                    "modules of a dense model: it has no experts (model.moe)");
    }
  }

  /// Whether the stack has mixtures of experts, and the way of moving tokens that was asked for.
  void check_moe_software() const {
    const std::string stack = "\"" + stack_.name + "\"";
    if (!stack_.moe.described) {
      refuse_beside(
          "software", stack,
          "a stack whose mixture-of-experts layers are described (\"moe\" in its preset, or beside it)");
      return;
    }
    const auto& has = stack_.moe.dispatchers;
    if (std::find(has.begin(), has.end(), stack_.moe_dispatcher) != has.end()) return;
    std::string names;
    for (const MoeDispatcher one : has) {
      names += (names.empty() ? "" : ", ") + std::string(kMoeDispatchers[static_cast<size_t>(one)]);
    }
    refuse_beside("software/moe_dispatcher",
                  "\"" + std::string(kMoeDispatchers[static_cast<size_t>(stack_.moe_dispatcher)]) + "\"",
                  "one of " + names + ": what " + stack + " had in " + to_text(stack_.date));
  }

  /// Under HSDP the ranks that share experts divide into as many shard groups as the others do.
  void check_expert_shards() const {
    const int replicas = plan_.data * plan_.context / plan_.shard_group;
    if (plan_.expert_data() % replicas == 0) return;
    refuse("shard_group", plan_.shard_group,
           "data x context / shard_group = " + text_of(replicas) + " to divide the " +
               text_of(plan_.expert_data()) + " ranks that hold the same experts, such as " +
               text_of(std::int64_t{plan_.data} * plan_.context));
  }

  /// What a stack needs to run one micro-batch's exchanges beside another's compute.
  void check_expert_overlap() const {
    const auto refuse_overlap = [this](const std::string& expected) {
      reader_.problems().add(reader_.pointer() + "/overlap/expert", "true", expected);
    };
    if (!stack_.moe.overlaps_micro_batches) {
      refuse_overlap("false: software \"" + stack_.name + "\" of " + to_text(stack_.date) +
                     " does not run exchanges of experts beside another micro-batch's compute");
    } else if (plan_.expert == 1) {
      refuse_overlap("false with expert 1: nothing is exchanged");
    } else if (plan_.schedule == ScheduleKind::dualpipe) {
      refuse_overlap("false: the pairs of \"dualpipe\" hide exchanges as they are");
    } else if (plan_.pipeline > 1 && plan_.schedule != ScheduleKind::interleaved) {
      refuse_overlap("false, or an interleaved schedule with pipeline " + text_of(plan_.pipeline) +
                     ": 1F1B leaves no independent micro-batch beside it");
    } else if (training_.recompute == Recompute::full) {
      refuse_overlap("false with full recomputation");
    }
  }

  /// What ZeRO 3 leaves no choice of, and what no ZeRO has nothing to gather for.
  void check_zero_options() const {
    if (plan_.zero == 3 && reader_.has("bucket")) {
      reader_.at("bucket").refuse_message(
          "is of no effect with zero 3, which gathers and reduces layer by layer");
    }
    if (!reader_.has("overlap")) return;
    const SpecReader overlap = reader_.at("overlap");
    const auto given = [&](std::string_view key, bool value) {
      return overlap.has(key) && overlap.at(key).boolean() == value;
    };
    for (const std::string_view key : {"gradient", "parameter"}) {
      if (plan_.zero == 3 && given(key, false)) {
        overlap.at(key).refuse_message(
            "is always true with zero 3, which prefetches and reduces beside compute");
      }
    }
    if (plan_.zero == 0 && given("parameter", true)) {
      overlap.at("parameter")
          .refuse_message("is only legal with zero 1 to 3: without, no parameter is gathered");
    }
  }

  const SpecReader& reader_;
  const ModelSpec& model_;
  const TrainingSpec& training_;
  const SoftwareStack& stack_;
  int gpus_;
  bool model_is_known_ = true;  ///< it was not refused
  ParallelPlan plan_;
};

}  // namespace

ParallelPlan read_parallel_plan(const SpecReader& reader, const ModelSpec& model,
                                const TrainingSpec& training, const SoftwareStack& stack, int gpus) {
  return PlanReader(reader, model, training, stack, gpus).read();
}

}  // namespace orrery
