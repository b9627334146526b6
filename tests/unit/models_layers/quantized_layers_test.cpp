#include <gtest/gtest.h>

#include "layer_fixtures.hpp"
#include "models/optimizer_step.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

using namespace layer_fixtures;

/// The shipped stack of Transformer Engine on a GPU of this architecture.
SoftwareStack engine_stack(Precision precision, const char* architecture, const char* date) {
  const Json document = Json{{"preset", "megatron-core"}, {"date", date}};
  Problems problems("experiment.json");
  SoftwareStack software = read_software_stack(SpecReader(document, "/software", problems),
                                               StackAsked{std::nullopt, precision, std::nullopt});
  problems.throw_if_any();
  software.choose_for_architecture(architecture);
  return software;
}

/// Bytes of the casts of one layer pass over 8192 tokens of Llama 3 70B.
double cast_bytes(const LayerPass& pass) {
  double bytes = 0;
  for (const MemoryShape& shape : shapes_named<MemoryShape>(pass, "quantize")) bytes += shape.traffic.base();
  return bytes;
}

struct Recipe {
  const char* name;
  Precision precision;
  const char* architecture;
  const char* date;
  double activation_cast;  ///< bytes moved an element to cast an activation or a gradient
  double norm_cast;        ///< the same behind a norm
};

// By hand, bytes an element. Current scaling: maximum 2, cast reads 2, writes 1, and 1 transposed where
// products need it. Blocks of 1 x 128: read 2, write twice 1 + 4/128. MXFP8: read 2, write twice 33/32, the
// scales of both read and written once more (4/32); behind a norm that writes it itself only what that is
// beyond 16 bits. NVFP4: maxima 2, then twice read 2 and write 9/16; since early 2026 read once.
TEST(QuantizedLayers, CastsMoveWhatEachRecipesKernelsMove) {
  const Recipe recipes[] = {
      {"delayed, transposed", Precision::fp8, "hopper", "2025-06", 4, 2},
      {"delayed", Precision::fp8, "blackwell", "2025-06", 3, 0},
      {"delayed, before the products of 2.0", Precision::fp8, "blackwell", "2024-11", 4, 2},
      {"current, transposed", Precision::fp8_current, "hopper", "2025-06", 2 + 4, 2 + 4},
      {"current", Precision::fp8_current, "blackwell", "2025-06", 2 + 3, 2 + 3},
      {"blocks", Precision::fp8_block, "hopper", "2025-06", 2 + 2 * (1 + 4 / 128.0), 2 + 2 * (1 + 4 / 128.0)},
      {"mxfp8", Precision::mxfp8, "blackwell", "2025-06", 2 + 2 * 33 / 32.0 + 4 / 32.0,
       2 * 33 / 32.0 - 2 + 4 / 32.0},
      {"nvfp4", Precision::nvfp4, "blackwell", "2025-11", 2 + 2 * (2 + 9 / 16.0), 2 + 2 * (2 + 9 / 16.0)},
      {"nvfp4, one kernel", Precision::nvfp4, "blackwell", "2026-02", 2 + 2 + 2 * 9 / 16.0,
       2 + 2 + 2 * 9 / 16.0},
  };
  const double hidden = 8192.0 * 8192;
  const double ffn = 8192.0 * 28672;
  for (const Recipe& recipe : recipes) {
    TrainingSpec spec = training(8192, 128);
    spec.precision = recipe.precision;
    const SoftwareStack software = engine_stack(recipe.precision, recipe.architecture, recipe.date);
    const LayerWork work = transformer_layer_work(llama3_70b(), spec, software, plan(1));
    // Forward: behind two norms, and the inputs of the output projection and of the second MLP product.
    EXPECT_NEAR(cast_bytes(work.forward),
                2 * recipe.norm_cast * hidden + recipe.activation_cast * (hidden + ffn), 1e-4 * ffn)
        << recipe.name;
    // Backward: the gradients of four outputs; QKV's taken as 1.5 wide, the gated MLP's is double.
    EXPECT_NEAR(cast_bytes(work.backward), recipe.activation_cast * (2 * hidden + 1.5 * hidden + 2 * ffn),
                1e-4 * ffn)
        << recipe.name;
    EXPECT_EQ(shapes_named<GemmShape>(work.backward, "mlp_up_wgrad").at(0).precision, recipe.precision);
    EXPECT_FALSE(shapes_named<GemmShape>(work.backward, "mlp_up_wgrad").at(0).quantized_inputs);
  }
}

