// Matrix products for minutes without a pause, as training runs them: what is left of the burst rate once the
// board is at its power limit and warm. First the burst of the same shapes, then a layer's products (and the
// two products of an attention core) in turn. FLOPs as in gemm.cpp; reference: the products' own.
#include <algorithm>
#include <cstdio>

#include "kernels/harness/statistics.hpp"
#include "kernels/harness/throttle.hpp"
#include "kernels/products/product.hpp"

namespace orrery::kernels {
namespace {

constexpr double kWindow = 3.0;        // seconds of samples in a line
constexpr double kCyclesAhead = 0.02;  // seconds of work that the host enqueues at a time
constexpr std::size_t kMostSamples = 300;

/// Products that run in turn.
struct Mix {
  std::string name;
  std::vector<GemmCase> products;
};

/// The linear layers of a 70B model at 4,096 tokens, and Q K^T and P V of 32 heads of 128 in bf16.
Mix layer_mix(const std::string& precision) {
  const int output = default_output_bytes(precision);
  return {"layer " + precision,
          {{4096, 10240, 8192, 1, precision, output, "tn", false},
           {4096, 4096, 128, 32, "bf16", 2, "tn", false},
           {4096, 128, 4096, 32, "bf16", 2, "nn", false},
           {4096, 8192, 8192, 1, precision, output, "tn", false},
           {4096, 57344, 8192, 1, precision, output, "tn", false},
           {4096, 8192, 28672, 1, precision, output, "tn", false}}};
}

std::vector<Mix> mixes_for(const DeviceInfo& device, const std::vector<std::string>& precisions, bool quick) {
  std::vector<Mix> mixes;
  for (const std::string& precision : precisions_of(device, precisions)) {
    mixes.push_back(layer_mix(precision));
    mixes.push_back({"square " + precision,
                     {{8192, 8192, 8192, 1, precision, default_output_bytes(precision), "tn", false}}});
  }
  if (quick) mixes.resize(std::min<std::size_t>(mixes.size(), 1));
  return mixes;
}

/// One pass over a mix: when it began and ended on the host's clock, and how long each product took.
struct Cycle {
  double begin_s = 0, end_s = 0;
  std::vector<double> seconds;
};

class Sustained : public Program {
 public:
  std::string name() const override { return "sustained"; }
  std::string summary() const override {
    return "times matrix products for minutes under load, after a burst";
  }

  void add_options(Options& options) override {
    options.choices("--precisions", &precisions_, gemm_precisions(),
                    "of the products (default bf16,fp8,mxfp8,nvfp4: those that the GPU has)");
  }

  void check(Session& session) override {
    library_ = std::make_unique<MatmulLibrary>();
    check_products(session, *library_, precisions_of(session.device(), precisions_));
  }

  void measure(Session& session) override {
    const auto mixes = mixes_for(session.device(), precisions_, session.options().quick);
    for (std::size_t i = 0; i < mixes.size(); ++i) {
      const double share = session.seconds_left() / static_cast<double>(mixes.size() - i);
      if (share < 2 * kWindow) return session.say("the budget is used up");
      measure_mix(session, mixes[i], session.options().quick ? 2 * kWindow : share);
    }
  }

 private:
  void measure_mix(Session& session, const Mix& mix, double seconds) {
    const double begin = steady_seconds();
    std::vector<std::unique_ptr<Product>> products;
    for (const GemmCase& shape : mix.products) {
      auto product = std::make_unique<Product>(*library_, shape, 1, session.seed(), session.stream());
      if (product->algorithms() == 0) {
        session.say(shape.title() + ": left out, cuBLASLt has no kernel for it on this GPU");
        continue;
      }
      measure_burst(session, *product);
      products.push_back(std::move(product));
    }
    if (products.empty()) return;
    const double left = seconds - (steady_seconds() - begin);
    run_under_load(session, mix, products, std::max(left, kWindow));
  }

  void measure_burst(Session& session, Product& product) {
    choose_fastest(session, product, 1, 0.1);
    TimingOptions timing;
    timing.limit_s = 0.2;
    const Measured measured =
        session.measure([&](cudaStream_t stream, int slot) { product.launch(stream, slot); }, timing);
    write_line(session, product.shape(), measured, "burst", {});
  }

