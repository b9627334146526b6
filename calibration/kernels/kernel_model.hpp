#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "calibration/kernels/profile_library.hpp"
#include "sim/cost/cost_model.hpp"
#include "sim/cost/roofline.hpp"

namespace orrery {

/// Kernel times from a profile: the forms of sim/cost with fitted parameters, times what the measured shapes
/// nearby say the form leaves, at the clock of a burst or of minutes of training.
///
/// Evidence of a time:
///   measured      a shape of the table, on the GPU as it was measured, as a burst
///   interpolated  inside the ranges of the table (under sustained load this is the best there is: a measured
///   time and a
///                 clock that was measured on other shapes)
///   extrapolated  outside them, and a kind of kernel that they do not hold (grouped products; windows, other
///                 value sizes, fewer queries than keys); the same chip with other memory; a device whose
///                 numbers differ from the measured one's
///   assumed       a precision without rows of its own (fp16 from bf16, mxfp8 from fp8, ...), another
///                 architecture's parameters, a product whose rows are not aligned
/// Thread-safe; a call takes 0.3 to 3 us with the number of measured shapes.
class CalibratedKernelModel final : public CostModel {
 public:
  /// @throws std::invalid_argument if the device has no SMs, no memory bandwidth, or no peak at all
  CalibratedKernelModel(DeviceSpec device, const LoadedProfile& loaded, const KernelContext& context);

  /// @throws std::invalid_argument for a precision without a peak, an attention kernel
  /// that the GPU has no numbers for (naming those it has), or an impossible shape
  KernelTime time(const Operator& op) const override;
  /// From the profile's PowerFit; without one the board's limit, evidence datasheet: an upper bound.
  KernelPower power(const Operator& op) const override;
  const DeviceSpec& device() const override { return device_; }
  std::string profile_name() const override { return profile_name_; }
  std::string profile_source() const override { return profile_source_; }
  const std::string& profile_hash() const { return profile_hash_; }
  double profile_error() const override { return profile_error_; }

 private:
  /// One kind of kernel, ready to ask.
  template <typename Parameters, typename Key>
  struct Table {
    Parameters parameters;
    ResidualField field;
    std::map<Key, double> measured;        ///< ln(measured / form) of the table's own shapes
    ResidualField::Point least{}, most{};  ///< ranges of the table
    double clock = 1.0;
    double relative_spread = 0.0;
    std::uint32_t classes = 0;           ///< bits: kinds of kernel that the table's shapes are of
    bool borrowed = false;               ///< the rows are another precision's
    bool other_architecture = false;     ///< the parameters are another architecture's
    Evidence best = Evidence::measured;  ///< the strongest evidence a time from this table can have
  };
  using GemmKey = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t, double, bool, bool>;
  using AttentionKey = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                                  std::int64_t, std::int64_t, std::int64_t, bool, bool>;
  using GemmTable = Table<GemmParameters, GemmKey>;
  using AttentionTable = Table<AttentionParameters, AttentionKey>;

  static GemmKey key_of(const GemmShape& shape);
  static AttentionKey key_of(const AttentionShape& shape);
  void build_gemm(const LoadedProfile& loaded, const KernelContext& context, Precision precision);
  void build_attention(const LoadedProfile& loaded, const KernelContext& context, const AttentionFit& fit);
  template <typename FitTable, typename Shape>
  KernelTime corrected(const FitTable& table, const Shape& shape, Seconds form) const;
  KernelTime gemm_time(const GemmShape& shape) const;
  KernelTime attention_time(const AttentionShape& shape) const;
  KernelTime memory_kernel_time(const MemoryShape& shape) const;

  DeviceSpec device_;
  std::array<std::optional<GemmTable>, 9> gemm_;            ///< by Precision
  std::array<std::optional<AttentionTable>, 6> attention_;  ///< by AttentionKernel
  std::array<std::vector<std::int64_t>, 6> head_sizes_;     ///< of the rows, by AttentionKernel
  MemoryFit memory_;
  std::optional<PowerFit> power_;
  std::string profile_name_, profile_source_, profile_hash_;
  double profile_error_ = 0.0;
};

/// The kernel model of a GPU for the tiers measured, stack and site.
/// @param calibration a profile's name or file; empty: the GPU's own, or the nearest (load_kernel_profile)
/// @throws InputError for a profile that does not exist or cannot be read, std::invalid_argument for the
/// device
std::unique_ptr<CostModel> make_kernel_model(const DeviceSpec& device, const KernelContext& context,
                                             const std::string& calibration = "");

/// The kernel model for the tier datasheet: one set of assumed shares of the peaks for every GPU.
std::unique_ptr<CostModel> make_roofline_model(const DeviceSpec& device);

/// The assumed shares, with the reason for each in the source text.
RooflineAssumptions datasheet_assumptions();

}  // namespace orrery
