#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>

#include "calibration/kernels/fit_attention.hpp"
#include "calibration/kernels/held_out.hpp"
#include "calibration/kernels/kernel_profile.hpp"
#include "calibration/kernels/kernel_rules.hpp"
#include "calibration/kernels/measurements.hpp"

namespace orrery {

inline constexpr size_t kFewestTableRows = 8;  ///< fewer cannot tell seven parameters

/// Products of one precision fitted to rows of their own.
struct FittedProducts {
  GemmFit fit;
  FitError error;  ///< cross-validated
  std::set<std::string> sources;
};

/// Fits the rows of one GPU and precision: those of the first campaign that has enough of them. Nothing with
/// fewer than eight rows.
/// @param campaigns  in the order of preference
/// @param bf16  the same GPU's products in bf16, whose start an 8- or 4-bit product shares; null without
std::optional<FittedProducts> fit_products(const DeviceSpec& device, Precision precision,
                                           std::span<const GemmMeasurement> measurements,
                                           std::span<const Campaign> campaigns, const GemmFit* bf16);

/// An attention kernel fitted to rows of its own.
struct FittedAttention {
  AttentionFit fit;
  FitError forward, backward;  ///< cross-validated; no rows: none of that pass
  std::set<std::string> sources;
  AttentionParameters prior;
  AttentionFreedom freedom;
};

/// Fits the rows of one GPU and kernel: those that the rules name for it, else those of its own name. Bursts
/// where there are both bursts and sustained loops. Nothing with fewer than eight rows.
std::optional<FittedAttention> fit_attention_table(const DeviceSpec& device, AttentionKernel kernel,
                                                   std::span<const AttentionMeasurement> measurements,
                                                   const KernelRules& rules);

/// The parameters that a rule lends from one GPU's kernel to another's: no shapes, no covariance, the rule's
/// evidence or the lender's where that is weaker.
AttentionFit lend_attention(const LentAttention& rule, const AttentionFit& lent, const DeviceSpec& from,
                            const DeviceSpec& to);

/// A held-out fifth of a fitted table (held_out.hpp): families of equal (n, k); of an attention kernel equal
/// lengths (batch times heads where there are three lengths or fewer), by pass.
HeldOut hold_out(const DeviceSpec& device, const FittedProducts& table, std::uint64_t seed);
HeldOut hold_out(const DeviceSpec& device, const FittedAttention& table, AttentionPass pass,
                 std::uint64_t seed);

}  // namespace orrery
