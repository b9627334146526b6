#include "calibration/kernels/kernel_model.hpp"
#include "calibration/kernels/kernel_rules.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <variant>

#include "sim/cost/kernel_sequence.hpp"
#include "sim/cost/unfused_attention.hpp"

namespace orrery {
namespace {

/// Whose parameters a precision without rows of its own takes, nearest first. What such a time rests on is
/// assumed, whatever stands behind the other precision; `spread` is what the step from one to the other adds
/// (standard deviation of ln(time), in quadrature).
struct Substitute {
  Precision precision;
  double spread;
};

// Assumed sizes, from what the two have in common.
constexpr double kSameUnits = 0.05;  // the same multipliers and operand width: fp16 and bf16, recipes of fp8
constexpr double kOtherScales =
    0.10;                             // the same multipliers, scales by block; the same units, wider operands
constexpr double kOtherUnits = 0.20;  // other multipliers

std::vector<Substitute> substitutes_of(Precision precision) {
  using enum Precision;
  switch (precision) {
    case fp16:
      return {{bf16, kSameUnits}};
    case bf16:
      return {{fp16, kSameUnits}};
    case tf32:
      return {{bf16, kOtherScales}};
    case fp32:
      return {{tf32, kOtherUnits}, {bf16, kOtherUnits}};
    case fp8:
    case fp8_current:
      return {{fp8, kSameUnits}, {fp8_block, kOtherScales}, {bf16, kOtherUnits}};
    case mxfp8:
    case fp8_block:
      return {{fp8, kOtherScales}, {fp8_block, kOtherScales}, {bf16, kOtherUnits}};
    case nvfp4:
      return {{fp8, kOtherUnits}, {bf16, kOtherUnits}};
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
constexpr double kAssumedSpread = 0.20;  // assumed: another architecture's parameters, rows off 16 bytes
constexpr double kSustainedSpread =
    0.05;                             // what two ways to measure a sustained clock differ by (sustained.cpp)
constexpr double kNearlyWhole = 0.8;  // residuals of two masks differ by less than the rest of it

/// What kind of kernel a shape asks for, as a number below 32: rows of one kind say nothing certain about
/// another.
struct KernelClass {
  static unsigned of(const GemmShape& shape) { return shape.grouped ? 1U : 0U; }
  static unsigned of(const AttentionShape& shape) {
    return (shape.causal ? 1U : 0U) | (shape.pass == AttentionPass::backward ? 2U : 0U) |
           (shape.window > 0 && shape.window < shape.seq_kv ? 4U : 0U) |
           (shape.value_dim != shape.head_dim ? 8U : 0U) | (shape.seq_q != shape.seq_kv ? 16U : 0U);
  }
};

/// Whether a row's own time is the kernel's: where more was taken off than is left, it is a guess.
bool mostly_kernel(const MeasuredGemm& /*row*/) { return true; }
bool mostly_kernel(const MeasuredAttention& row) { return row.overhead <= row.time; }

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
    table.classes |= 1U << KernelClass::of(row.shape);
    if (use_shapes && mostly_kernel(row))
      table.measured.emplace(key(row.shape), std::log(row.time / form(row.shape)));
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
  // Another architecture's watts say nothing: its board has another limit.
  if (profile.power && loaded.fit != ProfileFit::architecture) {
    power_ = profile.power;
    power_->evidence = weaker(power_->evidence, best_of(loaded.fit));
  }
  profile_name_ = profile.gpu;
  profile_hash_ = profile.hash;
  profile_error_ = profile.typical_error();
  if (loaded.fit == ProfileFit::same_chip) {
    profile_source_ = fmt::format("profile of {}, the same chip as {}; ", profile.gpu, device_.name);
  } else if (loaded.fit == ProfileFit::architecture) {
    profile_source_ =
        fmt::format("assumed: profile of {} for {}, which was not measured; ", profile.gpu, device_.name);
  }
  // Tables of several precisions come from one file.
  for (auto source = profile.sources.begin(); source != profile.sources.end(); ++source) {
    if (std::find(profile.sources.begin(), source, *source) != source) continue;
    profile_source_ += (source == profile.sources.begin() ? "" : "; ") + *source;
  }
}

CalibratedKernelModel::GemmKey CalibratedKernelModel::key_of(const GemmShape& shape) {
  return {shape.m,
          shape.n,
          shape.k,
          shape.batch,
          shape.output_bytes,
          shape.quantized_inputs || !is_quantized(shape.precision),
          shape.grouped};
}

CalibratedKernelModel::AttentionKey CalibratedKernelModel::key_of(const AttentionShape& shape) {
  return {shape.batch,    shape.seq_q,     shape.seq_kv, shape.heads,  shape.kv_heads,
          shape.head_dim, shape.value_dim, shape.window, shape.causal, shape.pass == AttentionPass::backward};
}

void CalibratedKernelModel::build_gemm(const LoadedProfile& loaded, const KernelContext& context,
                                       Precision precision) {
  const KernelProfile& profile = loaded.profile;
  const GemmFit* fit = profile.gemm_for(precision, context.sustained);
  Evidence best = best_of(loaded.fit);
  double borrowed_spread = 0.0;
  for (const Substitute& substitute : substitutes_of(precision)) {
    if (fit) break;
    fit = profile.gemm_for(substitute.precision, context.sustained);
    if (fit) {
      best = Evidence::assumed;
      borrowed_spread = substitute.spread;
    }
  }
  if (!fit) return;
  if (fit->evidence > Evidence::interpolated) best = weaker(best, fit->evidence);
  if (!same_device(device_, profile.device, precision)) best = weaker(best, Evidence::extrapolated);
  if (context.sustained || fit->measured_sustained) best = weaker(best, Evidence::interpolated);

  GemmTable table;
  table.parameters = fit->parameters;
  table.clock = clock_of(profile, precision, fit->measured_sustained, context.sustained);
  table.relative_spread =
      std::hypot(fit->relative_spread, context.sustained ? kSustainedSpread : 0.0, borrowed_spread);
  table.borrowed = borrowed_spread > 0.0;
  table.other_architecture = loaded.fit == ProfileFit::architecture;
  table.best = best;
  // What one kind of multiplier leaves says nothing of another.
  const bool same_kernels = loaded.fit != ProfileFit::architecture && borrowed_spread < kOtherUnits;
  fill_table(
      table, *fit, profile.device, same_kernels,
      [&](const GemmShape& shape) { return gemm_pieces(fit->parameters, profile.device, shape).total(); },
      [](const GemmShape& shape) { return key_of(shape); });
  if (!context.wave_quantisation) table.parameters.quantisation = 0.0;
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
  table.other_architecture = loaded.fit == ProfileFit::architecture;
  table.best = best_of(loaded.fit);
  if (fit.evidence > Evidence::interpolated) table.best = weaker(table.best, fit.evidence);
  if (!same_device(device_, profile.device, Precision::bf16))
    table.best = weaker(table.best, Evidence::extrapolated);
  if (context.sustained || fit.measured_sustained) table.best = weaker(table.best, Evidence::interpolated);
  fill_table(
      table, fit, profile.device, loaded.fit != ProfileFit::architecture,
      [&](const AttentionShape& shape) {
        return attention_pieces(fit.parameters, profile.device, shape).total();
      },
      [](const AttentionShape& shape) { return key_of(shape); });
  std::vector<std::int64_t>& sizes = head_sizes_[static_cast<size_t>(fit.kernel)];
  for (const MeasuredAttention& row : fit.shapes) {
    if (std::find(sizes.begin(), sizes.end(), row.shape.head_dim) == sizes.end())
      sizes.push_back(row.shape.head_dim);
  }
  if (!context.wave_quantisation) table.parameters.quantisation = 0.0;
  if (!context.sustained) table.parameters.throttle = 0.0;  // a burst ends before the power limit binds
  attention_[static_cast<size_t>(fit.kernel)] = std::move(table);
}

template <typename FitTable, typename Shape>
KernelTime CalibratedKernelModel::corrected(const FitTable& table, const Shape& shape, Seconds form) const {
  KernelTime result;
  const auto exact = table.measured.find(key_of(shape));
  // Products: a row stands only where the answer is a measurement. At another clock or in another precision
  // it is a neighbour like the rest, and more work stays slower (tests/properties/kernels).
  constexpr bool kProduct = std::is_same_v<Shape, GemmShape>;
  if (exact != table.measured.end() && (!kProduct || table.best == Evidence::measured)) {
    result.time = form * std::exp(exact->second);
    result.evidence = table.best;
    result.relative_spread = table.borrowed ? table.relative_spread : 0.5 * table.relative_spread;
    return result;
  }
  const ResidualField::Point point = residual_point(shape);
  result.time = form * std::exp(table.field.at(point));
  constexpr double kEdge = 1e-9;  // logarithms of the table's own ends
  bool inside = !table.measured.empty() && (table.classes >> KernelClass::of(shape) & 1U) != 0;
  for (size_t i = 0; i < point.size(); ++i) {
    inside = inside && point[i] >= table.least[i] - kEdge && point[i] <= table.most[i] + kEdge;
  }
  result.evidence = weaker(table.best, inside ? Evidence::interpolated : Evidence::extrapolated);
  result.relative_spread = table.relative_spread * (inside ? 1.0 : kExtrapolatedSpread);
  if (table.other_architecture) result.relative_spread = std::max(result.relative_spread, kAssumedSpread);
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
  // What rows leave is carried on to shapes that they do not bound: no product outruns its operations, nor
  // the bytes that no cache holds.
  if (result.evidence != Evidence::measured) {
    const BytesPerSecond rate = device_.memory_bandwidth;
    const Bytes uncached = rate * table->parameters.memory * pieces.memory - device_.l2_cache;
    result.time = max(result.time, max(shape.flops() / *device_.peak_for(shape.precision), uncached / rate));
  }
  result.bound = bound_of(pieces.compute, pieces.memory + pieces.quantize, pieces.launch);
  if (misaligned(shape) && result.evidence != Evidence::measured) {
    result.evidence = Evidence::assumed;
    result.relative_spread = std::max(result.relative_spread, kAssumedSpread);
  }
  return result;
}

KernelTime CalibratedKernelModel::attention_time(const AttentionShape& shape) const {
  if (shape.kernel == AttentionKernel::unfused) return time_in_sequence(*this, unfused_attention(shape));
  const auto& table = attention_[static_cast<size_t>(shape.kernel)];
  if (!table) {
    attention_pieces(AttentionParameters{}, device_, shape);  // refuses impossible shapes by name
    std::string known = std::string(name_of(AttentionKernel::unfused));
    for (size_t i = 0; i < attention_.size(); ++i) {
      if (attention_[i]) known += ", " + std::string(name_of(static_cast<AttentionKernel>(i)));
    }
    throw std::invalid_argument(fmt::format("attention kernel {} has no calibration on {}, only {}",
                                            name_of(shape.kernel), device_.name, known));
  }
  if (is_quantized(shape.precision)) {
    // No kernel works in 4 bits: recipes of such products have attention in 8.
    AttentionShape narrow = shape;
    if (narrow.precision == Precision::nvfp4) narrow.precision = Precision::fp8;
    // What the rows in 16 bits leave of their form is left of this kernel's, too.
    AttentionShape wide = shape;
    wide.precision = kAttentionRows;
    KernelTime result = attention_time(wide);
    const AttentionPieces pieces = attention_pieces(table->parameters, device_, narrow, table->clock);
    result.time = result.time *
                  (pieces.total() / attention_pieces(table->parameters, device_, wide, table->clock).total());
    result.bound = bound_of(pieces.compute, pieces.memory, pieces.launch);
    result.evidence = Evidence::assumed;
    result.relative_spread = std::hypot(result.relative_spread, kOtherUnits);
    return result;
  }
  const AttentionPieces pieces = attention_pieces(table->parameters, device_, shape, table->clock);
  const bool windowed = shape.window > 0 && shape.window < shape.seq_kv;
  // No table has windows: what the rows leave of the kernel without one holds for it as well.
  AttentionShape unwindowed = shape;
  unwindowed.window = 0;
  KernelTime result = corrected(*table, unwindowed, pieces.total());
  result.bound = bound_of(pieces.compute, pieces.memory, pieces.launch);
  // The whole square takes no less than its causal half. Tables with rows of one mask only say so little of
  // the other that it must be said here, where short sequences bring the two together.
  if (!shape.causal && !windowed && result.evidence != Evidence::measured) {
    AttentionShape half = unwindowed;
    half.causal = true;
    const Seconds form = attention_pieces(table->parameters, device_, half, table->clock).total();
    if (form > kNearlyWhole * pieces.total())
      result.time = max(result.time, corrected(*table, half, form).time);
  }
  const std::vector<std::int64_t>& sizes = head_sizes_[static_cast<size_t>(shape.kernel)];
  if (windowed || std::find(sizes.begin(), sizes.end(), shape.head_dim) == sizes.end()) {
    result.evidence = weaker(result.evidence, Evidence::extrapolated);
    result.relative_spread = std::max(result.relative_spread, kExtrapolatedSpread * table->relative_spread);
  }
  if (shape.precision != kAttentionRows) {
    const double step = shape.precision == Precision::fp16 ? kSameUnits : kOtherUnits;
    result.evidence = Evidence::assumed;
    result.relative_spread = std::hypot(result.relative_spread, step);
  }
  return result;
}

KernelTime CalibratedKernelModel::memory_kernel_time(const MemoryShape& shape) const {
  const MemoryPieces pieces = memory_pieces(memory_.parameters, device_, shape);
  KernelTime result;
  result.time = pieces.total();
  result.relative_spread = memory_.relative_spread;
  result.evidence = memory_.evidence;
  result.bound = bound_of(Seconds(0), pieces.memory, pieces.launch);
  if (memory_.ranges.empty()) {
    // One share of the bandwidth, of a copy or of no kernel in particular: no shape stands beside this one.
    result.evidence = weaker(result.evidence, Evidence::extrapolated);
    return result;
  }
  const auto range = std::find_if(memory_.ranges.begin(), memory_.ranges.end(),
                                  [&](const MemoryRange& each) { return each.kind == shape.kind; });
  if (range == memory_.ranges.end() || shape.traffic < range->least || shape.traffic > range->most) {
    result.evidence = weaker(result.evidence, Evidence::extrapolated);
    result.relative_spread *= kExtrapolatedSpread;
  }
  return result;
}

KernelTime CalibratedKernelModel::time(const Operator& op) const {
  if (const auto* gemm = std::get_if<GemmShape>(&op.shape)) return gemm_time(*gemm);
  if (const auto* attention = std::get_if<AttentionShape>(&op.shape)) return attention_time(*attention);
  return memory_kernel_time(std::get<MemoryShape>(op.shape));
}

KernelPower CalibratedKernelModel::power(const Operator& op) const {
  const KernelTime kernel = time(op);
  if (!power_) return {device_.board_power, Evidence::datasheet};
  const Utilisation use = utilisation_of(device_, op, kernel.time);
  // The rows' watts belong to other kernels than this one.
  return {kernel_power(power_->parameters, device_.board_power, use),
          weaker(weaker(power_->evidence, Evidence::interpolated), kernel.evidence)};
}

std::unique_ptr<CostModel> make_kernel_model(const DeviceSpec& device, const KernelContext& context,
                                             const std::string& calibration) {
  if (calibration.empty()) {
    return std::make_unique<CalibratedKernelModel>(
        device, load_kernel_profile(device.name, device.architecture), context);
  }
  LoadedProfile loaded{load_profile_named(calibration), ProfileFit::own};
  loaded.fit = fit_of_profile(loaded.profile.gpu, device.name, shipped_kernel_rules());
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
