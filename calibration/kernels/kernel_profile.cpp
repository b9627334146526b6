#include "calibration/kernels/kernel_profile.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace orrery {
namespace {

constexpr std::array<std::string_view, 6> kKernelNames = {"unfused", "flash1", "flash2",
                                                          "flash3",  "flash4", "cudnn"};

// Lengths in ln units over which residuals resemble one another, and the noise of a single row: those of
// products chosen by leaving out whole families of all burst GEMM tables (README.md), those of heads and head
// sizes of all attention tables.
constexpr double kOuterLength = 0.7;  // m and n
constexpr double kInnerLength = 1.0;  // k
constexpr double kBatchLength = 1.0;
constexpr double kSequenceLength = 1.0;
constexpr double kHeadsLength = 1.5;
constexpr double kHeadSizeLength = 0.1;  // 64, 72 and 80 are kernels of their own
constexpr double kOtherKernel = 10.0;    // causal or not, forward or backward: nothing in common
constexpr double kNoise = 0.5;

double log_of(std::int64_t value) { return std::log(static_cast<double>(value)); }

template <typename List, typename Matches>
auto find_in(const List& list, Matches matches) {
  const auto found = std::find_if(list.begin(), list.end(), matches);
  return found == list.end() ? nullptr : &*found;
}

}  // namespace

const GemmFit* KernelProfile::gemm_for(Precision precision, bool under_load) const {
  const GemmFit* const wanted = find_in(gemm, [&](const GemmFit& fit) {
    return fit.precision == precision && fit.measured_sustained == under_load;
  });
  if (wanted != nullptr) return wanted;
  return find_in(gemm, [&](const GemmFit& fit) { return fit.precision == precision; });
}

std::string KernelProfile::table_name(const GemmFit& fit) const {
  const bool second = fit.measured_sustained && !gemm_for(fit.precision)->measured_sustained;
  return std::string(name_of(fit.precision)) + (second ? std::string(kSustainedSuffix) : "");
}

const AttentionFit* KernelProfile::attention_for(AttentionKernel kernel) const {
  return find_in(attention, [&](const AttentionFit& fit) { return fit.kernel == kernel; });
}

const SustainedFactor* KernelProfile::sustained_for(Precision precision) const {
  return find_in(sustained, [&](const SustainedFactor& factor) { return factor.precision == precision; });
}

double KernelProfile::typical_error() const {
  double sum = 0.0, rows = 0.0;
  for (const FitError& error : errors) {
    sum += error.median * error.rows;
    rows += error.rows;
  }
  return rows > 0.0 ? sum / rows : 0.0;
}

ResidualField::Point residual_point(const GemmShape& shape) {
  return {log_of(shape.m) / kOuterLength, log_of(shape.n) / kOuterLength, log_of(shape.k) / kInnerLength,
          log_of(shape.batch) / kBatchLength};
}

ResidualField::Point residual_point(const AttentionShape& shape) {
  const double kind =
      (shape.causal ? 0.0 : kOtherKernel) + (shape.pass == AttentionPass::forward ? 0.0 : 2.0 * kOtherKernel);
  return {0.5 * (log_of(shape.seq_q) + log_of(shape.seq_kv)) / kSequenceLength,
          log_of(shape.batch * shape.heads) / kHeadsLength, log_of(shape.head_dim) / kHeadSizeLength, kind};
}

ResidualField residual_field(const GemmFit& fit, const DeviceSpec& device) {
  std::vector<ResidualField::Point> points;
  std::vector<double> residuals, noise;
  for (const MeasuredGemm& row : fit.shapes) {
    points.push_back(residual_point(row.shape));
    noise.push_back(row.residual_noise);
    residuals.push_back(std::log(row.time / gemm_pieces(fit.parameters, device, row.shape).total()));
  }
  constexpr int kHeld = 3;  // m, n and k
  return {points, residuals, noise, kHeld};
}

ResidualField residual_field(const AttentionFit& fit, const DeviceSpec& device) {
  std::vector<ResidualField::Point> points;
  std::vector<double> residuals;
  for (const MeasuredAttention& row : fit.shapes) {
    // What was taken off a row is known no better than the row: where it was most of it, what remains of the
    // kernel's time says little of its neighbours.
    const double share = row.time / (row.time + row.overhead);
    points.push_back(residual_point(row.shape));
    residuals.push_back(share *
                        std::log(row.time / attention_pieces(fit.parameters, device, row.shape).total()));
  }
  return {points, residuals, std::vector<double>(points.size(), kNoise)};
}

std::string_view name_of(AttentionKernel kernel) { return kKernelNames.at(static_cast<size_t>(kernel)); }

std::optional<AttentionKernel> attention_kernel_named(std::string_view name) {
  const auto* const found = std::find(kKernelNames.begin(), kKernelNames.end(), name);
  if (found == kKernelNames.end()) return std::nullopt;
  return static_cast<AttentionKernel>(found - kKernelNames.begin());
}

}  // namespace orrery
