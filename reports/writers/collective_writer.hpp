#pragma once

#include <string>

#include "reports/answers/collective.hpp"

namespace orrery {

/// nccl-tests' columns for people; with explain, below each size the algorithms considered.
std::string collective_text(const CollectiveAnswer& answer, bool explain);
/// orrery.collective/1.
std::string collective_json(const CollectiveAnswer& answer, bool explain);
/// bytes,count,time_s,algbw_bytes_per_s,busbw_bytes_per_s,algorithm,protocol,channels,evidence,relative_spread
std::string collective_csv(const CollectiveAnswer& answer);

}  // namespace orrery
