#include "models/software_stack.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "models/software_document.hpp"
#include "sim/cost/year_month.hpp"

namespace orrery {

namespace {

constexpr std::array<std::string_view, 7> kArchitectures = {"volta",     "ampere", "ada",  "hopper",
                                                            "blackwell", "cdna2",  "cdna3"};
constexpr std::array<std::string_view, 3> kLaunches = {"eager", "compiled", "cuda_graph"};
constexpr std::array<std::string_view, 4> kBackends = {"nccl", "rccl", "mpi", "gloo"};

bool is_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return '0' <= c && c <= '9'; });
}

/// One kernel, or {"default": kernel, architecture: kernel, "unequal_heads": {architecture: kernel}}.
void read_attention_kernel(const SpecReader& reader, SoftwareStack& stack) {
  const auto kernel = [](const SpecReader& name) {
    return static_cast<AttentionKernel>(name.choice(kAttentionKernels));
  };
  if (!reader.is_object()) {
    stack.attention_kernel = kernel(reader);
    return;
  }
  const std::vector<std::string> architectures(kArchitectures.begin(), kArchitectures.end());
  std::vector<std::string> places = architectures;
  places.insert(places.begin(), "default");
  places.emplace_back("unequal_heads");
  reader.only(places);
  stack.attention_kernel = kernel(reader.at("default"));
  for (const auto& [place, value] : reader.members()) {
    if (place == "default") continue;
    if (place != "unequal_heads") {
      stack.attention_kernel_on.emplace_back(place, kernel(value));
      continue;
    }
    value.only(architectures);
    for (const auto& [architecture, name] : value.members()) {
      stack.attention_kernel_of_unequal_heads.emplace_back(architecture, kernel(name));
    }
  }
}

/// "nccl", or with its version "nccl 2.21".
void read_collectives(const SpecReader& reader, SoftwareStack& stack) {
  const std::string text = reader.text();
  const size_t space = text.find(' ');
  const std::string backend = text.substr(0, space);
  const std::string version = space == std::string::npos ? "" : text.substr(space + 1);
  const bool known = std::find(kBackends.begin(), kBackends.end(), backend) != kBackends.end();
  const bool numbered = space == std::string::npos || (!version.empty() && is_digits(version.substr(0, 1)));
  if (reader.is_text() && (!known || !numbered)) {
    reader.refuse("one of nccl, rccl, mpi, gloo, with its version if it matters (\"nccl 2.21\")");
    return;
  }
  stack.collectives = backend;
  stack.collectives_version = version;
}

/// A list of different parts of a layer.
GraphScope read_graph_parts(const SpecReader& reader) {
  GraphScope scope;
  bool* const parts[] = {&scope.attention, &scope.moe_router, &scope.moe_preprocess};
  for (const SpecReader& element : reader.elements()) {
    const size_t refused = reader.problems().list().size();
    bool& part = *parts[element.choice(kGraphParts)];
    if (reader.problems().list().size() > refused) continue;  // what stands in for it is no part given twice
    if (part) element.refuse("each part once");
    part = true;
  }
  return scope;
}

/// "full", or a list of parts, where graphs start the kernels.
void read_graph_scope(const SpecReader& reader, SoftwareStack& stack) {
  if (!reader.is_list()) {
    if (!reader.is_text() || reader.text() != "full") {
      reader.refuse("\"full\", or a list of attention, moe_router, moe_preprocess");
    }
    return;
  }
  stack.graph_scope = read_graph_parts(reader);
  if (stack.launch != Launch::cuda_graph) {
    reader.refuse_message("a list of parts is only legal with launch \"cuda_graph\"");
  } else if (reader.elements().empty()) {
    reader.refuse("\"full\", or at least one of attention, moe_router, moe_preprocess");
  } else if (stack.graph_scope.moe_preprocess && !stack.graph_scope.moe_router) {
    // megatron/training/arguments.py: the graph of the preprocessing goes on from the router's.
    reader.refuse_message("moe_preprocess is only legal beside moe_router");
  }
}

