#include "tests/properties/experiments/random_experiment.hpp"

#include <algorithm>
#include <string>
#include <vector>

namespace orrery {

namespace {

struct Degrees {
  int tensor = 1, pipeline = 1, context = 1, data = 1, interleave = 1;
};

/// A divisor of `number`, at most `most`.
int random_divisor(Dice& dice, int number, int most) {
  std::vector<int> divisors;
  for (int d = 1; d <= std::min(number, most); ++d) {
    if (number % d == 0) divisors.push_back(d);
  }
  return divisors[static_cast<size_t>(dice.pick(0, static_cast<int>(divisors.size()) - 1))];
}

struct Machine {
  const char* cluster;
  int gpus_a_node;
  bool volta, fp8;
};
constexpr std::array<Machine, 6> kMachines = {{{"dgx1-v100", 8, true, false},
                                               {"dgx-a100-80gb", 8, false, false},
                                               {"dgx-h100", 8, false, true},
                                               {"dgx-h200", 8, false, true},
                                               {"dgx-b200", 8, false, true},
                                               {"gb200-nvl72", 4, false, true}}};

class ExperimentDraw {
 public:
  explicit ExperimentDraw(Dice& dice) : dice_(dice), machine_(dice.one_of(kMachines)) {}

  /// A dense model trained as most are.
  Json draw_plain() {
    draw_cluster();
    draw_degrees();
    draw_parallel();
    draw_model();
    draw_training();
    draw_software();
    return together();
  }

  /// The same, three times in four with something rarer.
  Json draw() {
    draw_plain();
    switch (dice_.pick(0, 13)) {
      case 0:
      case 1:
        add_experts();
        break;
      case 2:
        split_backward();
        break;
      case 3:
        change_attention();
        break;
      case 4:
        train_in_fewer_bits();
        break;
      case 5:
        train_adapters();
        break;
      case 6:
      case 7:
        add_storage();
        break;
      case 8:
        synchronise_less();
        break;
      case 9:
        update_whole_matrices();
        break;
      case 10:
        offload();
        break;
      default:
        break;
    }
    return together();
  }

 private:
  Json together() const {
    return {{"cluster", cluster_},
            {"model", model_},
            {"training", training_},
            {"software", software_},
            {"parallel", parallel_}};
  }

  void draw_cluster() {
    nodes_ = dice_.one_of(std::array{1, 2, 3, 4, 6, 8});
    gpus_ = nodes_ * machine_.gpus_a_node;
    cluster_ = {{"preset", machine_.cluster}, {"nodes", nodes_}};
    if (nodes_ > 1 && machine_.gpus_a_node == 8 && dice_.once_in(4)) {
      cluster_["fabric"] = {{"kind", nodes_ <= 4
                                         ? dice_.one_of(std::array{"leaf_spine", "fat_tree", "single_switch"})
                                         : dice_.one_of(std::array{"leaf_spine", "fat_tree"})}};
    }
  }

  void draw_degrees() {
    degrees_.tensor = random_divisor(dice_, gpus_, 8);
    degrees_.pipeline = random_divisor(dice_, gpus_ / degrees_.tensor, 8);
    degrees_.context =
        dice_.once_in(3) ? random_divisor(dice_, gpus_ / degrees_.tensor / degrees_.pipeline, 4) : 1;
    degrees_.data = gpus_ / degrees_.tensor / degrees_.pipeline / degrees_.context;
    if (degrees_.pipeline > 1 && dice_.once_in(3)) degrees_.interleave = dice_.pick(2, 3);
  }

  bool chance() { return dice_.once_in(2); }