TEST(QuantizedLayers, CastsGivenInTheExperimentHoldOnEveryGpu) {
  const Json document = Json{{"quantize_forward", {{"hidden", 9}}}, {"date", "2025-06"}};
  Problems problems("experiment.json");
  SoftwareStack software = read_software_stack(SpecReader(document, "/software", problems),
                                               StackAsked{std::nullopt, Precision::fp8, std::nullopt});
  problems.throw_if_any();
  software.choose_for_architecture("blackwell");
  EXPECT_EQ(software.quantize.forward.hidden, 9);
  EXPECT_EQ(software.quantize.backward.hidden, 3);  // what was not given stays the GPU's
}

TEST(QuantizedLayers, TensorGroupsGatherTheCastBytes) {
  // Gathers of one layer over 8192 x 8192 elements: forward two inputs; backward two gradients, which two
  // products read, and two inputs again.
  const double elements = 8192.0 * 8192;
  const auto gathered = [&](Precision precision, const char* architecture) {
    TrainingSpec spec = training(8192, 128);
    spec.precision = precision;
    const LayerWork work = transformer_layer_work(
        llama3_70b(), spec, engine_stack(precision, architecture, "2026-02"), plan(4, true));
    double forward = 0;
    double backward = 0;
    for (const LayerCommunication& each : communications_of(work.forward)) {
      if (each.op == CollectiveOp::all_gather) forward += each.payload.base();
    }
    for (const LayerCommunication& each : communications_of(work.backward)) {
      if (each.op == CollectiveOp::all_gather) backward += each.payload.base();
    }
    return std::pair(forward / elements, backward / elements);
  };
  EXPECT_EQ(gathered(Precision::bf16, "hopper"), std::pair(2 * 2.0, 4 * 2.0));
  EXPECT_EQ(gathered(Precision::fp8, "hopper"), std::pair(2 * 1.0, 4 * 1.0));
  EXPECT_EQ(gathered(Precision::fp8_current, "blackwell"), std::pair(2 * 1.0, 4 * 1.0));
  EXPECT_EQ(gathered(Precision::mxfp8, "blackwell"), std::pair(2 * 33 / 32.0, 6 * 33 / 32.0));
  EXPECT_EQ(gathered(Precision::nvfp4, "blackwell"), std::pair(2 * 9 / 16.0, 6 * 9 / 16.0));
}

TEST(QuantizedLayers, ParametersAreGatheredInEightBitsWhereTheRecipeDoes) {
  SoftwareStack software = stack();
  const auto bytes = [&](Precision precision, bool gather) {
    TrainingSpec spec = training(8192, 128);
    spec.precision = precision;
    software.fp8_parameter_gather = gather;
    return gathered_weight_bytes(spec, software);
  };
  EXPECT_EQ(bytes(Precision::fp8, false), 2);
  EXPECT_EQ(bytes(Precision::fp8, true), 1);
  EXPECT_EQ(bytes(Precision::fp8_current, true), 1);
  EXPECT_EQ(bytes(Precision::mxfp8, true), 2);  // gathered in 16 bits, cast along both dimensions afterwards
  EXPECT_EQ(bytes(Precision::nvfp4, true), 2);
  EXPECT_EQ(bytes(Precision::bf16, true), 2);
}

TEST(QuantizedLayers, WeightsAreCastOnceAStepOrWithEachShardedUnit) {
  // Llama 3 70B's layer: 8192 x (10240 + 8192) + 3 x 8192 x 28672 weights.
  const double weights = 8192.0 * (10240 + 8192 + 3 * 28672);
  ParallelPlan degrees = plan(1);
  degrees.zero = 1;
  EXPECT_EQ(layer_matrix_parameters_per_rank(llama3_70b(), degrees), weights);
  TrainingSpec spec = training(8192, 128);
  const auto step_cast = [&](Precision precision, const char* architecture) {
    spec.precision = precision;
    const SoftwareStack software = engine_stack(precision, architecture, "2025-11");
    const LayerPass pass = optimizer_pass(spec, software, degrees, {1e9, 1e9, weights, {}, 1});
    const auto casts = shapes_named<MemoryShape>(pass, "quantize_weights");
    return casts.empty() ? 0.0 : casts.at(0).traffic.base() / weights;
  };
  // Gathered in FP8: transposed (read 1, write 1) where products need it. MXFP8: read 2, write 2 x 33/32.
  // NVFP4, gathered in 16 bits: maximum 2, read 2, write 2 x 9/16.
  EXPECT_EQ(step_cast(Precision::bf16, "hopper"), 0);
  EXPECT_EQ(step_cast(Precision::fp8_current, "hopper"), 2);
  EXPECT_EQ(step_cast(Precision::fp8_current, "blackwell"), 0);
  EXPECT_EQ(step_cast(Precision::mxfp8, "blackwell"), 2 + 2 * 33 / 32.0);
  EXPECT_EQ(step_cast(Precision::nvfp4, "blackwell"), 4 + 2 * 9 / 16.0);
  degrees.zero = 3;
  spec.precision = Precision::mxfp8;
  const LayerWork work = transformer_layer_work(
      llama3_70b(), spec, engine_stack(Precision::mxfp8, "blackwell", "2025-11"), degrees);
  EXPECT_EQ(shapes_named<MemoryShape>(work.forward, "quantize_weights").at(0).traffic.base(),
            weights * (2 + 2 * 33 / 32.0));
}

