// Flash attention through cuDNN's backend API, forward (with the statistics that training keeps) and
// backward. FLOPs forward: 2 batch heads pairs (head_dim + value_dim), half of the square under a causal
// mask; backward 2.5 times that. Bytes at least: Q, K, V, O once each and 4 a row (backward: twice the
// operands). Reference: attention/reference.cu.
#include <cudnn.h>

#include <algorithm>
#include <fstream>
#include <memory>

#include "kernels/attention/attention_call.hpp"
#include "kernels/attention/attention_shapes.hpp"
#include "kernels/harness/program.hpp"

namespace orrery::kernels {
namespace {

constexpr double kLargestShareOfMemory = 0.8;

/// Shapes on which every kind of call is compared with the plain computation.
std::vector<AttentionCase> check_cases() {
  std::vector<AttentionCase> cases;
  const auto add = [&](std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim,
                       std::int64_t value_dim, bool causal, std::int64_t window, Element element) {
    for (const bool backward : {false, true}) {
      cases.push_back({2, 512, heads, kv_heads, head_dim, value_dim, causal, window, backward, element});
    }
  };
  for (const Element element : {Element::bf16, Element::fp16}) {
    add(4, 4, 128, 128, true, 0, element);
    add(4, 4, 64, 64, false, 0, element);
  }
  add(4, 2, 128, 128, true, 0, Element::bf16);
  add(8, 1, 64, 64, true, 0, Element::bf16);
  add(4, 2, 64, 64, true, 128, Element::bf16);
  add(2, 2, 96, 96, true, 0, Element::bf16);
  add(2, 2, 192, 128, true, 0, Element::bf16);
  add(2, 2, 256, 256, true, 0, Element::bf16);
  return cases;
}

class Attention : public Program {
 public:
  std::string name() const override { return "attention"; }
  std::string summary() const override { return "times flash attention through cuDNN, forward and backward"; }

  void add_options(Options& options) override {
    options.text(
        "--shapes", &shapes_file_, "FILE.jsonl",
        "attention lines with the shapes (orrery presets models NAME --shapes); default: a built-in grid");
    options.choices("--layout", &layout_, attention_layout_names(),
                    "order of dimensions in memory, default sbhd (Transformer Engine's and Megatron's)");
  }

  void prepare() override {
    if (layout_.size() != 1) throw OptionError("attention: --layout: expected one name");
    if (shapes_file_.empty()) return;
    std::ifstream lines(shapes_file_);
    if (!lines) throw OptionError("attention: --shapes: cannot read " + shapes_file_);
    from_file_ = read_attention_cases(lines, shapes_file_, &other_lines_);
  }

  void check(Session& session) override {
    handle_ = std::make_unique<CudnnHandle>();
    int compared = 0;
    for (const AttentionCase& shape : check_cases()) {
      AttentionCall* call = make(session, shape);
      if (call == nullptr) continue;
      try {
        call->check(session.stream());
      } catch (const CheckFailed& error) {
        throw CheckFailed(attention_title(shape) + ", " + call->engine() + ": " + error.what());
      }
      ++compared;
    }
    session.say(std::to_string(compared) + " kinds of attention agree with the plain computation");
  }

  void measure(Session& session) override {
    if (other_lines_ > 0)
      session.say("passed over " + std::to_string(other_lines_) + " lines of other operators");
    std::vector<AttentionCase> cases = from_file_.empty() ? attention_grid() : from_file_;
    constexpr std::size_t kQuick = 8;
    if (session.options().quick && cases.size() > kQuick) cases.resize(kQuick);
    for (std::size_t i = 0; i < cases.size(); ++i) {
      if (!session.time_left()) {
        session.say(std::to_string(cases.size() - i) + " of " + std::to_string(cases.size()) +
                    " shapes left out: the budget is used up");
        return;
      }
      measure_one(session, cases[i], cases.size() - i);
    }
  }

 private:
  AttentionLayout layout() const {
    const auto& names = attention_layout_names();
    return static_cast<AttentionLayout>(std::find(names.begin(), names.end(), layout_.front()) -
                                        names.begin());
  }

  /// The call for a shape; without an engine for it null, and a line that says what cuDNN answered.
  AttentionCall* make(Session& session, const AttentionCase& shape) {
    const std::string fault = known_fault(shape, cudnnGetVersion());
    if (!fault.empty()) {
      session.say(attention_title(shape) + ": left out, " + fault);
      return nullptr;
    }
    try {
      AttentionCase forward = shape;
      forward.backward = false;
      if (shape.backward && call_ != nullptr && call_->shape() == forward) {
        call_->become_backward(session.stream());
      } else {
        call_.reset();  // its memory first
        call_ = std::make_unique<AttentionCall>(*handle_, shape, layout(), session.seed(), session.stream());
      }
      return call_.get();
    } catch (const CudnnError& error) {
      call_.reset();
      if (CUDNN_STATUS_CATEGORY(error.status()) != CUDNN_STATUS_NOT_SUPPORTED) throw;
      session.say(attention_title(shape) + ": left out, " + error.what());
      return nullptr;
    }
  }

  void measure_one(Session& session, const AttentionCase& shape, std::size_t remaining) {
    const double needed = attention_memory_bytes(shape);
    if (needed > kLargestShareOfMemory * static_cast<double>(session.device().memory_bytes)) {
      session.say(attention_title(shape) + ": left out, needs " + bytes_text(needed));
      return;
    }
    AttentionCall* call = make(session, shape);
    if (call == nullptr) return;
    const double flops = attention_flops(shape);
    // Half of the time: making a plan, which compiles kernels, takes about as long as timing it.
    const Measured measured = session.measure([&](cudaStream_t stream, int) { call->launch(stream); },
                                              session.timing(2 * remaining));
    Record record = session.record("attention");
    record.set("batch", shape.batch)
        .set("seq_length", shape.seq_length)
        .set("heads", shape.heads)
        .set("kv_heads", shape.kv_heads)
        .set("head_dim", shape.head_dim)
        .set("value_dim", shape.value_dim)
        .set("causal", shape.causal)
        .set("window", shape.window)
        .set("pass", shape.backward ? "backward" : "forward")
        .set("precision", attention_precision(shape))
        .set("kernel", "cudnn")
        .set("layout", layout_.front())
        .set("engine", call->engine());
    if (!measured.samples_s.empty()) record.set("tflops", flops / measured.median_s() * 1e-12);
    session.write(std::move(record), attention_title(shape), measured,
                  {"kernels/attention: cuDNN backend API, heuristics mode A, " + layout_.front() + " strides",
                   "cuDNN " + cudnn_version_text(), "burst",
                   flops_ceiling(session.device(), attention_precision(shape), flops)});
  }

  std::string shapes_file_;
  std::vector<std::string> layout_ = {"sbhd"};
  std::vector<AttentionCase> from_file_;
  std::size_t other_lines_ = 0;
  std::unique_ptr<CudnnHandle> handle_;
  std::unique_ptr<AttentionCall> call_;  // the last one made: after handle_, which it refers to
};

}  // namespace
}  // namespace orrery::kernels

int main(int argc, char** argv) {
  orrery::kernels::Attention program;
  return orrery::kernels::run_program(program, argc, argv);
}
