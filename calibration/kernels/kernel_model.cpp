#include "calibration/kernels/kernel_model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>
#include <variant>

namespace orrery {
namespace {

/// Whose parameters a precision without a fit of its own takes, nearest first, and what that leaves of the
/// evidence.
struct Substitute {
  Precision precision;
  Evidence best;
};

std::vector<Substitute> substitutes_of(Precision precision) {
  using enum Precision;
  constexpr Evidence kNear = Evidence::extrapolated, kFar = Evidence::assumed;
  switch (precision) {
    case fp16:
      return {{bf16, kNear}};
    case bf16:
      return {{fp16, kNear}};
    case tf32:
      return {{bf16, kNear}};
    case fp32:
      return {{tf32, kFar}, {bf16, kFar}};
    case fp8:
    case fp8_current:
    case mxfp8:
      return {{fp8, kNear}, {fp8_block, kNear}, {bf16, kFar}};
    case fp8_block:
      return {{fp8, kNear}, {bf16, kFar}};
    case nvfp4:
      return {{fp8, kFar}, {bf16, kFar}};
  }
  return {};
}

/// True if the device is the measured one as far as kernels of this precision can tell (2 %: vendors round).
bool same_device(const DeviceSpec& a, const DeviceSpec& b, Precision precision) {
  constexpr double kRounding = 0.02;
  const auto close = [&](double x, double y) { return std::abs(x - y) <= kRounding * std::abs(y); };
  const auto peak_a = a.peak_for(precision), peak_b = b.peak_for(precision);
  return peak_a && peak_b && close(peak_a->base(), peak_b->base()) && close(a.sms, b.sms) &&
         close(a.memory_bandwidth.base(), b.memory_bandwidth.base());
}

/// What kernels of a precision run at, over the clock of the table.
double clock_of(const KernelProfile& profile, Precision precision, bool measured_sustained, bool sustained) {
  const SustainedFactor* factor = profile.sustained_for(precision);
  for (const Substitute& substitute : substitutes_of(precision)) {
    if (!factor) factor = profile.sustained_for(substitute.precision);
  }
  if (!factor || measured_sustained == sustained) return 1.0;
  return sustained ? factor->factor : 1.0 / factor->factor;
}

Evidence best_of(ProfileFit fit) {
  switch (fit) {
    case ProfileFit::own:
      return Evidence::measured;
    case ProfileFit::same_chip:
      return Evidence::extrapolated;
    case ProfileFit::architecture:
      return Evidence::assumed;
  }
  return Evidence::assumed;
}

constexpr double kExtrapolatedSpread =
    1.5;                                 // of the table's own; assumed: twice the interpolated error outside
constexpr double kAssumedSpread = 0.20;  // assumed: another architecture's parameters
constexpr double kSustainedSpread =
    0.05;  // what two ways to measure a sustained clock differ by (sustained.cpp)

template <typename Table, typename Fit, typename Device, typename Form, typename Key>
void fill_table(Table& table, const Fit& fit, const Device& device, bool use_shapes, Form form, Key key) {
  bool first = true;
  for (const auto& row : fit.shapes) {
    const ResidualField::Point point = residual_point(row.shape);
    for (size_t i = 0; i < point.size(); ++i) {
      table.least[i] = first ? point[i] : std::min(table.least[i], point[i]);
      table.most[i] = first ? point[i] : std::max(table.most[i], point[i]);
    }
    first = false;
    if (use_shapes) table.measured.emplace(key(row.shape), std::log(row.time / form(row.shape)));
  }
  if (use_shapes) table.field = residual_field(fit, device);
}

}  // namespace

CalibratedKernelModel::CalibratedKernelModel(DeviceSpec device, const LoadedProfile& loaded,
                                             const KernelContext& context)
    : device_(std::move(device)), memory_(loaded.profile.memory) {
  check_device(device_);
  const KernelProfile& profile = loaded.profile;
  for (size_t i = 0; i < gemm_.size(); ++i) {
    if (device_.peak[i]) build_gemm(loaded, context, static_cast<Precision>(i));
  }
  for (const AttentionFit& fit : profile.attention) build_attention(loaded, context, fit);
  memory_.evidence = weaker(memory_.evidence, best_of(loaded.fit));
  profile_name_ = profile.gpu;
  profile_error_ = profile.typical_error();
  if (loaded.fit == ProfileFit::same_chip) {
    profile_source_ = fmt::format("profile of {}, the same chip as {}; ", profile.gpu, device_.name);
  } else if (loaded.fit == ProfileFit::architecture) {
    profile_source_ =
        fmt::format("assumed: profile of {} for {}, which was not measured; ", profile.gpu, device_.name);
  }
  for (size_t i = 0; i < profile.sources.size(); ++i) profile_source_ += (i ? "; " : "") + profile.sources[i];
}

CalibratedKernelModel::GemmKey CalibratedKernelModel::key_of(const GemmShape& shape) {
  return {shape.m,
          shape.n,
          shape.k,
          shape.batch,
          shape.output_bytes,
          shape.quantized_inputs || !is_quantized(shape.precision)};
}

CalibratedKernelModel::AttentionKey CalibratedKernelModel::key_of(const AttentionShape& shape) {
  return {shape.batch,     shape.seq_q,    shape.seq_kv,
          shape.heads,     shape.kv_heads, shape.head_dim,
          shape.value_dim, shape.causal,   shape.pass == AttentionPass::backward};
}

void CalibratedKernelModel::build_gemm(const LoadedProfile& loaded, const KernelContext& context,
                                       Precision precision) {
  const KernelProfile& profile = loaded.profile;
  const GemmFit* fit = profile.gemm_for(precision);
  Evidence best = best_of(loaded.fit);
  for (const Substitute& substitute : substitutes_of(precision)) {
    if (fit) break;
    fit = profile.gemm_for(substitute.precision);
    if (fit) best = weaker(best, substitute.best);
  }
  if (!fit) return;
  if (!same_device(device_, profile.device, precision)) best = weaker(best, Evidence::extrapolated);
  if (context.sustained) best = weaker(best, Evidence::interpolated);

  GemmTable table;
  table.parameters = fit->parameters;
  table.clock = clock_of(profile, precision, fit->measured_sustained, context.sustained);
  table.relative_spread =
      context.sustained ? std::hypot(fit->relative_spread, kSustainedSpread) : fit->relative_spread;
  table.best = best;
  fill_table(
      table, *fit, profile.device, loaded.fit != ProfileFit::architecture,
      [&](const GemmShape& shape) { return gemm_pieces(fit->parameters, profile.device, shape).total(); },
      [](const GemmShape& shape) { return key_of(shape); });
  gemm_[static_cast<size_t>(precision)] = std::move(table);
}

void CalibratedKernelModel::build_attention(const LoadedProfile& loaded, const KernelContext& context,
                                            const AttentionFit& fit) {
  const KernelProfile& profile = loaded.profile;
  AttentionTable table;
  table.parameters = fit.parameters;
  table.clock = clock_of(profile, Precision::bf16, fit.measured_sustained, context.sustained);
  table.relative_spread =
      context.sustained ? std::hypot(fit.relative_spread, kSustainedSpread) : fit.relative_spread;
  table.best = best_of(loaded.fit);
  if (fit.evidence > Evidence::interpolated) table.best = weaker(table.best, fit.evidence);
  if (!same_device(device_, profile.device, Precision::bf16))
    table.best = weaker(table.best, Evidence::extrapolated);
  if (context.sustained && !fit.measured_sustained) table.best = weaker(table.best, Evidence::interpolated);
  fill_table(
      table, fit, profile.device, loaded.fit != ProfileFit::architecture,
      [&](const AttentionShape& shape) {
        return attention_pieces(fit.parameters, profile.device, shape).total();
      },
      [](const AttentionShape& shape) { return key_of(shape); });
  attention_[static_cast<size_t>(fit.kernel)] = std::move(table);
}

template <typename FitTable, typename Shape>
KernelTime CalibratedKernelModel::corrected(const FitTable& table, const Shape& shape, Seconds form) const {
  KernelTime result;
  const auto exact = table.measured.find(key_of(shape));
  if (exact != table.measured.end()) {
    result.time = form * std::exp(exact->second);
    result.evidence = table.best;
    result.relative_spread = 0.5 * table.relative_spread;
    return result;
  }
  const ResidualField::Point point = residual_point(shape);
  result.time = form * std::exp(table.field.at(point));
  constexpr double kEdge = 1e-9;  // logarithms of the table's own ends
  bool inside = !table.measured.empty();
  for (size_t i = 0; i < point.size(); ++i) {
    inside = inside && point[i] >= table.least[i] - kEdge && point[i] <= table.most[i] + kEdge;
  }
  result.evidence = weaker(table.best, inside ? Evidence::interpolated : Evidence::extrapolated);
  result.relative_spread = table.relative_spread * (inside ? 1.0 : kExtrapolatedSpread);
  if (result.evidence == Evidence::assumed)
    result.relative_spread = std::max(result.relative_spread, kAssumedSpread);
  return result;
}

KernelTime CalibratedKernelModel::gemm_time(const GemmShape& shape) const {
  require_peak(device_, shape.precision);
  const auto& table = gemm_[static_cast<size_t>(shape.precision)];
  if (!table) {
    throw std::invalid_argument(fmt::format("profile {} has no products in {} nor in a precision near it",
                                            profile_name_, name_of(shape.precision)));
  }
  const GemmPieces pieces = gemm_pieces(table->parameters, device_, shape, table->clock);
  KernelTime result = corrected(*table, shape, pieces.total());
  if (misaligned(shape) && result.evidence != Evidence::measured) {
    result.evidence = Evidence::assumed;
    result.relative_spread = std::max(result.relative_spread, kAssumedSpread);
  }
  return result;
}

KernelTime CalibratedKernelModel::attention_time(const AttentionShape& shape) const {
  const auto& table = attention_[static_cast<size_t>(shape.kernel)];
  if (!table) {
    attention_pieces(AttentionParameters{}, device_,
                     shape);  // refuses unfused attention and impossible shapes by name
    std::string known;
    for (size_t i = 0; i < attention_.size(); ++i) {
      if (attention_[i])
        known += (known.empty() ? "" : ", ") + std::string(name_of(static_cast<AttentionKernel>(i)));
    }
    throw std::invalid_argument(fmt::format("attention kernel {} has no calibration on {}, only {}",
                                            name_of(shape.kernel), device_.name,
                                            known.empty() ? "none" : known));
  }
  const AttentionPieces pieces = attention_pieces(table->parameters, device_, shape, table->clock);
  return corrected(*table, shape, pieces.total());
}

KernelTime CalibratedKernelModel::time(const Operator& op) const {
  if (const auto* gemm = std::get_if<GemmShape>(&op.shape)) return gemm_time(*gemm);
  if (const auto* attention = std::get_if<AttentionShape>(&op.shape)) return attention_time(*attention);
  KernelTime result;
  result.time = memory_time(memory_.parameters, device_, std::get<MemoryShape>(op.shape));
  result.relative_spread = memory_.relative_spread;
  result.evidence = memory_.evidence;
  return result;
}

KernelPower CalibratedKernelModel::power(const Operator& /*op*/) const {
  return {device_.board_power, Evidence::datasheet};
}

std::unique_ptr<CostModel> make_kernel_model(const DeviceSpec& device, const KernelContext& context,
                                             const std::string& calibration) {
  if (calibration.empty()) {
    return std::make_unique<CalibratedKernelModel>(
        device, load_kernel_profile(device.name, device.architecture), context);
  }
  LoadedProfile loaded{load_profile_named(calibration), ProfileFit::own};
  if (loaded.profile.gpu != device.name) loaded.fit = ProfileFit::architecture;
  return std::make_unique<CalibratedKernelModel>(device, loaded, context);
}

RooflineAssumptions datasheet_assumptions() {
  RooflineAssumptions assumptions;
  assumptions.gemm.efficiency = 0.75;
  assumptions.gemm.memory = 0.8;
  assumptions.gemm.quantize_memory = 0.8;
  assumptions.gemm.launch = microseconds(3);
  assumptions.gemm.misaligned = 0.5;
  assumptions.gemm.misaligned_batched = 0.125;
  assumptions.attention.efficiency = 0.5;
  assumptions.attention.backward = 0.8;
  assumptions.attention.memory = 0.8;
  assumptions.attention.launch = microseconds(3);
  assumptions.memory.set_shares(0.8, 0.6);
  assumptions.memory.launch = microseconds(3);
  assumptions.relative_spread = 0.25;
  assumptions.source.text =
      "assumed: products at 0.75 of the peak with whole waves, attention at 0.5 forward and 0.8 of that "
      "backward, memory "
      "at 0.8 of the bandwidth and 3 us a kernel (constants of ai-dynamo/aiconfigurator for any GPU), "
      "gathers at 0.75 of "
      "that (MooreThreads/SimuMax, B200 permute 0.50 against 0.666)";
  return assumptions;
}

std::unique_ptr<CostModel> make_roofline_model(const DeviceSpec& device) {
  return std::make_unique<Roofline>(device, datasheet_assumptions());
}

}  // namespace orrery