void read_host(const SpecReader& reader, SoftwareStack::Host& host) {
  reader.only({"per_kernel", "per_layer_forward", "per_layer_backward", "per_collective", "per_expert",
               "per_moe_router", "per_moe_preprocess", "per_moe_experts", "per_overlapped_pass", "per_step",
               "per_graph", "per_blocked_launch", "per_check", "per_checked_rank", "per_checked_node",
               "per_gather_copy"});
  const auto time = [&reader](std::string_view key, Seconds& target) {
    if (reader.has(key)) target = reader.at(key).quantity<Seconds>(true);
  };
  time("per_kernel", host.per_kernel);
  time("per_layer_forward", host.per_layer_forward);
  time("per_layer_backward", host.per_layer_backward);
  time("per_collective", host.per_collective);
  time("per_expert", host.per_expert);
  time("per_moe_router", host.per_moe_router);
  time("per_moe_preprocess", host.per_moe_preprocess);
  time("per_moe_experts", host.per_moe_experts);
  time("per_overlapped_pass", host.per_overlapped_pass);
  time("per_step", host.per_step);
  time("per_graph", host.per_graph);
  time("per_blocked_launch", host.per_blocked_launch);
  time("per_check", host.per_check);
  time("per_checked_rank", host.per_checked_rank);
  time("per_checked_node", host.per_checked_node);
  time("per_gather_copy", host.per_gather_copy);
}

void read_overlap(const SpecReader& reader, SoftwareStack& stack) {
  reader.only({"gradient", "parameter", "tensor", "pipeline", "expert"});
  const auto flag = [&reader](std::string_view key, bool& target) {
    if (reader.has(key)) target = reader.at(key).boolean();
  };
  flag("gradient", stack.overlap_gradient);
  flag("parameter", stack.overlap_parameter);
  flag("tensor", stack.overlap_tensor);
  flag("pipeline", stack.overlap_pipeline);
  flag("expert", stack.overlap_expert);
}

/// Nothing is cast to be turned or clamped: casts have no passes for that.
enum class PassesOf { layers, casts };

ElementwisePasses read_passes(const SpecReader& reader, PassesOf of = PassesOf::layers) {
  ElementwisePasses passes;
  std::vector<std::string> keys = {"hidden", "sharded", "ffn", "ffn_gated"};
  if (of == PassesOf::layers) keys.insert(keys.end(), {"ffn_clamp", "rope", "rope_scaled", "rope_latent"});
  reader.only(keys);
  const auto count = [&reader](std::string_view key, double& target) {
    if (reader.has(key)) target = reader.at(key).number(0.0, 1e4);
  };
  count("hidden", passes.hidden);
  count("sharded", passes.sharded);
  count("ffn", passes.ffn);
  count("ffn_gated", passes.ffn_gated);
  count("ffn_clamp", passes.ffn_clamp);
  count("rope", passes.rope);
  count("rope_scaled", passes.rope_scaled);
  count("rope_latent", passes.rope_latent);
  return passes;
}

void read_number(const SpecReader& reader, std::string_view key, double least, double most, double& target) {
  if (reader.has(key)) target = reader.at(key).number(least, most);
}

void read_count(const SpecReader& reader, std::string_view key, int least, int& target) {
  if (reader.has(key)) target = static_cast<int>(reader.at(key).integer(least, 1 << 20));
}

/// Passes (2 bytes an element of the feed-forward width) of a kernel that casts a gated activation's input to
/// FP8 in the forward (reads twice the width in 16 bits, writes it in 8), and of the one that casts it back
/// (megatron/core/fusions/fused_bias_swiglu.py, SwiGLUFunction: input.to(float8_e4m3fn), and back).
constexpr double kCastActivationInputPasses = 3.0;

void read_flag(const SpecReader& reader, std::string_view key, bool& target) {
  if (reader.has(key)) target = reader.at(key).boolean();
}

