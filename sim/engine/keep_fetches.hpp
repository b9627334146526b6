#pragma once

namespace orrery {

/// Called by functions that only fetch: GCC 12 takes them for without effect, and drops their calls at -O3.
inline void keep_fetches() { asm volatile(""); }

}  // namespace orrery
