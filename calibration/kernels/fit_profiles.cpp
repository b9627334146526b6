#include "calibration/kernels/fit_profiles.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <utility>

#include "calibration/kernels/fit_attention.hpp"
#include "calibration/kernels/fit_gemm.hpp"
#include "calibration/kernels/fit_memory.hpp"
#include "calibration/kernels/log_error_fit.hpp"
#include "calibration/kernels/measurements.hpp"
#include "calibration/kernels/profile_json.hpp"
#include "calibration/kernels/sustained.hpp"

namespace orrery {
namespace {

constexpr size_t kFewestRows = 8;  // fewer cannot tell seven parameters

// Rows of an operand off 16 bytes: cuBLAS falls back from the tensor core kernels. Batched fp16 and bf16
// products then run on the CUDA cores, at an eighth of the tensor peak (A100: 39 of 312 TFLOP/s in bf16);
// single ones are copied or take narrow loads, taken as half.
constexpr double kMisaligned = 0.5;
constexpr double kMisalignedBatched = 0.125;
constexpr std::string_view kMisalignedSource =
    "misaligned rows: assumed, CUDA core rate for batched products (NVIDIA A100 whitepaper: bf16 39 of 312 "
    "TFLOP/s), "
    "half of the tensor core rate for single ones";

constexpr Seconds kHostBound = microseconds(130);  // see attention_rows

std::string join_sources(const std::set<std::string>& sources) {
  std::string text;
  for (const std::string& source : sources) text += (text.empty() ? "" : "; ") + source;
  return text;
}

/// A product in 8 or 4 bits starts like one in bf16; what its table has beyond that is the quantise's start.
void split_quantize_launch(GemmFit& fit, const GemmFit* bf16) {
  if (!bf16 || !is_quantized(fit.precision) || fit.parameters.launch <= bf16->parameters.launch) return;
  fit.parameters.quantize_launch =
      Seconds(six_digits((fit.parameters.launch - bf16->parameters.launch).base()));
  fit.parameters.launch = bf16->parameters.launch;
}

/// Rows of the first campaign that has enough of them: bursts, a compiler's, sustained loops.
void fit_products(KernelProfile& profile, const std::vector<GemmMeasurement>& measurements) {
  constexpr std::array kCampaigns = {Campaign::burst, Campaign::compiler, Campaign::sustained};
  for (size_t p = 0; p < profile.device.peak.size(); ++p) {
    for (const Campaign campaign : kCampaigns) {
      std::vector<MeasuredGemm> rows;
      std::set<std::string> sources;
      for (const GemmMeasurement& row : measurements) {
        if (row.gpu != profile.gpu || row.campaign != campaign ||
            row.shape.precision != static_cast<Precision>(p))
          continue;
        rows.push_back({row.shape, row.time});
        sources.insert(row.source);
      }
      if (rows.size() < kFewestRows) continue;
      FitError error;
      GemmFit fit = fit_gemm(profile.device, std::move(rows), {}, error);
      fit.measured_sustained = campaign == Campaign::sustained;
      fit.parameters.misaligned = kMisaligned;
      fit.parameters.misaligned_batched = kMisalignedBatched;
      fit.source.text =
          fmt::format("{} products of {}; {}", fit.shapes.size(), join_sources(sources), kMisalignedSource);
      split_quantize_launch(fit, profile.gemm_for(Precision::bf16));
      profile.errors.push_back(error);
      profile.sources.insert(profile.sources.end(), sources.begin(), sources.end());
      profile.gemm.push_back(std::move(fit));
      break;
    }
  }
}

/// Rows of an attention kernel. Loops of a training framework below 130 us are left out: 4 and 8 heads take
/// the same time there, so the host sets it (30 us and more a call, SimuMax's own constant).
std::vector<AttentionMeasurement> attention_rows(const std::vector<AttentionMeasurement>& measurements,
                                                 std::string_view gpu,
                                                 const std::vector<std::string_view>& kernels) {
  std::vector<AttentionMeasurement> rows;
  for (const AttentionMeasurement& row : measurements) {
    const bool wanted = std::find(kernels.begin(), kernels.end(), row.kernel) != kernels.end();
    const bool host_bound = row.campaign == Campaign::sustained && row.time < kHostBound;
    if (row.gpu == gpu && wanted && !host_bound) rows.push_back(row);
  }
  return rows;
}

/// What is believed before the rows speak: sizes of the three kernels with most rows.
AttentionParameters attention_prior() {
  AttentionParameters prior;
  prior.efficiency = 0.6;
  prior.full_ramp = 0.2;
  prior.narrow = 0.5;
  prior.wide = 0.85;
  prior.tail = 0.4;
  prior.backward = 0.85;  // FA2 .80-.95, FA3 .81-.88, FA4 .79-.89: overlap.md, section 8
  prior.backward_wide = 0.8;
  prior.memory = 0.8;
  prior.launch = microseconds(4);
  return prior;
}

/// A kernel that is fitted to rows of its own.
struct FittedKernel {
  std::string_view gpu;
  AttentionKernel kernel;
  std::vector<std::string_view> tables;
  std::string_view note;
  double ramp = 900.0;  ///< expected; final where all rows have one length
};

const std::vector<FittedKernel>& fitted_kernels() {
  using enum AttentionKernel;
  static const std::vector<FittedKernel> kKernels = {
      {"a100-sxm4-80gb", flash2, {"flash2"}, ""},
      {"a100-pcie-80gb", cudnn, {"cudnn"}, "ramp as flash2's on A100 SXM", 300.0},
      {"h100-sxm-80gb", flash3, {"flash3"}, ""},
      {"h100-sxm-80gb", flash2, {"flash2"}, "GPU not named, H100 class; heads taken as 16"},
      {"h100-sxm-80gb", cudnn, {"trtllm"}, "TensorRT-LLM's kernel stands for cuDNN's"},
      {"h200-sxm-141gb", cudnn, {"trtllm"}, "TensorRT-LLM's kernel stands for cuDNN's"},
      {"b200-sxm-180gb", cudnn, {"cudnn"}, ""},
      {"b200-sxm-180gb",
       flash4,
       {"flash4", "FA4 cute", "FA4 2-CTA"},
       "heads taken as 2048 / head size where not given"},
      {"gb200", flash4, {"flash4"}, "machine named by its peak; heads taken as 2048 / head size"},
  };
  return kKernels;
}

AttentionFreedom freedom_of(const std::vector<AttentionMeasurement>& rows) {
  std::set<std::int64_t> lengths, sizes;
  std::set<bool> masks;
  std::set<AttentionPass> passes;
  for (const AttentionMeasurement& row : rows) {
    lengths.insert(row.shape.seq_q);
    sizes.insert(row.shape.head_dim);
    masks.insert(row.shape.causal);
    passes.insert(row.shape.pass);
  }
  AttentionFreedom freedom;
  freedom.ramp = lengths.size() > 1;
  freedom.full_ramp = masks.size() > 1;
  freedom.narrow = sizes.count(64) > 0 && sizes.size() > 1;
  freedom.wide = sizes.count(192) > 0;
  freedom.backward = passes.size() > 1;
  return freedom;
}

void fit_attention_kernel(KernelProfile& profile, const FittedKernel& wanted,
                          const std::vector<AttentionMeasurement>& measurements) {
  const std::vector<AttentionMeasurement> measured = attention_rows(measurements, wanted.gpu, wanted.tables);
  if (measured.size() < kFewestRows) return;
  const AttentionFreedom freedom = freedom_of(measured);
  AttentionParameters prior = attention_prior();
  prior.ramp = wanted.ramp;
  AttentionRows rows = kernel_times(profile.device, measured, prior, freedom);
  for (MeasuredAttention& row : rows.rows) {
    row.time = Seconds(six_digits(row.time.base()));
    row.overhead = Seconds(six_digits(row.overhead.base()));
    row.shape.kernel = wanted.kernel;
  }
  std::set<std::string> sources;
  for (const AttentionMeasurement& row : measured) sources.insert(row.source);
  FitError forward, backward;
  AttentionFit fit = fit_attention(profile.device, wanted.kernel, std::move(rows.rows), prior, freedom, {},
                                   forward, backward);
  fit.measured_sustained = measured.front().campaign == Campaign::sustained;
  fit.source.text = fmt::format("{} calls of {}", fit.shapes.size(), join_sources(sources));
  if (rows.cache_passes > 0.0) {
    fit.source.text +=
        fmt::format("; 10 us and {:.3g} passes over keys and values taken off", rows.cache_passes);
  }
  if (!freedom.backward)
    fit.source.text += "; backward: assumed at 0.85 of the forward rate (FA2 .80-.95, FA3 .81-.88)";
  if (!wanted.note.empty()) fit.source.text += fmt::format("; {}", wanted.note);
  profile.errors.push_back(forward);
  if (backward.rows > 0) profile.errors.push_back(backward);
  profile.sources.insert(profile.sources.end(), sources.begin(), sources.end());
  profile.attention.push_back(std::move(fit));
}

/// A kernel that takes another's parameters: same kernel on a relative, or a slower relative on the same GPU.
struct BorrowedKernel {
  std::string_view gpu;
  AttentionKernel kernel;
  std::string_view from_gpu;
  AttentionKernel from_kernel;
  double efficiency;  ///< factor; 0: the same absolute rate (peak over peak)
  Evidence evidence;
  std::string_view why;
};

constexpr double kFlash1OverFlash2 = 0.62;

std::vector<BorrowedKernel> borrowed_kernels() {
  using enum AttentionKernel;
  constexpr Evidence kNear = Evidence::extrapolated, kFar = Evidence::assumed;
  constexpr std::string_view kMmaSync =
      "assumed: flash2 knows none of the newer tensor core instructions, so it keeps "
      "the rate it has on Hopper";
  constexpr std::string_view kFirst = "flash1 at 0.62 of flash2 (prototype fit on A100)";
  constexpr std::string_view kAmpereCudnn = "cuDNN as on A100 PCIe, the same chip";
  return {
      {"a100-sxm4-80gb", cudnn, "a100-pcie-80gb", cudnn, 1.0, kNear, kAmpereCudnn},
      {"a100-pcie-80gb", flash2, "a100-sxm4-80gb", flash2, 1.0, kNear,
       "flash2 as on A100 SXM, the same chip"},
      {"h200-sxm-141gb", flash2, "h100-sxm-80gb", flash2, 1.0, kNear, "flash2 as on H100, the same chip"},
      {"h200-sxm-141gb", flash3, "h100-sxm-80gb", flash3, 1.0, kNear, "flash3 as on H100, the same chip"},
      {"b200-sxm-180gb", flash2, "h100-sxm-80gb", flash2, 0.0, kFar, kMmaSync},
      {"gb200", cudnn, "b200-sxm-180gb", cudnn, 1.0, kNear, "cuDNN as on B200, share of the peak"},
      {"gb200", flash2, "h100-sxm-80gb", flash2, 0.0, kFar, kMmaSync},
      {"b300-sxm-288gb", cudnn, "b200-sxm-180gb", cudnn, 1.0, kNear, "cuDNN as on B200, share of the peak"},
      {"b300-sxm-288gb", flash4, "b200-sxm-180gb", flash4, 1.0, kNear,
       "flash4 as on B200, share of the peak"},
      {"b300-sxm-288gb", flash2, "h100-sxm-80gb", flash2, 0.0, kFar, kMmaSync},
      {"gb300", cudnn, "b200-sxm-180gb", cudnn, 1.0, kNear, "cuDNN as on B200, share of the peak"},
      {"gb300", flash4, "gb200", flash4, 1.0, kNear, "flash4 as on GB200, share of the peak"},
      {"gb300", flash2, "h100-sxm-80gb", flash2, 0.0, kFar, kMmaSync},
      {"l40s", flash2, "a100-sxm4-80gb", flash2, 1.0, kFar, "assumed: flash2 as on A100, share of the peak"},
      {"l40s", cudnn, "a100-pcie-80gb", cudnn, 1.0, kFar, "assumed: cuDNN as on A100, share of the peak"},
      {"mi300x", flash2, "h100-sxm-80gb", flash2, 1.0, kFar, "assumed: flash2 as on H100, share of the peak"},
      {"a100-sxm4-80gb", flash1, "a100-sxm4-80gb", flash2, kFlash1OverFlash2, kNear, kFirst},
      {"a100-pcie-80gb", flash1, "a100-pcie-80gb", flash2, kFlash1OverFlash2, kNear, kFirst},
      {"h100-sxm-80gb", flash1, "h100-sxm-80gb", flash2, kFlash1OverFlash2, kFar, kFirst},
      {"h200-sxm-141gb", flash1, "h200-sxm-141gb", flash2, kFlash1OverFlash2, kFar, kFirst},
  };
}

template <typename Profiles>
auto* named(Profiles& profiles, std::string_view gpu) {
  const auto found =
      std::find_if(profiles.begin(), profiles.end(), [&](const auto& profile) { return profile.gpu == gpu; });
  return found == profiles.end() ? nullptr : &*found;
}

void borrow(std::vector<KernelProfile>& profiles, const BorrowedKernel& wanted) {
  KernelProfile* profile = named(profiles, wanted.gpu);
  const KernelProfile* from = named(profiles, wanted.from_gpu);
  const AttentionFit* lent = from ? from->attention_for(wanted.from_kernel) : nullptr;
  if (!profile || !lent) return;
  AttentionFit fit = *lent;
  fit.kernel = wanted.kernel;
  fit.shapes.clear();  // times of another GPU or kernel
  fit.evidence = wanted.evidence;
  const double factor = wanted.efficiency > 0.0 ? wanted.efficiency
                                                : *from->device.peak_for(Precision::bf16) /
                                                      *profile->device.peak_for(Precision::bf16);
  fit.parameters.efficiency = six_digits(fit.parameters.efficiency * factor);
  fit.source.text = fmt::format("{}; {}", wanted.why, lent->source.text);
  profile->attention.push_back(std::move(fit));
}

std::vector<DeviceSpec> read_devices(const std::string& path) {
  const Json value = read_json_file(path);
  Problems problems(path);
  std::vector<DeviceSpec> devices;
  for (const SpecReader& device : SpecReader(value, "", problems).at("devices").elements()) {
    devices.push_back(read_reference_device(device));
  }
  problems.throw_if_any();
  return devices;
}

}  // namespace

FitInputs shipped_inputs(const std::string& root) {
  return {root + "/calibration/data/gemm.jsonl", root + "/calibration/data/attention.jsonl",
          root + "/calibration/kernels/reference_devices.json",
          root + "/calibration/kernels/memory_rates.json"};
}

std::vector<KernelProfile> fit_profiles(const FitInputs& inputs) {
  const std::vector<DeviceSpec> devices = read_devices(inputs.devices);
  const std::vector<GemmMeasurement> gemm = read_gemm_measurements(inputs.gemm);
  const std::vector<AttentionMeasurement> attention = read_attention_measurements(inputs.attention);
  std::vector<KernelProfile> profiles;
  for (const DeviceSpec& device : devices) {
    KernelProfile profile;
    profile.gpu = device.name;
    profile.device = device;
    profile.memory = fit_memory(device, devices, inputs.memory);
    fit_products(profile, gemm);
    for (const FittedKernel& kernel : fitted_kernels()) {
      if (kernel.gpu == device.name) fit_attention_kernel(profile, kernel, attention);
    }
    profiles.push_back(std::move(profile));
  }
  for (const BorrowedKernel& kernel : borrowed_kernels()) borrow(profiles, kernel);
  const SustainedFactors factors(profiles, gemm);
  for (KernelProfile& profile : profiles) profile.sustained = factors.factors_of(profile);
  return profiles;
}

}  // namespace orrery