  void draw_overlap() {
    Json overlap = Json::object();
    for (const char* key : {"gradient", "parameter", "tensor", "pipeline"}) {
      if (dice_.once_in(4)) overlap[key] = chance();
    }
    // There is no parameter gather to overlap without a distributed optimizer.
    if (zero_ == 0) overlap.erase("parameter");
    // FSDP always gathers and reduces beside compute, layer by layer.
    if (zero_ == 3) {
      overlap.erase("parameter");
      overlap.erase("gradient");
    }
    if (degrees_.interleave == 1) overlap.erase("pipeline");
    // Megatron-core overlaps what sequence parallelism gathers and scatters.
    if (!parallel_.contains("sequence") || parallel_["sequence"] == false) overlap.erase("tensor");
    if (!overlap.empty()) parallel_["overlap"] = overlap;
  }

  void draw_parallel() {
    parallel_ = {{"tensor", degrees_.tensor}, {"pipeline", degrees_.pipeline}};
    if (degrees_.context > 1) {
      parallel_["context"] = degrees_.context;
      parallel_["context_method"] = dice_.one_of(std::array{"ring", "all_gather", "ulysses"});
    }
    if (chance()) parallel_["data"] = degrees_.data;
    if (degrees_.interleave > 1) parallel_["interleave"] = degrees_.interleave;
    if (degrees_.interleave == 1 && chance())
      parallel_["schedule"] = dice_.one_of(std::array{"gpipe", "1f1b"});
    if (degrees_.tensor > 1) parallel_["sequence"] = chance();
    zero_ = dice_.pick(0, degrees_.pipeline > 1 ? 2 : 3);
    parallel_["zero"] = zero_;
    const int replicas = degrees_.data * degrees_.context;
    if (zero_ > 0 && replicas > 1 && dice_.once_in(4)) {
      parallel_["shard_group"] = random_divisor(dice_, replicas, replicas);
    }
    draw_overlap();
    if (zero_ < 3 && dice_.once_in(6)) parallel_["bucket"] = dice_.one_of(std::array{5e6, 25e6, 200e6});
    if (dice_.once_in(8)) parallel_["placement"] = {"tensor", "context", "pipeline", "data"};
  }

  void draw_stage_layers() {
    if (degrees_.pipeline == 1 || !dice_.once_in(4)) return;
    std::vector<int> layers(static_cast<size_t>(degrees_.pipeline), 1);
    int left = layers_ - degrees_.pipeline;
    while (left > 0) {
      ++layers[static_cast<size_t>(dice_.pick(0, degrees_.pipeline - 1))];
      --left;
    }
    parallel_["stage_layers"] = layers;
  }

  void draw_model() {
    const int stages = degrees_.pipeline * degrees_.interleave;
    // At least four layers: a step of one is all ends.
    layers_ = stages * dice_.pick((stages + 3) / stages, 4) +
              (degrees_.interleave == 1 ? dice_.pick(0, stages - 1) : 0);
    const int head_dim = dice_.one_of(std::array{64, 128});
    // Under ulysses heads are dealt over tensor x context.
    // Hidden sizes of 1,024 to 16,384: a smaller model on these GPUs is all latency.
    const int unit = degrees_.tensor * degrees_.context;
    const int heads = unit * dice_.pick((1024 / head_dim + unit - 1) / unit,
                                        std::max(16384 / head_dim / 2 / unit, 1024 / head_dim / unit + 1));
    const int hidden = heads * head_dim;
    const bool gated = chance();
    model_ = {{"layers", layers_},
              {"hidden", hidden},
              {"heads", heads},
              {"ffn_hidden", hidden * dice_.pick(2, 4)},
              {"vocab", 1024 * degrees_.tensor * dice_.pick(4, 32)},
              {"activation", gated ? dice_.one_of(std::array{"swiglu", "geglu"})
                                   : dice_.one_of(std::array{"gelu", "relu", "squared_relu"})},
              {"norm", dice_.one_of(std::array{"layernorm", "rmsnorm"})},
              {"position", dice_.one_of(std::array{"learned", "rope", "alibi", "none"})}};
    if (dice_.once_in(3))
      model_["kv_heads"] = random_divisor(dice_, heads / (degrees_.tensor * degrees_.context), 8) *
                           degrees_.tensor * degrees_.context;
    if (chance()) model_["tied_embeddings"] = chance();
    if (chance()) model_["bias"] = chance();
    if (model_["position"] == "rope" && dice_.once_in(4)) model_["rotary_fraction"] = 0.5;
    if (dice_.once_in(4)) model_["qk_norm"] = true;
    if (dice_.once_in(8)) {
      model_["objective"] = "masked_lm";
      if (chance()) model_["masked_fraction"] = 0.2;
      if (chance()) model_["pooler"] = true;
    }
    draw_stage_layers();
  }

