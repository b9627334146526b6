#pragma once

#include <string>

#include "reports/answers/traffic.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {

/// `orrery.traffic/1` of the contract, section 3.2.
Json traffic_json(const TrafficAnswer& answer);
/// The cluster and what was assumed, the distribution of the completions, collisions and the binding links.
std::string traffic_text(const TrafficAnswer& answer);
/// A line a flow.
std::string traffic_csv(const TrafficAnswer& answer);
/// `orrery.usage/1`: the use of every link over equal parts of the time (TrafficRequest::usage_parts).
Json usage_json(const TrafficAnswer& answer);

}  // namespace orrery