struct AttentionCasts {
  const char* name;
  Precision precision;
  const char* date;
  Precision kernel;
  double inputs, output;                    ///< bytes moved an element of Q, K and V and of the output
  double output_gradient, input_gradients;  ///< the same of their gradients
  double kept;                              ///< bytes an element of Q, K and V that the backward keeps
};

// By hand, bytes an element. Delayed scaling: read 2, write 1; back read 1, write 2. Transformer Engine 2.8
// copies the three into one first, 2 + 2, and 1 + 1 before they are cast back. Current scaling, and what
// NVFP4 takes for attention: those copies, maximum 2, cast 3; outputs stay in 16 bits. MXFP8: put in order,
// read 2, write 2; cast along rows and columns, read 2, write 2 x 33/32; scales laid out, 2 x 2/32.
TEST(QuantizedLayers, AttentionInEightBitsCastsItsOperands) {
  const double blocks = 4 + 2 + 66 / 32.0 + 4 / 32.0;
  const AttentionCasts recipes[] = {
      {"delayed", Precision::fp8, "2025-06", Precision::fp8, 3, 3, 3, 3, 1},
      {"delayed, three in one", Precision::fp8, "2025-11", Precision::fp8, 4 + 3, 3, 3, 2 + 3, 1},
      {"current", Precision::fp8_current, "2025-11", Precision::fp8, 4 + 2 + 3, 0, 2 + 3, 0, 1},
      {"nvfp4", Precision::nvfp4, "2025-11", Precision::fp8, 4 + 2 + 3, 0, 2 + 3, 0, 1},
      {"mxfp8", Precision::mxfp8, "2026-06", Precision::mxfp8, blocks, 0, blocks, 0, 66 / 32.0},
  };
  const double inputs = 8192.0 * 10240;  // tokens x (64 + 2 x 8) heads of 128
  const double output = 8192.0 * 8192;
  for (const AttentionCasts& recipe : recipes) {
    TrainingSpec spec = training(8192, 128);
    spec.precision = recipe.precision;
    SoftwareStack software = engine_stack(recipe.precision, "blackwell", recipe.date);
    const double plain = layer_activation_bytes(llama3_70b(), spec, software, plan(1), false).base();
    software.fp8_attention = true;
    EXPECT_NEAR(layer_activation_bytes(llama3_70b(), spec, software, plan(1), false).base() - plain,
                (recipe.kept - 2) * inputs, 1)
        << recipe.name;
    const LayerWork work = transformer_layer_work(llama3_70b(), spec, software, plan(1));
    for (const bool forward : {true, false}) {
      const LayerPass& pass = forward ? work.forward : work.backward;
      EXPECT_EQ(shapes_named<AttentionShape>(pass, "attention_core").at(0).precision, recipe.kernel);
      double bytes = 0;
      for (const MemoryShape& cast : shapes_named<MemoryShape>(pass, "attention_quantize")) {
        bytes += cast.traffic.base();
      }
      EXPECT_NEAR(bytes,
                  forward ? recipe.inputs * inputs + recipe.output * output
                          : recipe.output_gradient * output + recipe.input_gradients * inputs,
                  1)
          << recipe.name;
    }
  }
}

TEST(QuantizedLayers, HeadsAreExchangedInTheFormatOfAttention) {
  // 2 context ranks of 4096 tokens each; heads 64 and twice 8 of 128. Delayed scaling sends all in 1 byte,
  // current scaling only what is cast before: what comes from the kernels stays in 2.
  ParallelPlan degrees = plan(1);
  degrees.context = 2;
  degrees.context_method = ContextMethod::ulysses;
  const double inputs = 4096.0 * 10240;
  const double output = 4096.0 * 8192;
  const auto moved = [&](Precision precision, bool narrow) {
    TrainingSpec spec = training(8192, 128);
    spec.precision = precision;
    SoftwareStack software = engine_stack(precision, "blackwell", "2025-11");
    software.fp8_attention = narrow;
    const LayerWork work = transformer_layer_work(llama3_70b(), spec, software, degrees);
    std::vector<double> bytes;
    for (const LayerPass* pass : {&work.forward, &work.backward}) {
      double sent = 0;
      for (const LayerCommunication& each : communications_of(*pass)) {
        if (each.op == CollectiveOp::all_to_all) sent += each.payload.base();
      }
      double reordered = 0;
      for (const MemoryShape& copy : shapes_named<MemoryShape>(*pass, "context_reorder")) {
        reordered += copy.traffic.base();
      }
      EXPECT_DOUBLE_EQ(reordered, 4 * sent);  // read and written once before and once after
      bytes.push_back(sent);
    }
    return std::pair(bytes.at(0), bytes.at(1));
  };
  EXPECT_EQ(moved(Precision::fp8, false), std::pair(2 * (inputs + output), 2 * (inputs + output)));
  EXPECT_EQ(moved(Precision::fp8, true), std::pair(inputs + output, inputs + output));
  EXPECT_EQ(moved(Precision::fp8_current, true), std::pair(inputs + 2 * output, output + 2 * inputs));
}