  void draw_recompute() {
    switch (dice_.pick(0, 4)) {
      case 0:
        training_["recompute"] = "full";
        break;
      case 1:
        training_["recompute"] = "selective";
        break;
      case 2:
        training_["recompute"] = {{"kind", "full"}, {"layers", 1}};
        break;
      case 3:
        training_["recompute"] = {{"kind", "selective"},
                                  {"modules", {dice_.one_of(std::array{"mlp", "layernorm", "core_attn"})}}};
        break;
      default:
        break;
    }
  }

  void draw_training() {
    const int micro_batch = dice_.one_of(std::array{1, 1, 2, 4});
    int micro_batches = dice_.pick(1, 12);
    if (degrees_.interleave > 1) micro_batches = degrees_.pipeline * dice_.pick(1, 3);
    training_ = {
        {"seq_length", 64 * degrees_.tensor * degrees_.context * dice_.one_of(std::array{4, 8, 16, 32})},
        {"global_batch", micro_batch * degrees_.data * micro_batches},
        {"micro_batch", micro_batch}};
    if (machine_.volta) {
      training_["precision"] = dice_.one_of(std::array{"fp16", "fp32"});
    } else {
      training_["precision"] = dice_.one_of(std::array{"bf16", "bf16", "fp16", "tf32"});
      if (machine_.fp8 && dice_.once_in(3)) training_["precision"] = "fp8";
    }
    if (dice_.once_in(3)) {
      training_["optimizer"] =
          dice_.one_of(std::array{"sgd", "momentum", "adagrad", "adam", "adamw", "lamb"});
    }
    if (dice_.once_in(4)) training_["gradient_dtype"] = dice_.one_of(std::array{"fp32", "bf16"});
    if (dice_.once_in(6)) training_["flops_convention"] = "causal";
    draw_recompute();
  }

  bool runs_on_plain_replicas() const {
    return degrees_.tensor * degrees_.pipeline * degrees_.context == 1 && zero_ == 0;
  }

  /// Before sequence and context parallelism, selective recomputation and the distributed optimizer.
  bool runs_on_megatron_of_2021() const {
    const Json& recompute = training_.contains("recompute") ? training_["recompute"] : Json();
    const bool selective =
        recompute == "selective" || (recompute.is_object() && recompute["kind"] == "selective");
    return degrees_.context == 1 && zero_ == 0 && !selective && !parallel_.value("sequence", false);
  }

  void draw_software() {
    std::vector<const char*> stacks = {"megatron-core", "megatron-core", "torchtitan"};
    if (zero_ <= 1) stacks.push_back("nanotron");
    if (runs_on_plain_replicas()) stacks.push_back("huggingface-ddp");
    if (runs_on_megatron_of_2021()) stacks.push_back("megatron-lm-2021");
    software_ = {{"preset", stacks[static_cast<size_t>(dice_.pick(0, static_cast<int>(stacks.size()) - 1))]}};
    if (machine_.volta) software_["attention_kernel"] = "unfused";
    if (dice_.once_in(8)) software_["launch"] = dice_.one_of(std::array{"eager", "cuda_graph"});
  }

  /// What only the stack that counts it can do.
  void take_megatron_core() {
    software_["preset"] = "megatron-core";
    if (zero_ == 3 && degrees_.pipeline > 1) parallel_["zero"] = zero_ = 1;
  }