/// Casts; a number that is left out keeps what it was.
void read_quantize(const SpecReader& reader, QuantizeCounts& counts) {
  if (reader.has("quantize_forward"))
    counts.forward = read_passes(reader.at("quantize_forward"), PassesOf::casts);
  if (reader.has("quantize_backward"))
    counts.backward = read_passes(reader.at("quantize_backward"), PassesOf::casts);
  if (!reader.has("quantize_weights")) return;
  const SpecReader weights = reader.at("quantize_weights");
  weights.only({"traffic", "gathered_traffic", "kept", "frozen_share"});
  read_number(weights, "traffic", 0, 1e4, counts.weight_traffic);
  read_number(weights, "gathered_traffic", 0, 1e4, counts.gathered_weight_traffic);
  read_number(weights, "kept", 0, 1e4, counts.weight_bytes);
  read_number(weights, "frozen_share", 0, 1, counts.frozen_share);
}

AdapterPasses read_adapter_passes(const SpecReader& reader) {
  AdapterPasses passes;
  reader.only({"input", "output"});
  read_number(reader, "input", 0, 1e4, passes.input);
  read_number(reader, "output", 0, 1e4, passes.output);
  return passes;
}

void read_ring_merge(const SpecReader& reader, RingMerge& merge) {
  reader.only({"output", "key_values", "query_gradient", "key_value_gradients"});
  const auto passes = [&reader](std::string_view key, RingPasses& target) {
    if (!reader.has(key)) return;
    const SpecReader tensor = reader.at(key);
    tensor.only({"first", "further"});
    read_number(tensor, "first", 0, 1e4, target.first);
    read_number(tensor, "further", 0, 1e4, target.further);
  };
  passes("output", merge.output);
  passes("key_values", merge.key_values);
  passes("query_gradient", merge.query_gradient);
  passes("key_value_gradients", merge.key_value_gradients);
}

void read_fp8_attention(const SpecReader& reader, Fp8Attention& costs) {
  reader.only({"cast_inputs", "cast_output", "cast_output_gradient", "cast_input_gradients", "kept",
               "sent_inputs", "sent_output", "sent_output_gradient", "sent_input_gradients"});
  read_number(reader, "cast_inputs", 0, 1e4, costs.cast_inputs);
  read_number(reader, "cast_output", 0, 1e4, costs.cast_output);
  read_number(reader, "cast_output_gradient", 0, 1e4, costs.cast_output_gradient);
  read_number(reader, "cast_input_gradients", 0, 1e4, costs.cast_input_gradients);
  read_number(reader, "kept", 0, 1e4, costs.kept);
  read_number(reader, "sent_inputs", 0, 4, costs.sent_inputs);
  read_number(reader, "sent_output", 0, 4, costs.sent_output);
  read_number(reader, "sent_output_gradient", 0, 4, costs.sent_output_gradient);
  read_number(reader, "sent_input_gradients", 0, 4, costs.sent_input_gradients);
}

void read_unvectorised(const SpecReader& reader, Unvectorised& kernels) {
  reader.only({"strided", "converting", "clamp_forward", "clamp_backward", "rope_forward", "rope_backward",
               "bias_forward", "bias_backward"});
  if (reader.has("strided")) kernels.strided = reader.at("strided").quantity<Seconds>(true);
  if (reader.has("converting")) kernels.converting = reader.at("converting").quantity<Seconds>(true);
  const auto counts = [&reader](std::string_view key, UnvectorisedKernels& target) {
    if (!reader.has(key)) return;
    const SpecReader counted = reader.at(key);
    counted.only({"passes", "strided", "converting"});
    read_number(counted, "passes", 0, 1e4, target.passes);
    read_number(counted, "strided", 0, 1e4, target.strided);
    read_number(counted, "converting", 0, 1e4, target.converting);
  };
  counts("clamp_forward", kernels.clamp_forward);
  counts("clamp_backward", kernels.clamp_backward);
  counts("rope_forward", kernels.rope_forward);
  counts("rope_backward", kernels.rope_backward);
  counts("bias_forward", kernels.bias_forward);
  counts("bias_backward", kernels.bias_backward);
}