TEST(QuantizedLayers, TheOutputProjectionTakesTheRecipesFormatWhereAsked) {
  TrainingSpec spec = training(8192, 128);
  spec.precision = Precision::mxfp8;
  SoftwareStack software = engine_stack(Precision::mxfp8, "blackwell", "2026-02");
  const auto product = [](const LayerPass& pass, const char* name) {
    return shapes_named<GemmShape>(pass, name).at(0).precision;
  };
  LayerWork head = head_work(llama3_70b(), spec, software, plan(1));
  EXPECT_EQ(product(head.forward, "logits"), Precision::bf16);
  EXPECT_EQ(cast_bytes(head.forward) + cast_bytes(head.backward), 0);
  software.fp8_output_projection = true;
  head = head_work(llama3_70b(), spec, software, plan(1));
  for (const Precision each : {product(head.forward, "logits"), product(head.backward, "logits_dgrad"),
                               product(head.backward, "logits_wgrad")}) {
    EXPECT_EQ(each, Precision::mxfp8);
  }
  // Read 2, write twice 33/32, the scales of both laid out (4/32): of the input and of the logits' gradient.
  const double cast = 2 + 66 / 32.0 + 4 / 32.0;
  EXPECT_NEAR(cast_bytes(head.forward), cast * 8192 * 8192, 1);
  EXPECT_NEAR(cast_bytes(head.backward), cast * 8192 * 128256, 1e-9 * 8192 * 128256);
}

TEST(QuantizedLayers, ActivationsAreKeptInTheProductsFormat) {
  const auto kept = [](Precision precision) {
    TrainingSpec spec = training(4096, 8);
    spec.precision = precision;
    return layer_activation_bytes(llama3_70b(), spec, stack(), plan(1), false).base() / 4096;
  };
  // Bytes a token: norm inputs 2 x 8192, Q K V 10240, attention output 8192, gate and up 2 x 28672 in 16
  // bits; in the products' format the inputs of the four products, 2 x 8192 + 8192 + 28672; logsumexps.
  const double plain = 2.0 * (2 * 8192 + 10240 + 8192 + 2 * 28672) + 4 * 64;
  const double inputs = 3 * 8192 + 28672;
  EXPECT_DOUBLE_EQ(kept(Precision::fp8_current), plain + inputs);
  EXPECT_DOUBLE_EQ(kept(Precision::fp8_block), plain + inputs * (1 + 4 / 128.0));
  EXPECT_DOUBLE_EQ(kept(Precision::mxfp8), plain + inputs * 33 / 32);
  EXPECT_DOUBLE_EQ(kept(Precision::nvfp4), plain + inputs * 9 / 16);
}

TEST(QuantizedLayers, WeightsAreKeptInTheProductsFormatBesideOrInsteadOf16Bits) {
  ParallelPlan degrees = plan(1);
  degrees.data = 8;
  degrees.zero = 1;
  degrees.stage_layers = {80};
  const double matrices = 80 * layer_matrix_parameters_per_rank(llama3_70b(), degrees);
  const double rest = parameter_count(llama3_70b(), 4096) - matrices;
  const auto weights = [&](Precision precision, const char* architecture) {
    TrainingSpec spec = training(4096, 8);
    spec.precision = precision;
    return memory_use(llama3_70b(), spec, engine_stack(precision, architecture, "2025-11"), degrees, Bytes())
        .parameters.base();
  };
  EXPECT_DOUBLE_EQ(weights(Precision::bf16, "hopper"), 2 * (matrices + rest));
  EXPECT_DOUBLE_EQ(weights(Precision::fp8_current, "hopper"), 2 * matrices + 2 * rest);  // data and transpose
  EXPECT_DOUBLE_EQ(weights(Precision::fp8_current, "blackwell"), matrices + 2 * rest);
  EXPECT_DOUBLE_EQ(weights(Precision::mxfp8, "blackwell"), 2 * 33 / 32.0 * matrices + 2 * rest);
  EXPECT_DOUBLE_EQ(weights(Precision::nvfp4, "blackwell"), (2 + 2 * 9 / 16.0) * matrices + 2 * rest);
}

}  // namespace
}  // namespace orrery