  void add_experts() {
    if (model_.contains("objective")) return;
    take_megatron_core();
    const int experts = 1 << dice_.pick(2, 6);
    const int ranks = degrees_.tensor * degrees_.context * degrees_.data;
    const int expert_tensor = dice_.once_in(4) ? degrees_.tensor : 1;
    const int ffn = 256 * degrees_.tensor * dice_.pick(1, 8);
    model_["moe"] = {{"experts", experts}, {"top_k", dice_.pick(1, 4)}, {"ffn_hidden", ffn}};
    if (dice_.once_in(3)) model_["moe"]["shared_experts"] = 1;
    if (dice_.once_in(3)) model_["moe"]["first_dense_layers"] = dice_.pick(0, layers_);
    if (dice_.once_in(4)) model_["moe"]["every"] = 2;
    const double once = static_cast<double>(experts) / model_["moe"]["top_k"].get<int>();
    if (dice_.once_in(4)) model_["moe"]["capacity_factor"] = std::min(1.25, once);
    if (!model_["moe"].contains("capacity_factor")) software_.erase("launch");  // no graph without it
    const bool uneven = dice_.once_in(3);
    int expert = 1;
    while (expert < experts && (ranks / expert_tensor) % (2 * expert) == 0 && dice_.pick(1, 4) > 1)
      expert *= 2;
    parallel_["expert"] = expert;
    if (uneven) {
      const int top_k = model_["moe"]["top_k"];
      const int held = experts / expert;
      const double most = static_cast<double>(experts) * std::min(top_k, held) / (top_k * held);
      model_["moe"]["imbalance"] = std::min(1.5, most);
    }
    parallel_["expert_tensor"] = expert_tensor;
    if (degrees_.tensor > 1) parallel_["sequence"] = true;
    parallel_.erase("shard_group");
    if (dice_.once_in(3)) {
      software_["date"] = "2026-01";
      software_["moe_dispatcher"] = dice_.one_of(std::array{"deepep", "hybridep", "all_to_all"});
    }
    // No layer may be left that is dense.
    const Json& recompute = training_.contains("recompute") ? training_["recompute"] : Json();
    const bool of_dense =
        recompute.is_object() && recompute.contains("modules") && recompute["modules"][0] == "mlp";
    if (of_dense || dice_.once_in(4)) {
      training_["recompute"] = {{"kind", "selective"},
                                {"modules", {dice_.one_of(std::array{"moe", "moe_act"})}}};
    }
  }

  /// Schedules that take the weights' gradients out of the backward.
  void split_backward() {
    if (degrees_.pipeline == 1 || degrees_.interleave > 1 || zero_ > 1) return;
    const int per_stage = training_["micro_batch"].get<int>() * degrees_.data * degrees_.pipeline;
    const int kind = dice_.pick(0, degrees_.pipeline % 2 == 0 ? 2 : 1);
    parallel_["schedule"] =
        std::array{"zero_bubble_h1", "zero_bubble_v", "dualpipe"}[static_cast<size_t>(kind)];
    if (kind == 1 && layers_ < 2 * degrees_.pipeline) model_["layers"] = layers_ = 2 * degrees_.pipeline;
    parallel_.erase("stage_layers");
    if (kind > 0) training_["global_batch"] = per_stage * 2 * dice_.pick(1, 3);
    training_.erase("recompute");
  }

  void change_attention() {
    const int heads = model_["heads"];
    if (machine_.volta || model_.contains("objective")) return;
    software_["preset"] = "megatron-core";
    if (zero_ == 3 && degrees_.pipeline > 1) return;
    if (dice_.once_in(2)) {
      model_["attention"] = {{"kind", "sliding"}, {"window", 128 << dice_.pick(0, 4)}};
      if (chance()) model_["attention"]["full_every"] = dice_.pick(2, 4);
      if (degrees_.context > 1)
        parallel_["context_method"] = dice_.one_of(std::array{"all_gather", "ulysses"});
      return;
    }
    model_.erase("kv_heads");
    model_["position"] = "rope";
    model_.erase("rotary_fraction");
    model_.erase("qk_norm");
    model_["attention"] = {{"kind", "mla"},      {"kv_lora_rank", 512}, {"q_lora_rank", chance() ? 1536 : 0},
                           {"qk_nope_dim", 128}, {"qk_rope_dim", 64},   {"v_dim", 128}};
    model_["heads"] = heads;
  }