void read_layer_traffic(const SpecReader& reader, SoftwareStack& stack) {
  const auto passes = [&reader](std::string_view key, ElementwisePasses& target) {
    if (reader.has(key)) target = read_passes(reader.at(key));
  };
  passes("forward_passes", stack.forward_passes);
  passes("backward_passes", stack.backward_passes);
  if (reader.has("unvectorised")) read_unvectorised(reader.at("unvectorised"), stack.unvectorised);
  if (reader.has("adapter_forward")) {
    stack.adapter_forward = read_adapter_passes(reader.at("adapter_forward"));
  }
  if (reader.has("adapter_backward")) {
    stack.adapter_backward = read_adapter_passes(reader.at("adapter_backward"));
  }
  read_quantize(reader, stack.quantize);
  if (reader.has("quantize_on")) {
    const SpecReader architectures = reader.at("quantize_on");
    architectures.only(std::vector<std::string>(kArchitectures.begin(), kArchitectures.end()));
    for (const auto& [architecture, counts] : architectures.members()) {
      counts.only({"quantize_forward", "quantize_backward", "quantize_weights"});
      QuantizeCounts& own = stack.quantize_on.emplace_back(architecture, stack.quantize).second;
      read_quantize(counts, own);
    }
  }
  if (reader.has("ring_merge")) read_ring_merge(reader.at("ring_merge"), stack.ring_merge);
  read_number(reader, "head_exchange_passes", 0, 1e4, stack.head_exchange_passes);
  read_number(reader, "attention_score_passes_forward", 0, 1e4, stack.attention_score_passes_forward);
  read_number(reader, "attention_score_passes_backward", 0, 1e4, stack.attention_score_passes_backward);
  read_count(reader, "kernels_forward", 0, stack.kernels_forward);
  read_count(reader, "kernels_backward", 0, stack.kernels_backward);
}

void read_step_traffic(const SpecReader& reader, SoftwareStack& stack) {
  read_number(reader, "loss_bytes_per_logit", 0, 1e4, stack.loss_bytes_per_logit);
  read_number(reader, "gradient_accumulation_bytes", 0, 1e4, stack.gradient_accumulation_bytes);
  read_flag(reader, "fused_gradient_accumulation", stack.fused_gradient_accumulation);
  read_number(reader, "optimizer_bytes_per_parameter", 0, 1e4, stack.optimizer_bytes_per_parameter);
  read_number(reader, "optimizer_bytes_per_resident", 0, 1e4, stack.optimizer_bytes_per_resident);
  read_count(reader, "optimizer_kernels", 0, stack.optimizer_kernels);
  read_number(reader, "overlap_slowdown", 0, 10, stack.overlap_slowdown);
  read_number(reader, "tensor_overlap_exposed", 0, 1, stack.tensor_overlap_exposed);
  read_number(reader, "pipeline_overlap_exposed", 0, 1, stack.pipeline_overlap_exposed);
  read_number(reader, "bucket_parameters", 0, 1e15, stack.bucket_parameters);
  read_number(reader, "bucket_per_rank", 0, 1e15, stack.bucket_per_rank);
  read_number(reader, "slowest_gpu_spread", 0, 1, stack.slowest_gpu_spread);
}

void read_memory(const SpecReader& reader, SoftwareStack& stack) {
  read_number(reader, "activation_bytes_extra", 0, 1e4, stack.activation_bytes_extra);
  read_number(reader, "gated_activation_bytes_extra", 0, 1e4, stack.gated_activation_bytes_extra);
  if (reader.has("loss_kept_bytes_per_logit")) {
    double kept = 0.0;
    read_number(reader, "loss_kept_bytes_per_logit", 0, 1e4, kept);
    stack.loss_kept_bytes_per_logit = kept;
  }
  read_number(reader, "kept_gradient_bytes", 0, 1e4, stack.kept_gradient_bytes);
  read_number(reader, "backward_gradient_bytes", 0, 1e4, stack.backward_gradient_bytes);
  read_number(reader, "gradient_cast_bytes", 0, 1e4, stack.gradient_cast_bytes);
  read_count(reader, "pipeline_buffers", 0, stack.pipeline_buffers);
  read_count(reader, "reduction_buffers", 0, stack.reduction_buffers);
  read_count(reader, "gathered_buffers", 0, stack.gathered_buffers);
  read_count(reader, "recorded_activations", 0, stack.recorded_activations);
  read_flag(reader, "logs_first_stage", stack.logs_first_stage);
  read_flag(reader, "logs_reserved", stack.logs_reserved);
  if (reader.has("communicators")) {
    stack.communicators.clear();
    for (const SpecReader& element : reader.at("communicators").elements()) {
      stack.communicators.push_back(static_cast<FurtherGroup>(element.choice(kFurtherGroups)));
    }
  }
  read_number(reader, "step_buffer_bytes", 0, 1e4, stack.step_buffer_bytes);
  if (reader.has("framework_memory")) {
    stack.framework_memory = reader.at("framework_memory").quantity<Bytes>(true);
  }
  if (reader.has("context_memory")) stack.context_memory = reader.at("context_memory").quantity<Bytes>(true);
}

