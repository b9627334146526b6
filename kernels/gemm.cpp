// Dense matrix products through cuBLASLt: 2 batch m n k FLOPs; (m + n) k operand elements read and m n
// written (read and written where fp32 is accumulated in place). Reference: sums in double of the same
// operands.
#include <algorithm>

#include "kernels/products/kernel_name.hpp"
#include "kernels/products/product.hpp"

namespace orrery::kernels {
namespace {

constexpr double kLongestGridProduct = 30e-3;  // seconds at peak: longer ones would eat the budget
constexpr double kLargestShareOfMemory = 0.8;

class Gemm : public Program {
 public:
  std::string name() const override { return "gemm"; }
  std::string summary() const override { return "times dense matrix products through cuBLASLt"; }

  void add_options(Options& options) override {
    options.text(
        "--shapes", &shapes_file_, "FILE.jsonl",
        "kernel lines (orrery presets models NAME --shapes), - for standard input; default: a built-in grid");
    options.choices("--precisions", &precisions_, gemm_precisions(),
                    "of the grid, default: all that the GPU has");
    options.flag("--no-kernel-names", &no_kernel_names_, "do not ask CUPTI for the kernels' names");
  }

  void prepare() override {
    if (!shapes_file_.empty()) from_file_ = read_gemm_file(shapes_file_, &other_lines_);
  }

  void check(Session& session) override {
    library_ = std::make_unique<MatmulLibrary>();
    check_products(session, *library_, precisions_of(session.device(), precisions_));
  }

  void measure(Session& session) override {
    const std::vector<GemmCase> cases = cases_for(session);
    for (std::size_t i = 0; i < cases.size(); ++i) {
      if (!session.time_left()) {
        session.say(std::to_string(cases.size() - i) + " of " + std::to_string(cases.size()) +
                    " products left out: the budget is used up");
        return;
      }
      measure_one(session, cases[i], cases.size() - i);
    }
  }

 private:
  std::vector<GemmCase> cases_for(const Session& session) const {
    if (!from_file_.empty()) {
      if (other_lines_ > 0)
        session.say("passed over " + std::to_string(other_lines_) + " lines of other operators");
      return from_file_;
    }
    std::vector<GemmCase> cases;
    const auto present = precisions_of(session.device(), precisions_);
    for (const GemmCase& shape : gemm_grid(present, session.seed(), session.options().quick)) {
      const double peak = peak_flops(session.device(), shape.precision).value_or(kUnknownPeak);
      if (shape.flops() / peak < kLongestGridProduct) cases.push_back(shape);
    }
    return cases;
  }

  void measure_one(Session& session, const GemmCase& shape, std::size_t remaining) {
    if (shape.grouped) {
      session.say(shape.title() + ": left out, grouped products are kernels/grouped_gemm's");
      return;
    }
    const int slots = slots_for(session.device(), shape);
    const double needed = static_cast<double>(Product::footprint(shape)) * slots;
    if (needed > kLargestShareOfMemory * static_cast<double>(session.device().memory_bytes)) {
      session.say(shape.title() + ": left out, needs " + bytes_text(needed));
      return;
    }
    Product product(*library_, shape, slots, session.seed(), session.stream());
    if (product.algorithms() == 0) {
      session.say(shape.title() + ": left out, cuBLASLt has no kernel for it on this GPU");
      return;
    }
    const double share = session.seconds_left() / static_cast<double>(remaining);
    const int timed = choose_fastest(session, product, slots, std::clamp(share / 2, 0.02, 0.25));
    TimingOptions timing = session.timing(2 * remaining);
    timing.slots = slots;
    const Measured measured =
        session.measure([&](cudaStream_t stream, int slot) { product.launch(stream, slot); }, timing);
    Record record = session.record("gemm");
    shape.write(&record);
    record.set("includes_quantize", false);
    if (!no_kernel_names_) {
      const auto kernels = kernel_names([&] {
        product.launch(session.stream(), 0);
        cuda_check(cudaStreamSynchronize(session.stream()));
      });
      if (kernels) record.set("kernel_name", *kernels);
    }
    session.write(
        std::move(record), shape.title(), measured,
        {"kernels/gemm: cuBLASLt, heuristic's best of " + std::to_string(timed) + " timed",
         MatmulLibrary::version(), "burst", flops_ceiling(session.device(), shape.precision, shape.flops())});
  }

  std::string shapes_file_;
  std::vector<std::string> precisions_ = gemm_precisions();
  bool no_kernel_names_ = false;
  std::vector<GemmCase> from_file_;
  std::size_t other_lines_ = 0;
  std::unique_ptr<MatmulLibrary> library_;
};

}  // namespace
}  // namespace orrery::kernels

int main(int argc, char** argv) {
  orrery::kernels::Gemm program;
  return orrery::kernels::run_program(program, argc, argv);
}