  void train_in_fewer_bits() {
    if (!machine_.fp8) return;
    take_megatron_core();
    const bool blackwell = std::string(machine_.cluster).find("b200") != std::string::npos;
    training_["precision"] = blackwell ? dice_.one_of(std::array{"fp8_current", "mxfp8", "nvfp4"})
                                       : dice_.one_of(std::array{"fp8_current", "fp8_block"});
  }

  void train_adapters() {
    if (machine_.volta || model_.contains("objective")) return;
    take_megatron_core();
    training_["lora"] = {{"rank", 8 << dice_.pick(0, 3)},
                         {"targets", {dice_.one_of(std::array{"attention", "mlp", "all"})}}};
  }

  void add_storage() {
    cluster_["storage"] = {{"kind", dice_.one_of(std::array{"shared", "local", "object"})},
                           {"read_bandwidth", dice_.one_of(std::array{"10 GB/s", "100 GB/s"})}};
    if (chance()) {
      training_["data"] = {{"bytes_per_sample", dice_.one_of(std::array{"4 KiB", "1 MiB"})},
                           {"workers", dice_.pick(0, 8)}};
      if (dice_.once_in(3)) training_["data"]["open_cost"] = "0.1 ms";
      if (dice_.once_in(3)) training_["data"]["split"] = "by_batch";
    } else {
      training_["checkpoint"] = {{"every", dice_.pick(1, 1000)}, {"async", chance()}};
    }
  }

  void update_whole_matrices() {
    const bool adafactor = machine_.volta || chance();  // Muon's products run in bf16
    training_["optimizer"] = adafactor ? "adafactor" : "muon";
    // Shards of a flat buffer have no rows and columns; Muon deals matrices out, but not under ZeRO 2.
    if (zero_ <= (adafactor ? 0 : 1)) return;
    parallel_["zero"] = zero_ = adafactor ? 0 : 1;
    if (zero_ > 0) return;
    parallel_.erase("shard_group");
    if (parallel_.contains("overlap")) parallel_["overlap"].erase("parameter");
  }

  /// What the smallest stage has.
  int fewest_layers() const {
    if (!parallel_.contains("stage_layers")) return layers_ / degrees_.pipeline;
    const auto layers = parallel_["stage_layers"].get<std::vector<int>>();
    return *std::min_element(layers.begin(), layers.end());
  }

  void offload() {
    take_megatron_core();
    software_["date"] = "2026-01";
    const int most = fewest_layers() - 1;
    if (most > 0 && chance()) {
      training_["offload"] = {{"activations_layers", dice_.pick(1, most)}};
      training_.erase("recompute");
      if (degrees_.pipeline > 1) software_["offloads"] = {{"activations_with_pipeline", true}};
      return;
    }
    training_["offload"] = {{"optimizer", true}};
    training_["optimizer"] = dice_.one_of(std::array{"adam", "adamw", "adagrad"});
  }

  void synchronise_less() {
    if (degrees_.data == 1) return;
    parallel_["zero"] = zero_ = 0;
    parallel_.erase("shard_group");
    parallel_.erase("overlap");
    parallel_.erase("bucket");
    if (degrees_.context == 1 && chance()) {
      training_["sync"] = {{"kind", "async"}, {"staleness", dice_.pick(0, 3)}};
    } else {
      training_["sync"] = {{"kind", "local"}, {"period", dice_.pick(2, 64)}};
      if (chance()) training_["sync"]["outer"] = "nesterov";
    }
  }

