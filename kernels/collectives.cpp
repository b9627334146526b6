// NCCL's collectives over all GPUs of this machine (one where there is one), fp32, sum, in the columns of
// nccl-tests: `bytes` is the larger of a rank's send and receive buffers. Reference: exact sums of small
// whole numbers.
#include <algorithm>

#include "kernels/collectives/columns.hpp"
#include "kernels/collectives/ranks.hpp"
#include "kernels/harness/program.hpp"

namespace orrery::kernels {
namespace {

constexpr std::size_t kElementBytes = 4;
constexpr std::size_t kLargest = std::size_t{8} << 30;
constexpr double kShareOfMemory = 0.35;  // for each of the two buffers; NCCL and the harness take some more
constexpr int kSamples = 10;
constexpr double kSampleSeconds = 0.005;

class Collectives : public Program {
 public:
  std::string name() const override { return "collectives"; }
  std::string summary() const override { return "times NCCL's collectives over all GPUs of this machine"; }

  void add_options(Options& options) override {
    options.choices("--ops", &ops_, collective_names(), "which (default: all)");
    options.integer("--gpus", &gpus_, 1, 72, "use only the first N GPUs (default: all)");
  }

  void check(Session& session) override {
    const int count = ranks_of(session);
    // Odd sizes, one that a single protocol's chunk holds and one that takes several.
    constexpr std::size_t kElements[] = {1, 1027, 300'007};
    Ranks ranks(count, kElements[2] * kElementBytes * static_cast<std::size_t>(count), session.seed());
    for (const std::string& op : ops_) {
      for (const std::size_t elements : kElements) {
        ranks.check({op, elements, false}, session.seed());
        if (has_in_place(op)) ranks.check({op, elements, true}, session.seed());
      }
    }
    cuda_check(cudaSetDevice(session.device().index));
  }

  void measure(Session& session) override {
    const int count = ranks_of(session);
    const auto sizes = sizes_for(session);
    Ranks ranks(count, sizes.front(), session.seed());
    // Size by size from the largest down, all collectives of a size together: what a time limit cuts off are
    // the smallest sizes of all of them, whose times differ little.
    for (const std::size_t bytes : sizes) {
      for (const std::string& op : ops_) {
        if (!session.time_left())
          return session.say("sizes from " + bytes_text(static_cast<double>(bytes)) +
                             " down left out: the budget is used up");
        const std::size_t elements = call_elements(op, bytes, count, kElementBytes);
        if (elements == 0) continue;
        measure_one(session, ranks, {op, elements, false});
        if (has_in_place(op)) measure_one(session, ranks, {op, elements, true});
      }
    }
  }

 private:
  int ranks_of(const Session&) const {
    const int present = device_count();
    if (gpus_ > present) {
      throw OptionError("collectives: --gpus: found " + std::to_string(gpus_) + ", expected at most " +
                        std::to_string(present) + ", the number of GPUs");
    }
    return gpus_ == 0 ? present : static_cast<int>(gpus_);
  }

  /// Powers of two, largest first, in steps that --quick makes wider.
  static std::vector<std::size_t> sizes_for(const Session& session) {
    const double room = kShareOfMemory * static_cast<double>(session.device().memory_bytes);
    std::vector<std::size_t> sizes;
    const std::size_t step = session.options().quick ? 16 : 2;
    for (std::size_t bytes = 8; bytes <= kLargest && static_cast<double>(bytes) <= room; bytes *= step)
      sizes.push_back(bytes);
    std::reverse(sizes.begin(), sizes.end());
    return sizes;
  }

  static void measure_one(Session& session, Ranks& ranks, const CollectiveCall& call) {
    const double estimate = std::max(ranks.time(call, 1, 1).front(), 1e-6);
    const int launches = static_cast<int>(std::clamp(kSampleSeconds / estimate, 1.0, 100.0));
    const int samples = session.options().quick || estimate > 0.1 ? 3 : kSamples;
    const double begin = steady_seconds();
    Measured measured;
    measured.samples_s = ranks.time(call, launches, samples);
    measured.board = session.board().between(begin, steady_seconds());
    measured.timing = std::to_string(launches) + " calls back to back a sample, host clock, slowest rank";

    const std::size_t bytes = line_bytes(call.op, call.elements, ranks.count(), kElementBytes);
    const double rate = static_cast<double>(bytes) / measured.median_s();
    Record record = session.record(call.op);
    record.set("ranks", ranks.count()).set("nodes", 1).set("bytes", bytes).set("precision", "fp32");
    record.set("algbw_bytes_per_s", rate);
    record.set("busbw_bytes_per_s", rate * bus_factor(call.op, ranks.count()));
    record.set("in_place", call.in_place);
    session.write(std::move(record),
                  call.op + (call.in_place ? " in place " : " ") + bytes_text(static_cast<double>(bytes)) +
                      " x " + std::to_string(ranks.count()),
                  measured,
                  {"kernels/collectives: NCCL, one process, a thread a GPU",
                   nccl_version(),
                   "burst",
                   {static_cast<double>(bytes), std::nullopt, false}});
  }

  std::vector<std::string> ops_ = collective_names();
  std::int64_t gpus_ = 0;
};

}  // namespace
}  // namespace orrery::kernels

int main(int argc, char** argv) {
  orrery::kernels::Collectives program;
  return orrery::kernels::run_program(program, argc, argv);
}