void read_offloads(const SpecReader& reader, SoftwareStack::Offloads& offloads) {
  reader.only({"activations", "activations_with_pipeline", "host_bandwidth_share"});
  if (!reader.is_object()) return;
  read_flag(reader, "activations", offloads.activations);
  read_flag(reader, "activations_with_pipeline", offloads.activations_with_pipeline);
  read_number(reader, "host_bandwidth_share", 0, 1, offloads.host_bandwidth_share);
}

void read_sharding(const SpecReader& reader, SoftwareStack::Sharding& sharding) {
  reader.only({"prefetch_forward", "prefetch_backward", "keeps_last", "most_zero", "most_zero_with_pipeline",
               "reduces_once_with_pipeline", "keeps_weight_shards", "hooks", "reduces_to_all",
               "gathers_by_bucket", "gather_copy_bytes", "gather_copies_per_layer", "gather_buffer_bytes",
               "gather_bucket_parameters"});
  if (!reader.is_object()) return;
  read_flag(reader, "reduces_once_with_pipeline", sharding.reduces_once_with_pipeline);
  read_flag(reader, "keeps_weight_shards", sharding.keeps_weight_shards);
  read_flag(reader, "hooks", sharding.hooks);
  read_flag(reader, "reduces_to_all", sharding.reduces_to_all);
  read_flag(reader, "gathers_by_bucket", sharding.gathers_by_bucket);
  read_number(reader, "gather_copy_bytes", 0, 1e4, sharding.gather_copy_bytes);
  read_count(reader, "gather_copies_per_layer", 0, sharding.gather_copies_per_layer);
  read_number(reader, "gather_buffer_bytes", 0, 1e4, sharding.gather_buffer_bytes);
  read_number(reader, "gather_bucket_parameters", 0, 1e15, sharding.gather_bucket_parameters);
  read_count(reader, "prefetch_forward", 0, sharding.prefetch_forward);
  read_count(reader, "prefetch_backward", 0, sharding.prefetch_backward);
  read_flag(reader, "keeps_last", sharding.keeps_last);
  if (reader.has("most_zero")) {
    sharding.most_zero = static_cast<int>(reader.at("most_zero").integer(0, 3));
  }
  if (reader.has("most_zero_with_pipeline")) {
    sharding.most_zero_with_pipeline = static_cast<int>(reader.at("most_zero_with_pipeline").integer(0, 3));
  }
}

/// Host times of the launch mode in use, then what `host` says.
void read_host_times(const SpecReader& reader, SoftwareStack& stack) {
  if (reader.has("host_by_launch")) {
    const SpecReader modes = reader.at("host_by_launch");
    modes.only({"eager", "compiled", "cuda_graph"});
    // What graphs over parts of a layer leave out is launched as without them.
    const Launch launch = stack.graph_scope.partial() ? Launch::eager : stack.launch;
    const std::string_view mode = kLaunches[static_cast<size_t>(launch)];
    // A mode that is not in use must read well, too.
    for (const auto& [name, times] : modes.members()) {
      SoftwareStack::Host unused;
      read_host(times, name == mode ? stack.host : unused);
    }
  }
  if (reader.has("host")) read_host(reader.at("host"), stack.host);
}

}  // namespace

