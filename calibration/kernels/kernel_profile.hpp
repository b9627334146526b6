#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "calibration/kernels/residual_field.hpp"
#include "sim/base/evidence.hpp"
#include "sim/base/json_reader.hpp"
#include "sim/cost/attention_form.hpp"
#include "sim/cost/device_spec.hpp"
#include "sim/cost/gemm_form.hpp"
#include "sim/cost/memory_form.hpp"
#include "sim/cost/power_form.hpp"

namespace orrery {

/// A shape of a table with its measured time. `shape` carries whether the quantise is inside the time.
struct MeasuredGemm {
  GemmShape shape;
  Seconds time;
  double residual_noise = 0.7;  ///< in the residual field: how little the row says of its neighbours
};
/// The same for attention. The table's time was `time` + `overhead`: what the framework's module did beside
/// the kernel.
struct MeasuredAttention {
  AttentionShape shape;
  Seconds time;
  Seconds overhead;
};

/// How well the rows and priors of a fit tell its parameters: covariance of the free ones, each in the unit
/// of its key in the profile (times in seconds). From the Jacobian of the whitened residuals and priors at
/// the optimum, (J^T J)^-1, rows beyond Huber's bound weighted down; symmetric. Empty: lent, or read from a
/// file without one.
struct ParameterCovariance {
  std::vector<std::string> names;
  std::vector<std::vector<double>> matrix;
};

/// Products of one precision: parameters, what they leave, and the shapes they were fitted to.
struct GemmFit {
  Precision precision = Precision::bf16;
  GemmParameters parameters;
  bool measured_sustained = false;  ///< the rows were taken under sustained load, no further factor applies
  double relative_spread = 0.0;     ///< cross-validated standard deviation of ln(time), outliers clipped
  Evidence evidence =
      Evidence::interpolated;  ///< the best that a shape of this table can have unless it was measured
  std::vector<MeasuredGemm> shapes;
  Source source;
  ParameterCovariance covariance;
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
  ParameterCovariance covariance;
};

/// Sizes that the kernels of one kind were measured with.
struct MemoryRange {
  MemoryKind kind = MemoryKind::streaming;
  Bytes least, most;
};

struct MemoryFit {
  MemoryParameters parameters;
  double relative_spread = 0.0;
  Evidence evidence = Evidence::assumed;
  Source source;
  std::vector<MemoryRange> ranges;  ///< of the kinds with rows of their own
  ParameterCovariance covariance;
};

/// Draw of the board, from rows that say what it drew.
struct PowerFit {
  PowerParameters parameters;
  double relative_spread = 0.0;  ///< standard deviation of ln(power) over the rows
  Evidence evidence = Evidence::measured;
  Source source;
  ParameterCovariance covariance;
};

/// What a product loses beside another kernel: information, no kernel's own time.
struct OverlapFigure {
  Precision precision = Precision::bf16;
  std::string beside;     ///< "all_reduce", "copy"
  int blocks = 0;         ///< SMs that it holds
  double slowdown = 1.0;  ///< median of time beside it over time alone
  int rows = 0;
};

/// What starting a kernel takes when they follow one another: information.
struct LaunchFigure {
  std::string mode;  ///< "eager", "graph"
  Seconds time;      ///< median, a kernel
  int rows = 0;
};

/// Rate of long copies: information.
struct CopyFigure {
  std::string direction;  ///< "device", "host_to_device", "device_to_host", "peer"
  BytesPerSecond rate;    ///< of the fastest row
  int rows = 0;
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
  std::vector<double> log_errors;  ///< ln(predicted / measured) of each row; files do not keep them
};

/// Ends the name of a table of sustained products beside one of bursts.
constexpr std::string_view kSustainedSuffix = "_sustained";

/// Everything learned about the kernels of one GPU (schema orrery.calibration/1).
struct KernelProfile {  // NOLINT(bugprone-exception-escape): moving ordered JSON allocates nothing
  std::string gpu;
  DeviceSpec device;  ///< the GPU as it was when measured: what the parameters are shares of
  std::vector<GemmFit> gemm;
  std::vector<AttentionFit> attention;
  MemoryFit memory;
  std::vector<SustainedFactor> sustained;
  std::optional<PowerFit> power;
  std::vector<OverlapFigure> overlap;
  std::vector<LaunchFigure> launch;
  std::vector<CopyFigure> copy;
  Json collectives;  ///< what calibration/collectives fitted, as it writes it; null: nothing
  std::vector<FitError> errors;
  std::vector<std::string> sources;
  std::string hash;  ///< of the profile's text without this line

  /// Products of a precision: the table taken under the wanted load where there are two, else the one there
  /// is.
  const GemmFit* gemm_for(Precision precision, bool under_load = false) const;
  /// "bf16", or "bf16_sustained" beside a table of bursts: the name of a product table in files.
  std::string table_name(const GemmFit& fit) const;
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
