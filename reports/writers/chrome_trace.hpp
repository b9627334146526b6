#pragma once

#include <string>

#include "reports/answers/prediction.hpp"

namespace orrery {

/// A simulated step as a Chrome trace (Perfetto, chrome://tracing): {"traceEvents": [...]}, times in
/// microseconds. A process is a simulated rank (in folded scope the representative of its stage), a thread
/// one of its streams (sends and receives apart, those in flight at once on several); of more than 16 ranks
/// every second, third ... is shown. Segments are expanded into their pieces, which are stretched evenly
/// where a segment took longer than their sum. Format: "Trace Event Format" (Google, 2016), complete events
/// ("ph": "X") and metadata ("ph": "M").
std::string chrome_trace(const SimulatedStep& step);

}  // namespace orrery