SoftwareStack read_stack_values(const SpecReader& reader) {
  SoftwareStack stack;
  reader.only({"schema",
               "source",
               "sources",
               "date",
               "attention_kernel",
               "fusion",
               "launch",
               "blocking_launches",
               "checked_collectives",
               "graph_scope",
               "graph_parts",
               "moe_dispatcher",
               "moe",
               "fp8_parameter_gather",
               "fp8_output_projection",
               "fp8_attention",
               "fp8_attention_costs",
               "gradient_dtype",
               "overlap",
               "collectives",
               "host",
               "host_by_launch",
               "vocab_multiple",
               "forward_passes",
               "backward_passes",
               "unvectorised",
               "quantize_forward",
               "quantize_backward",
               "quantize_weights",
               "quantize_on",
               "quantized_gather",
               "adapter_forward",
               "adapter_backward",
               "ring_merge",
               "head_exchange_passes",
               "attention_score_passes_forward",
               "attention_score_passes_backward",
               "kernels_forward",
               "kernels_backward",
               "loss_bytes_per_logit",
               "gradient_accumulation_bytes",
               "fused_gradient_accumulation",
               "optimizer_bytes_per_parameter",
               "optimizer_bytes_per_resident",
               "optimizer_kernels",
               "narrow_optimizer",
               "copies_narrow_states",
               "tensor_overlap_exposed",
               "pipeline_overlap_exposed",
               "bucket_parameters",
               "bucket_per_rank",
               "bucket_whole_tensors",
               "embedding_as_layer",
               "scatter_gather_pipeline",
               "sharding",
               "async_tensor_backward",
               "recompute_stops_early",
               "overlap_slowdown",
               "activation_bytes_extra",
               "gated_activation_bytes_extra",
               "fp8_activation_input",
               "loss_kept_bytes_per_logit",
               "kept_gradient_bytes",
               "backward_gradient_bytes",
               "gradient_cast_bytes",
               "pipeline_buffers",
               "reduction_buffers",
               "gathered_buffers",
               "recorded_activations",
               "logs_first_stage",
               "logs_reserved",
               "communicators",
               "step_buffer_bytes",
               "offloads",
               "lacks",
               "framework_memory",
               "context_memory",
               "slowest_gpu_spread"});
  if (reader.has("lacks")) {
    for (const SpecReader& element : reader.at("lacks").elements()) {
      stack.lacks.push_back(static_cast<PlanFeature>(element.choice(kPlanFeatures)));
    }
  }
  if (reader.has("date")) stack.date = read_year_month(reader.at("date")).value_or(stack.date);
  if (reader.has("attention_kernel")) read_attention_kernel(reader.at("attention_kernel"), stack);
  if (reader.has("fusion")) stack.fusion = static_cast<Fusion>(reader.at("fusion").choice(kFusions));
  if (reader.has("launch")) stack.launch = static_cast<Launch>(reader.at("launch").choice(kLaunches));
  read_flag(reader, "blocking_launches", stack.blocking_launches);
  read_flag(reader, "checked_collectives", stack.checked_collectives);
  if (reader.has("graph_scope")) read_graph_scope(reader.at("graph_scope"), stack);
  if (reader.has("graph_parts")) stack.graph_parts = read_graph_parts(reader.at("graph_parts"));
  if (reader.has("moe_dispatcher")) {
    stack.moe_dispatcher = static_cast<MoeDispatcher>(reader.at("moe_dispatcher").choice(kMoeDispatchers));
  }
  if (reader.has("moe")) read_moe_software(reader.at("moe"), stack.moe);
  read_flag(reader, "fp8_parameter_gather", stack.fp8_parameter_gather);
  read_flag(reader, "fp8_output_projection", stack.fp8_output_projection);
  read_flag(reader, "fp8_attention", stack.fp8_attention);
  if (reader.has("fp8_attention_costs"))
    read_fp8_attention(reader.at("fp8_attention_costs"), stack.fp8_attention_costs);
  stack.gradient_dtype = read_gradient_dtype(reader).value_or(stack.gradient_dtype);
  if (reader.has("overlap")) read_overlap(reader.at("overlap"), stack);
  if (reader.has("collectives")) read_collectives(reader.at("collectives"), stack);
  read_host_times(reader, stack);
  read_count(reader, "vocab_multiple", 1, stack.vocab_multiple);
  read_flag(reader, "narrow_optimizer", stack.narrow_optimizer);
  read_flag(reader, "copies_narrow_states", stack.copies_narrow_states);
  read_flag(reader, "quantized_gather", stack.quantized_gather);
  read_flag(reader, "embedding_as_layer", stack.embedding_as_layer);
  read_flag(reader, "scatter_gather_pipeline", stack.scatter_gather_pipeline);
  read_flag(reader, "async_tensor_backward", stack.async_tensor_backward);
  read_flag(reader, "bucket_whole_tensors", stack.bucket_whole_tensors);
  read_flag(reader, "recompute_stops_early", stack.recompute_stops_early);
  if (reader.has("sharding")) read_sharding(reader.at("sharding"), stack.sharding);
  read_layer_traffic(reader, stack);
  read_flag(reader, "fp8_activation_input", stack.fp8_activation_input);
  if (stack.fp8_activation_input) {
    stack.forward_passes.ffn_gated += kCastActivationInputPasses;
    stack.backward_passes.ffn_gated += kCastActivationInputPasses;
  }
  read_step_traffic(reader, stack);
  read_memory(reader, stack);
  if (reader.has("offloads")) read_offloads(reader.at("offloads"), stack.offloads);
  if (reader.has("source")) stack.source = reader.at("source").text();
  return stack;
}