  /// Repeats the mix for so long and writes a line a product at a quarter, at half and at the end of it.
  void run_under_load(Session& session, const Mix& mix, const std::vector<std::unique_ptr<Product>>& products,
                      double seconds) {
    double flops = 0;
    for (const auto& product : products) flops += product->shape().flops();
    std::vector<Event> events(products.size() + 1);
    std::vector<Cycle> window;
    std::vector<double> marks = {seconds / 4, seconds / 2, seconds};
    marks.erase(std::remove_if(marks.begin(), marks.end(), [](double mark) { return mark < kWindow; }),
                marks.end());
    const double begin = steady_seconds();
    double reported = begin;
    // Timed cycles and untimed ones in between: the host enqueues some work ahead, so that the GPU never
    // idles.
    int untimed = 0;
    std::size_t mark = 0;
    while (mark < marks.size()) {
      Cycle cycle;
      cycle.begin_s = steady_seconds();
      events[0].record(session.stream());
      for (std::size_t i = 0; i < products.size(); ++i) {
        products[i]->launch(session.stream(), 0);
        events[i + 1].record(session.stream());
      }
      for (int i = 0; i < untimed; ++i)
        for (const auto& product : products) product->launch(session.stream(), 0);
      events.back().wait();
      cycle.end_s = steady_seconds();
      for (std::size_t i = 0; i < products.size(); ++i)
        cycle.seconds.push_back(events[i + 1].seconds_since(events[i]));
      double cycle_s = 0;
      for (const double part : cycle.seconds) cycle_s += part;
      untimed = std::max(1, static_cast<int>(kCyclesAhead / cycle_s));
      window.push_back(cycle);
      const double now = cycle.end_s - begin;
      while (window.front().end_s - begin < now - kWindow) window.erase(window.begin());
      if (cycle.end_s - reported > 5.0 || now >= marks[mark]) {
        report(session, mix, now, flops / cycle_s, cycle.end_s);
        reported = cycle.end_s;
      }
      if (now >= marks[mark]) {
        write_window(session, products, window, now);
        ++mark;
      }
    }
    cuda_check(cudaStreamSynchronize(session.stream()));
  }

  static void report(const Session& session, const Mix& mix, double now, double rate, double at_s) {
    const BoardConditions board = session.board().between(at_s - 1.0, at_s);
    char text[160];
    std::snprintf(text, sizeof text, "%s  after %5.1f s  %.1f TFLOP/s  SM %.0f MHz  %.0f W  %.0f C",
                  mix.name.c_str(), now, rate / 1e12, board.clock_mhz.value_or(0), board.power_w.value_or(0),
                  board.temperature_c.value_or(0));
    session.say(text);
  }

  void write_window(Session& session, const std::vector<std::unique_ptr<Product>>& products,
                    const std::vector<Cycle>& window, double now) {
    const std::size_t first = window.size() > kMostSamples ? window.size() - kMostSamples : 0;
    const double begin = window[first].begin_s, end = window.back().end_s;
    std::uint64_t dropped_for = 0;
    std::vector<const Cycle*> kept;
    for (std::size_t i = first; i < window.size(); ++i) {
      const std::uint64_t reasons = session.board().reasons_between(window[i].begin_s, window[i].end_s);
      if (discards_samples(reasons)) {
        dropped_for |= reasons;
      } else {
        kept.push_back(&window[i]);
      }
    }
    if (dropped_for != 0) {
      session.say("dropped " + std::to_string(window.size() - first - kept.size()) + " samples: throttled (" +
                  discard_reason_text(dropped_for) + ")");
    }
    for (std::size_t i = 0; i < products.size(); ++i) {
      Measured measured;
      for (const Cycle* cycle : kept) measured.samples_s.push_back(cycle->seconds[i]);
      measured.board = session.board().between(begin, end);
      measured.timing = "CUDA events in a loop of " + std::to_string(products.size()) +
                        " products without a pause, L2 as it was left";
      write_line(session, products[i]->shape(), measured, "sustained", now - (end - begin));
    }
  }

  void write_line(Session& session, const GemmCase& shape, const Measured& measured,
                  const std::string& conditions, std::optional<double> seconds) const {
    Record record = session.record("gemm");
    shape.write(&record);
    record.set("includes_quantize", false);
    if (seconds) record.set("seconds", *seconds);
    session.write(
        std::move(record), shape.title() + " " + conditions, measured,
        {"kernels/sustained: cuBLASLt, heuristic's best of at most 8 timed", MatmulLibrary::version(),
         conditions, flops_ceiling(session.device(), shape.precision, shape.flops())});
  }

  std::vector<std::string> precisions_ = {"bf16", "fp8", "mxfp8", "nvfp4"};
  std::unique_ptr<MatmulLibrary> library_;
};

}  // namespace
}  // namespace orrery::kernels

int main(int argc, char** argv) {
  orrery::kernels::Sustained program;
  return orrery::kernels::run_program(program, argc, argv);
}
