#pragma once

#include <string>

#include "sim/base/evidence.hpp"
#include "sim/base/quantity.hpp"
#include "sim/cost/device_spec.hpp"
#include "sim/workload/operator.hpp"

namespace orrery {

/// Year and month of the software: kernels of the day differ.
struct YearMonth {
  int year = 0;
  int month = 1;
  auto operator<=>(const YearMonth&) const = default;
};

/// What a kernel's time needs to know beside its shape.
struct KernelContext {
  YearMonth date;
  bool sustained = true;  ///< under the power limit of minutes of training, not the burst of a microbenchmark
  /// False: a partly filled last wave costs its share only, whatever the profile says (for ablations; what
  /// measured shapes say beside the form stays).
  bool wave_quantisation = true;
};

/// What most of a kernel's time goes to.
enum class KernelBound { compute, memory, launch };

/// The largest of a kernel's pieces; of equals the first named.
constexpr KernelBound bound_of(Seconds compute, Seconds memory, Seconds launch) {
  if (launch > compute && launch > memory) return KernelBound::launch;
  return memory > compute ? KernelBound::memory : KernelBound::compute;
}

struct KernelTime {
  Seconds time;
  double relative_spread = 0.0;  ///< standard deviation of ln(time), from the fit's residuals
  Evidence evidence = Evidence::assumed;
  KernelBound bound = KernelBound::compute;
};

/// What the whole board draws while a kernel runs.
struct KernelPower {
  Watts board;
  Evidence evidence = Evidence::datasheet;
};

/// How long one kernel takes on one GPU when it has it to itself. Thread-safe; no state changes after
/// construction.
class CostModel {
 public:
  virtual ~CostModel() = default;
  virtual KernelTime time(const Operator& op) const = 0;
  /// Mean draw of the board while the kernel is repeated. Throws as `time` does.
  virtual KernelPower power(const Operator& op) const = 0;
  virtual const DeviceSpec& device() const = 0;
  /// Name and source of the profile, for the report ("roofline" and "assumed: ..." without one).
  virtual std::string profile_name() const = 0;
  virtual std::string profile_source() const = 0;
  /// Cross-validated median error of the kernels (fraction); 0 if unknown.
  virtual double profile_error() const = 0;
};

}  // namespace orrery
