#pragma once

#include <cstdint>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/harness/board.hpp"
#include "kernels/harness/device.hpp"
#include "kernels/harness/options.hpp"
#include "kernels/harness/record.hpp"
#include "kernels/harness/reference.hpp"
#include "kernels/harness/timer.hpp"

namespace orrery::kernels {

/// Options that every program has.
struct CommonOptions {
  std::string gpu;       ///< --gpu NAME: preset's name, written into every line
  std::string out;       ///< --out FILE: lines are appended; standard output without it
  double budget_s = 60;  ///< --budget X: measuring stops after so many seconds
  std::int64_t seed = 1;
  std::int64_t device = 0;
  bool quick = false;  ///< --quick: fewer shapes and repeats, to see that everything works
  bool check = false;  ///< --check: only compare with the references
};

/// What the hardware could do at best, for the line on stderr.
struct Ceiling {
  double work = 0;             ///< FLOPs or bytes of one launch
  std::optional<double> peak;  ///< FLOP/s or bytes/s
  bool flops = true;           ///< else bytes
};

/// What is said of a line beside its shape and its times.
struct LineNotes {
  std::string method;   ///< "kernels/gemm: cuBLASLt, heuristic's best of 8 timed"; the timing is appended
  std::string library;  ///< "cuBLASLt 13.1.0.3"
  std::string conditions = "burst";
  Ceiling ceiling;
};

/// One run of a program on one GPU: its options, board, timer, and where its lines go.
class Session {
 public:
  Session(std::string program, CommonOptions options);

  const CommonOptions& options() const { return options_; }
  const DeviceInfo& device() const { return device_; }
  const BoardSampler& board() const { return board_; }
  Timer& timer() { return timer_; }
  cudaStream_t stream() const { return timer_.stream(); }
  std::uint64_t seed() const { return static_cast<std::uint64_t>(options_.seed); }

  double seconds_left() const;
  bool time_left() const { return seconds_left() > 0; }
  /// Timing options for the next of `remaining` measurements, so that all fit into what is left of the
  /// budget: a measurement takes 0.05 to 0.5 s, --quick takes 10 repeats.
  TimingOptions timing(std::size_t remaining) const;

  /// Times a launch; the samples may come back empty (throttled board).
  Measured measure(const Launch& launch, const TimingOptions& options) {
    return timer_.time(launch, options);
  }

  /// A record with `gpu` and `op`; the program adds its shape keys and `precision`.
  Record record(const std::string& op) const;
  /// Adds time_s, samples_s, method, conditions, clocks, power, driver, cuda, library, date and source,
  /// appends the line to --out and flushes it, and prints the figure with its ceiling on stderr. Does nothing
  /// but say so on stderr when there are no samples.
  /// @param title  the shape as people read it: "gemm 4096 x 4096 x 4096 bf16 tn"
  void write(Record record, const std::string& title, const Measured& measured, const LineNotes& notes);
  /// A line on stderr, with the program's name before it.
  void say(const std::string& text) const;

 private:
  std::string program_;
  CommonOptions options_;
  double begin_s_;
  DeviceInfo device_;
  BoardSampler board_;
  Timer timer_;
  std::ofstream file_;
};

/// A microbenchmark. run_program() calls add_options, then check, then measure.
class Program {
 public:
  virtual ~Program() = default;
  virtual std::string name() const = 0;
  virtual std::string summary() const = 0;
  virtual void add_options(Options& options) { static_cast<void>(options); }
  /// Reads what the options name (files), before any device is touched. @throws OptionError: exit code 2
  virtual void prepare() {}
  /// Compares the kernels with plain references on small shapes. @throws CheckFailed
  virtual void check(Session& session) = 0;
  /// Measures and writes lines until done or out of time.
  virtual void measure(Session& session) = 0;
};

/// The whole life of a program. Exit codes: 0 done; 2 options refused; 1 a check or a call failed, or there
/// is no CUDA device ("no CUDA device"; 77 with --check, which ctest reports as skipped).
int run_program(Program& program, int argc, char** argv);

/// Ceilings of a device.
Ceiling flops_ceiling(const DeviceInfo& device, const std::string& precision, double flops);
Ceiling bytes_ceiling(const DeviceInfo& device, double bytes);

/// A size as titles show it: "256 MiB", "8 B".
std::string bytes_text(double bytes);

/// Today as YYYY-MM-DD (UTC).
std::string today();

}  // namespace orrery::kernels