  Dice& dice_;
  Machine machine_;
  int nodes_ = 1, gpus_ = 1, layers_ = 1, zero_ = 0;
  Degrees degrees_;
  Json cluster_, model_, training_, software_, parallel_ = Json::object();
};

}  // namespace

Json random_experiment(Dice& dice) { return ExperimentDraw(dice).draw(); }

namespace {

/// One way to break an experiment: changes the document, or returns false where it does not apply.
struct Fault {
  const char* what;
  const char* names;
  bool (*apply)(Json&, Dice&);
};

Json& degree_of(Json& e, const char* key) { return e["parallel"][key]; }

int whole(const Json& object, const char* key, int otherwise) {
  return object.contains(key) ? object[key].get<int>() : otherwise;
}

constexpr std::array kFaults = {
    Fault{"an unknown key", "/training/seq_lenght",
          [](Json& e, Dice&) {
            e["training"]["seq_lenght"] = 512;
            return true;
          }},
    Fault{"an unknown key of the plan", "/parallel/tensor_parallel",
          [](Json& e, Dice&) {
            e["parallel"]["tensor_parallel"] = 2;
            return true;
          }},
    Fault{"an unknown cluster", "/cluster/preset",
          [](Json& e, Dice&) {
            e["cluster"] = {{"preset", "dgx-h1000"}, {"nodes", 2}};
            return true;
          }},
    Fault{"an unknown software", "/software/preset",
          [](Json& e, Dice&) {
            e["software"]["preset"] = "megatron";
            return true;
          }},
    Fault{"a text for a number", "/training/micro_batch",
          [](Json& e, Dice&) {
            e["training"]["micro_batch"] = "one";
            return true;
          }},
    Fault{"a fraction of a layer", "/model/layers",
          [](Json& e, Dice&) {
            e["model"]["layers"] = 3.5;
            return true;
          }},
    Fault{"no layers", "/model/layers",
          [](Json& e, Dice&) {
            e["model"]["layers"] = 0;
            return true;
          }},
    Fault{"a negative degree", "/parallel/tensor",
          [](Json& e, Dice&) {
            e["parallel"]["tensor"] = -2;
            return true;
          }},
    Fault{"a huge degree", "GPUs",
          [](Json& e, Dice& dice) {
            e["parallel"].erase("data");
            e["parallel"].erase("shard_group");
            e["parallel"].erase("stage_layers");
            if (whole(e["parallel"], "interleave", 1) > 1) return false;
            degree_of(e, "pipeline") = 65 + dice.pick(0, 1000);
            e["model"]["layers"] = 2000;
            if (e["parallel"]["zero"] == 3) e["parallel"]["zero"] = 1;
            return true;
          }},
    Fault{"a missing length", "/training/seq_length",
          [](Json& e, Dice&) {
            e["training"].erase("seq_length");
            return true;
          }},
    Fault{"no model", "/model",
          [](Json& e, Dice&) {
            e.erase("model");
            return true;
          }},
    Fault{"a batch that does not divide", "/training/global_batch",
          [](Json& e, Dice&) {
            const int micro = e["training"]["micro_batch"];
            if (micro < 2) return false;
            e["training"]["global_batch"] = e["training"]["global_batch"].get<int>() + 1;
            return true;
          }},
    Fault{"heads that do not divide", "heads",
          [](Json& e, Dice&) {
            if (whole(e["parallel"], "tensor", 1) < 2 || e["parallel"].contains("context")) return false;
            const int heads = e["model"]["heads"];
            const int head_dim = e["model"]["hidden"].get<int>() / heads;
            e["model"]["heads"] = heads + 1;
            e["model"]["head_dim"] = head_dim;
            e["model"]["kv_heads"] = 1;
            return true;
          }},
    Fault{"a vocabulary that does not divide", "vocab",
          [](Json& e, Dice&) {
            const int tensor = whole(e["parallel"], "tensor", 1);
            if (tensor < 2) return false;
            e["model"]["vocab"] = 32000 * tensor + 1;
            return true;
          }},
    Fault{"key heads that do not divide heads", "/model/kv_heads",
          [](Json& e, Dice&) {
            const int heads = e["model"]["heads"];
            e["model"]["kv_heads"] = heads + 1;
            return true;
          }},
    Fault{"a bare number for a quantity", "/cluster/node/host_link",
          [](Json& e, Dice&) {
            e["cluster"]["node"] = {{"host_link", 32}};
            return true;
          }},
    Fault{"a wrong unit", "/cluster/node/host_link",
          [](Json& e, Dice&) {
            e["cluster"]["node"] = {{"host_link", "32 GHz"}};
            return true;
          }},
    Fault{"an unknown precision", "/training/precision",
          [](Json& e, Dice&) {
            e["training"]["precision"] = "bf61";
            return true;
          }},
    Fault{"an unknown optimizer", "/training/optimizer",
          [](Json& e, Dice&) {
            e["training"]["optimizer"] = "adamm";
            return true;
          }},
    Fault{"a gate on an activation without one", "/model/gated",
          [](Json& e, Dice&) {
            e["model"]["activation"] = "gelu";
            e["model"]["gated"] = true;
            return true;
          }},
    Fault{"experts without a mixture", "/parallel/expert",
          [](Json& e, Dice&) {
            if (e["model"].contains("moe")) return false;
            e["parallel"]["expert"] = 2;
            return true;
          }},
    Fault{"a window without sliding attention", "/model/attention/window",
          [](Json& e, Dice&) {
            e["model"]["attention"] = {{"window", 128}};
            return true;
          }},
    Fault{"virtual stages without a pipeline", "/parallel/interleave",
          [](Json& e, Dice&) {
            if (whole(e["parallel"], "pipeline", 1) > 1) return false;
            e["parallel"].erase("schedule");
            e["parallel"].erase("overlap");
            e["parallel"]["interleave"] = 2;
            return true;
          }},
    Fault{"stages that do not add up to the model", "/parallel/stage_layers",
          [](Json& e, Dice&) {
            if (whole(e["parallel"], "pipeline", 1) < 2) return false;
            std::vector<int> layers(e["parallel"]["pipeline"].get<size_t>(), 0);
            e["parallel"]["stage_layers"] = layers;
            return true;
          }},
    Fault{"a shard group without sharding", "/parallel/shard_group",
          [](Json& e, Dice&) {
            if (e["parallel"]["zero"] != 0) return false;
            e["parallel"]["shard_group"] = 1;
            return true;
          }},
    Fault{"a ZeRO level that does not exist", "/parallel/zero",
          [](Json& e, Dice&) {
            e["parallel"]["zero"] = 4;
            return true;
          }},
    Fault{"more recomputed layers than there are", "/training/recompute/layers",
          [](Json& e, Dice&) {
            e["training"]["recompute"] = {{"kind", "full"}, {"layers", 4096}};
            return true;
          }},
    Fault{"a placement without the pipeline", "/parallel/placement",
          [](Json& e, Dice&) {
            e["parallel"]["placement"] = {"tensor", "context", "data"};
            return true;
          }},
    Fault{"a date before the software", "/software/date",
          [](Json& e, Dice&) {
            e["software"]["date"] = "1999-01";
            return true;
          }},
    Fault{"a failed switch that is not there", "/cluster/fabric/failed_switches",
          [](Json& e, Dice&) {
            e["cluster"]["fabric"]["failed_switches"] = {"leaf999"};
            return true;
          }},
    Fault{"periods without local steps", "/training/sync/period",
          [](Json& e, Dice&) {
            e["training"]["sync"] = {{"kind", "step"}, {"period", 4}};
            return true;
          }},
    Fault{"a fraction above one", "/model/rotary_fraction",
          [](Json& e, Dice&) {
            e["model"]["rotary_fraction"] = 1.5;
            return true;
          }},
};

}  // namespace

BrokenExperiment random_broken_experiment(Dice& dice) {
  while (true) {
    BrokenExperiment broken{ExperimentDraw(dice).draw_plain(), "", ""};
    const Fault& fault = dice.one_of(kFaults);
    if (!fault.apply(broken.document, dice)) continue;
    broken.fault = fault.what;
    broken.names = fault.names;
    return broken;
  }
}

}  // namespace orrery
