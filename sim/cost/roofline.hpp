#pragma once

#include <string>

#include "sim/base/quantile.hpp"
#include "sim/cost/attention_form.hpp"
#include "sim/cost/cost_model.hpp"
#include "sim/cost/gemm_form.hpp"
#include "sim/cost/memory_form.hpp"

namespace orrery {

/// Shares of the datasheet's peaks that kernels are taken to reach when nothing was measured, and where they
/// come from.
struct RooflineAssumptions {
  GemmParameters gemm;
  AttentionParameters attention;
  MemoryParameters memory;
  double relative_spread = 0.0;  ///< standard deviation of ln(time) to expect
  Source source;                 ///< of all the numbers above
};

/// Kernel times from a datasheet and assumed shares of its peaks (tier datasheet): the forms of
/// gemm_form.hpp, attention_form.hpp and memory_form.hpp with one set of parameters for every GPU and
/// precision.
class Roofline final : public CostModel {
 public:
  /// @throws std::invalid_argument if the device has no SMs, no memory bandwidth, or no peak at all
  Roofline(DeviceSpec device, RooflineAssumptions assumptions);

  /// @throws std::invalid_argument for a precision without a peak or an impossible shape
  KernelTime time(const Operator& op) const override;
  /// The board's limit: no kernel draws more for longer than a moment. Throws as `time` does.
  KernelPower power(const Operator& op) const override;
  const DeviceSpec& device() const override { return device_; }
  std::string profile_name() const override { return "roofline"; }
  std::string profile_source() const override { return assumptions_.source.text; }
  /// Of what is assumed, not measured: half of the errors of that spread are smaller.
  double profile_error() const override { return kMedianDeviation * assumptions_.relative_spread; }

 private:
  DeviceSpec device_;
  RooflineAssumptions assumptions_;
};

/// @throws std::invalid_argument, naming the device, if it has no SMs, no memory bandwidth, or no peak at all
void check_device(const DeviceSpec& device);

}  // namespace orrery