std::optional<YearMonth> read_year_month(const SpecReader& reader) {
  const std::string text = reader.is_text() ? reader.text() : "";
  const bool has_day = text.size() == 10 && text[7] == '-' && is_digits(text.substr(8));
  const auto date = parse_year_month(has_day ? text.substr(0, 7) : text);
  if (!date) reader.refuse("a year and month such as \"2024-11\"");
  return date;
}

void SoftwareStack::choose_for_architecture(const std::string& architecture, bool unequal_heads) {
  for (const auto& [place, kernel] : attention_kernel_on) {
    if (place == architecture) attention_kernel = kernel;
  }
  for (const auto& [place, kernel] : attention_kernel_of_unequal_heads) {
    if (place == architecture && unequal_heads) attention_kernel = kernel;
  }
  for (const auto& [place, counts] : quantize_on) {
    if (place == architecture) quantize = counts;
  }
}

void SoftwareStack::settle_attention(const std::string& architecture, Precision precision) {
  if (attention_kernel == AttentionKernel::unfused) return;
  if (bar_to_fused_attention(architecture, precision).empty()) return;
  unusable_attention_kernel = std::exchange(attention_kernel, AttentionKernel::unfused);
}

std::string bar_to_fused_attention(const std::string& architecture, Precision precision) {
  if (activation_bytes(precision) > 2.0) {
    return "with precision " + std::string(name_of(precision)) + ": fused kernels take 16 or 8 bits";
  }
  return architecture == "volta" ? "on volta: fused kernels need a later architecture" : "";
}

void SoftwareStack::run_on_host(double speed) {
  for (Seconds* time :
       {&host.per_kernel, &host.per_layer_forward, &host.per_layer_backward, &host.per_collective,
        &host.per_step, &host.per_graph, &host.per_moe_router, &host.per_moe_preprocess,
        &host.per_moe_experts, &host.per_expert, &host.per_overlapped_pass, &host.per_gather_copy}) {
    *time /= speed;
  }
}

StackAsked asked_of_stack(const TrainingSpec& training, const Json& parallel) {
  StackAsked asked{training.gradient_dtype, training.precision, std::nullopt};
  // Workers of their own reduce no gradients within a step: nothing to overlap (as read_parallel_plan has
  // it).
  const auto above = [&parallel](const char* key, int least) {
    return parallel.contains(key) && parallel[key].is_number_integer() && parallel[key].get<double>() > least;
  };
  if (training.sync.kind != SyncKind::step && !above("zero", 0) && !above("context", 1)) {
    asked.overlap_gradient = false;
  }
  const Json::json_pointer place("/overlap/gradient");
  if (parallel.contains(place) && parallel[place].is_boolean())
    asked.overlap_gradient = parallel[place].get<bool>();
  return asked;
}

SoftwareStack read_software_stack(const SpecReader& reader, const StackAsked& asked) {
  const StackDocument document = lay_out_software(reader, asked);
  if (document.values.empty()) return {};
  SoftwareStack stack = read_stack_values(SpecReader(document.values, reader.pointer(), reader.problems()));
  stack.name = document.preset;
  return stack;
}

}  // namespace orrery
