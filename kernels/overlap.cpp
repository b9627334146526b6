// A matrix product alone and beside work that holds SMs: an NCCL all-reduce over all GPUs where there are two
// or more, and a copy kernel that holds a given number of SMs. FLOPs and bytes of the product as in gemm.cpp.
// References: the product's own, and that the copy kernel copies everything and has each SM for itself.
#include <algorithm>

#include "kernels/overlap/neighbour.hpp"
#include "kernels/products/product.hpp"

namespace orrery::kernels {
namespace {

constexpr int kBlocks[] = {8, 16, 24, 32};

/// Products of more than 20 us, so that they are timed one by one with events; tokens of one and of two
/// micro-batches.
std::vector<GemmCase> overlap_cases(const std::vector<std::string>& precisions, bool quick) {
  std::vector<GemmCase> cases;
  for (const std::string& precision : precisions) {
    const bool wide = operand_bits(precision) >= 16;
    const int output = default_output_bytes(precision);
    cases.push_back({4096, 28672, 4096, 1, precision, output, "tn", false});
    cases.push_back({8192, 8192, 8192, 1, precision, output, "tn", false});
    cases.push_back({8192, 4096, 14336, 1, precision, output, "tn", false});
    cases.push_back({28672, 4096, 8192, 1, precision, 8, wide ? "nt" : "tn", false});
    cases.push_back({4096, 10240, 8192, 1, precision, output, "tn", false});
    cases.push_back({2048, 8192, 28672, 1, precision, output, "tn", false});
  }
  if (quick) cases.resize(std::min<std::size_t>(cases.size(), 1));
  return cases;
}

class Overlap : public Program {
 public:
  std::string name() const override { return "overlap"; }
  std::string summary() const override { return "times a matrix product beside work that holds SMs"; }

  void add_options(Options& options) override {
    options.choices("--precisions", &precisions_, gemm_precisions(),
                    "of the products (default bf16,fp8,mxfp8)");
  }

  void check(Session& session) override {
    library_ = std::make_unique<MatmulLibrary>();
    check_products(session, *library_, precisions_of(session.device(), precisions_));
    check_copy_neighbour(session.device(), 8);
  }

  void measure(Session& session) override {
    const auto cases = overlap_cases(precisions_of(session.device(), precisions_), session.options().quick);
    for (std::size_t i = 0; i < cases.size(); ++i) {
      if (!session.time_left()) return session.say("the budget is used up");
      measure_case(session, cases[i], cases.size() - i);
    }
  }

 private:
  void measure_case(Session& session, const GemmCase& shape, std::size_t remaining) {
    Product product(*library_, shape, 1, session.seed(), session.stream());
    if (product.algorithms() == 0) {
      session.say(shape.title() + ": left out, cuBLASLt has no kernel for it on this GPU");
      return;
    }
    const int timed = choose_fastest(session, product, 1, 0.2);
    const std::size_t figures = remaining * (1 + 2 * std::size(kBlocks));
    const Launch launch = [&](cudaStream_t stream, int slot) { product.launch(stream, slot); };
    const Measured alone = session.measure(launch, session.timing(figures));
    if (alone.samples_s.empty()) {
      session.say(shape.title() + ": left out, every sample alone was dropped");
      return;
    }
    const std::string how = "cuBLASLt, heuristic's best of " + std::to_string(timed) + " timed";
    for (const int blocks : kBlocks) {
      if (!session.time_left()) return;
      if (blocks < session.device().sms) {
        measure_beside(session, *copy_neighbour(session.device(), blocks), product, alone, figures,
                       how + ", beside a copy kernel that holds SMs");
      }
#ifdef ORRERY_HAS_NCCL
      if (device_count() >= 2 && session.device().index == 0) {
        measure_beside(session, *all_reduce_neighbour(device_count(), blocks), product, alone, figures,
                       how + ", beside NCCL all-reduces of 256 MiB over all GPUs");
      }
#endif
    }
  }

  static void measure_beside(Session& session, Neighbour& neighbour, Product& product, const Measured& alone,
                             std::size_t figures, const std::string& how) {
    const TimingOptions timing = session.timing(figures);
    const Launch launch = [&](cudaStream_t stream, int slot) { product.launch(stream, slot); };
    neighbour.start();
    const Measured beside = session.measure(launch, timing);
    neighbour.stop();
    Record record = session.record("gemm");
    product.shape().write(&record);
    record.set("includes_quantize", false);
    record.set("beside", neighbour.description()).set("alone_s", alone.median_s());
    session.write(std::move(record), product.shape().title() + " beside " + neighbour.description().json(),
                  beside,
                  {"kernels/overlap: " + how, MatmulLibrary::version(), "burst",
                   flops_ceiling(session.device(), product.shape().precision, product.shape().flops())});
  }

  std::vector<std::string> precisions_ = {"bf16", "fp8", "mxfp8"};
  std::unique_ptr<MatmulLibrary> library_;
};

}  // namespace
}  // namespace orrery::kernels

int main(int argc, char** argv) {
  orrery::kernels::Overlap program;
  return orrery::kernels::run_program(program, argc, argv);
}
