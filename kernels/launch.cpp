// Time a kernel launch costs: kernels that do next to nothing, one after another on a stream, launched one by
// one (eager) or as one CUDA graph. Wall clock of the host from the first launch until the GPU is done,
// divided by their number.
#include "kernels/harness/cuda.hpp"
#include "kernels/harness/program.hpp"
#include "kernels/launch/count_kernel.hpp"

namespace orrery::kernels {
namespace {

class Launches : public Program {
 public:
  std::string name() const override { return "launch"; }
  std::string summary() const override { return "times kernel launches, one by one and as CUDA graphs"; }

  void check(Session& session) override {
    const DeviceBuffer counter(8);
    cuda_check(cudaMemset(counter.data(), 0, 8));
    settle();
    auto* count = counter.as<unsigned long long>();
    cuda_check(launch_counting(count, 100, session.stream()));
    const Graph graph(session.stream(),
                      [&](cudaStream_t stream) { cuda_check(launch_counting(count, 100, stream)); });
    graph.launch(session.stream());
    graph.launch(session.stream());
    cuda_check(cudaStreamSynchronize(session.stream()));
    unsigned long long found = 0;
    cuda_check(cudaMemcpy(&found, counter.data(), 8, cudaMemcpyDeviceToHost));
    if (found != 300) {
      throw CheckFailed("100 eager launches and twice a graph of 100: counted " + std::to_string(found) +
                        ", expected 300");
    }
  }

  void measure(Session& session) override {
    const DeviceBuffer counter(8);
    cuda_check(cudaMemset(counter.data(), 0, 8));
    settle();
    auto* count = counter.as<unsigned long long>();
    for (const int kernels : {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}) {
      if (!session.time_left()) return session.say("the budget is used up");
      measure_mode(session, "eager", kernels,
                   [&] { cuda_check(launch_counting(count, kernels, session.stream())); });
      const Graph graph(session.stream(),
                        [&](cudaStream_t stream) { cuda_check(launch_counting(count, kernels, stream)); });
      measure_mode(session, "graph", kernels, [&] { graph.launch(session.stream()); });
    }
  }

 private:
  template <typename Enqueue>
  void measure_mode(Session& session, const char* mode, int kernels, Enqueue&& enqueue) {
    const int repeats = session.options().quick ? 20 : 200;
    Measured measured;
    measured.timing = "host clock, from the first launch until the GPU is done, over the kernels";
    for (int i = 0; i < 10; ++i) enqueue();
    cuda_check(cudaStreamSynchronize(session.stream()));
    const double begin = steady_seconds();
    for (int i = 0; i < repeats; ++i) {
      const double start = steady_seconds();
      enqueue();
      cuda_check(cudaStreamSynchronize(session.stream()));
      measured.samples_s.push_back((steady_seconds() - start) / kernels);
    }
    measured.board = session.board().between(begin, steady_seconds());
    Record record = session.record("launch");
    record.set("mode", mode).set("kernels", kernels);
    session.write(std::move(record), std::string(mode) + " " + std::to_string(kernels) + " kernels", measured,
                  {"kernels/launch: kernels of one thread on one stream",
                   "CUDA runtime " + session.device().cuda,
                   "burst",
                   {}});
  }
};

}  // namespace
}  // namespace orrery::kernels

int main(int argc, char** argv) {
  orrery::kernels::Launches program;
  return orrery::kernels::run_program(program, argc, argv);
}
