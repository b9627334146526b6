#pragma once

#include <span>

#include "calibration/collectives/collective_rows.hpp"
#include "sim/collectives/collective_constants.hpp"

namespace orrery {

/// One curve from rows of one operation, GPU and number of ranks.
///
/// First t = alpha + S/B + g sqrt(S) by robust least squares in log time (alpha start-up, B the rate of very
/// long payloads, g what chunks that fill the pipeline cost at their best size: the minimum of k (a + S/(k
/// b)) over the number of chunks k has this form). Then a smooth correction in log time at the octaves,
/// because a protocol's change (LL, LL128, Simple; ring to NVLS) leaves up to 20 % of it; it is drawn to zero
/// where nothing was measured. Last, the times are made never to fall (pool adjacent violators).
DomainCurve fit_domain_curve(std::span<const CollectiveRow> rows);
/// The parametric form alone: what cross-validation compares the curve with.
DomainCurve fit_parametric_curve(std::span<const CollectiveRow> rows);

/// All curves of a GPU whose rows (already inside one domain and usable) are given. Groups of fewer than four
/// sizes, without any up to 4 MiB, or of less than a factor of 64 between the smallest and the largest, give
/// no curve.
DomainConstants fit_domain(const std::string& gpu, double scale_up_bandwidth,
                           std::span<const CollectiveRow> rows);

/// Adds the send-receive curves of `other` for its ranks, resampled to this domain's bandwidth and marked as
/// standing in. This domain's own curves for the same number of ranks stay.
void borrow_pairs(DomainConstants& domain, const DomainConstants& other);

}  // namespace orrery
