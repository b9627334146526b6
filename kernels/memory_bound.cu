// The memory-bound operators of training with CUDA kernels of our own. Bytes and flops of each stand at its
// kernel in memory_bound/*.cu and as numbers in memory_bound/traffic.hpp.
#include <cuda_runtime.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "kernels/harness/program.hpp"
#include "kernels/memory_bound/grid.hpp"
#include "kernels/memory_bound/operation.cuh"

namespace orrery::kernels {
namespace {

constexpr double kLargestShareOfMemory = 0.8;
constexpr double kSmall = 256.0 * (1 << 20);  // bytes below which a launch may take less than 20 us

std::vector<OperatorEntry> all_operators() {
  std::vector<OperatorEntry> all;
  for (const auto& group : {streaming_operators(), row_operators(), norm_operators(), quantize_operators(),
                            optimizer_operators(), indexed_operators()}) {
    all.insert(all.end(), group.begin(), group.end());
  }
  return all;
}

class MemoryBound : public Program {
 public:
  std::string name() const override { return "memory_bound"; }
  std::string summary() const override { return "times the memory-bound operators of training"; }

  void add_options(Options& options) override {
    options.choices("--operators", &names_, operator_names(), "default: all");
  }

  void check(Session& session) override {
    for (const OperatorEntry& entry : operators_) {
      if (std::find(names_.begin(), names_.end(), entry.name) == names_.end()) continue;
      for (const OperatorShape& shape : check_shapes(operator_traffic(entry.name, entry.backward))) {
        const auto operation = entry.make(setup(session, shape, 1));
        operation->check(session.stream());
      }
    }
    session.say("all operators agree with their references");
  }

  void measure(Session& session) override {
    const std::vector<MemoryCase> cases = memory_grid(names_, session.options().quick ? 1 : 100);
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
  static OperationSetup setup(const Session& session, const OperatorShape& shape, int slots) {
    return {shape, slots, session.seed(), session.stream(), session.device().sms};
  }

  const OperatorEntry* entry_of(const OperatorTraffic& traffic) const {
    for (const OperatorEntry& entry : operators_) {
      if (entry.name == traffic.name && entry.backward == traffic.backward) return &entry;
    }
    return nullptr;
  }

  void measure_one(Session& session, const MemoryCase& memory_case, std::size_t remaining) {
    const OperatorTraffic& traffic = *memory_case.traffic;
    const OperatorShape& shape = memory_case.shape;
    const double bytes = memory_case.bytes();
    std::string title = std::string(traffic.name) + (traffic.backward ? " backward " : " forward ") +
                        std::to_string(shape.rows) + " x " + std::to_string(shape.columns);
    if (shape.copies > 1) title += " x " + std::to_string(shape.copies) + " copies";
    const OperatorEntry* entry = entry_of(traffic);
    if (entry == nullptr) {
      session.say(title + ": left out, this CUDA toolkit has no such format");
      return;
    }
    const int slots = bytes < kSmall ? cold_slots(session.device(), static_cast<std::size_t>(bytes)) : 1;
    if (bytes * slots > kLargestShareOfMemory * static_cast<double>(session.device().memory_bytes)) {
      session.say(title + ": left out, needs " + bytes_text(bytes * slots));
      return;
    }
    const auto operation = entry->make(setup(session, shape, slots));
    TimingOptions timing = session.timing(remaining);
    timing.slots = slots;
    const Measured measured =
        session.measure([&](cudaStream_t stream, int slot) { operation->launch(stream, slot); }, timing);
    Record record = session.record("memory");
    record.set("kind", traffic.kind)
        .set("name", traffic.name)
        .set("pass", traffic.backward ? "backward" : "forward")
        .set("rows", shape.rows)
        .set("columns", shape.columns);
    if (traffic.copy_elements > 0) record.set("copies", shape.copies);
    record.set("precision", "bf16").set("bytes", bytes).set("launches", operation->launches());
    session.write(std::move(record), title + "  " + bytes_text(bytes), measured,
                  {"kernels/memory_bound: own kernels", "own kernels", "burst",
                   bytes_ceiling(session.device(), bytes)});
  }

  std::vector<std::string> names_ = operator_names();
  std::vector<OperatorEntry> operators_ = all_operators();
};

}  // namespace
}  // namespace orrery::kernels

int main(int argc, char** argv) {
  orrery::kernels::MemoryBound program;
  return orrery::kernels::run_program(program, argc, argv);
}
