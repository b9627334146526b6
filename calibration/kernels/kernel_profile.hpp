#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "calibration/kernels/residual_field.hpp"
#include "sim/base/evidence.hpp"
#include "sim/cost/attention_form.hpp"
#include "sim/cost/device_spec.hpp"
#include "sim/cost/gemm_form.hpp"
#include "sim/cost/memory_form.hpp"

namespace orrery {

/// A shape of a table with its measured time. `shape` carries whether the quantise is inside the time.
struct MeasuredGemm {
  GemmShape shape;
  Seconds time;
};
/// The same for attention. The table's time was `time` + `overhead`: what the framework's module did beside
/// the kernel.
struct MeasuredAttention {
  AttentionShape shape;
  Seconds time;
  Seconds overhead;
};

/// Products of one precision: parameters, what they leave, and the shapes they were fitted to.
struct GemmFit {
  Precision precision = Precision::bf16;
  GemmParameters parameters;
  bool measured_sustained = false;  ///< the rows were taken under sustained load, no further factor applies
  double relative_spread = 0.0;     ///< cross-validated standard deviation of ln(time), outliers clipped
  std::vector<MeasuredGemm> shapes;
  Source source;
};

/// One attention kernel. `measured_sustained`: the rows were taken under sustained load, no further factor
/// applies.
struct AttentionFit {
  AttentionKernel kernel = AttentionKernel::cudnn;
  AttentionParameters parameters;
  bool measured_sustained = false;
  double relative_spread = 0.0;
  Evidence evidence =
      Evidence::interpolated;  ///< the best that a shape of this kernel can have unless it was measured
  std::vector<MeasuredAttention> shapes;
  Source source;
};

struct MemoryFit {
  MemoryParameters parameters;
  double relative_spread = 0.0;
  Evidence evidence = Evidence::assumed;
  Source source;
};

/// Clock under minutes of training over the clock of a burst, for products of one precision.
struct SustainedFactor {
  Precision precision = Precision::bf16;
  double factor = 1.0;
  Evidence evidence = Evidence::assumed;
  Source source;
};

/// Cross-validated errors |predicted / measured - 1| of one table: whole (n, k) families (attention: whole
/// sequence lengths) left out.
struct FitError {
  std::string op;      ///< "gemm", "attention forward"
  std::string subset;  ///< precision or kernel
  int rows = 0;
  double median = 0.0, p95 = 0.0;
};

/// Everything learned about the kernels of one GPU (schema orrery.calibration/1).
struct KernelProfile {
  std::string gpu;
  DeviceSpec device;  ///< the GPU as it was when measured: what the parameters are shares of
  std::vector<GemmFit> gemm;
  std::vector<AttentionFit> attention;
  MemoryFit memory;
  std::vector<SustainedFactor> sustained;
  std::vector<FitError> errors;
  std::vector<std::string> sources;
  std::string hash;  ///< of the profile's text without this line

  const GemmFit* gemm_for(Precision precision) const;
  const AttentionFit* attention_for(AttentionKernel kernel) const;
  const SustainedFactor* sustained_for(Precision precision) const;
  /// Row-weighted mean of the medians; 0 without errors.
  double typical_error() const;
};

/// Where a shape stands among measured ones: ln of the dimensions over the lengths along which residuals
/// resemble one another (found by cross-validation, calibration/kernels/README.md).
ResidualField::Point residual_point(const GemmShape& shape);
ResidualField::Point residual_point(const AttentionShape& shape);

/// ln(measured / form) of every shape of a fit on the device it was measured on, interpolated.
ResidualField residual_field(const GemmFit& fit, const DeviceSpec& device);
ResidualField residual_field(const AttentionFit& fit, const DeviceSpec& device);

/// "flash2", as in `software.attention_kernel`.
std::string_view name_of(AttentionKernel kernel);
std::optional<AttentionKernel> attention_kernel_named(std::string_view name);

}  // namespace orrery
