#pragma once

#include <functional>
#include <optional>
#include <string>

namespace orrery::kernels {

/// Names of the kernels that `work` puts on the GPU, as CUPTI's activity records give them, joined by " + ".
/// `work` must have finished on the GPU when it returns. Nothing where the program was built without CUPTI,
/// or CUPTI refuses (another profiler is attached, say); the first refusal is a line on stderr.
///
/// Not for timing: records are on only during the call, and lines are timed before it.
std::optional<std::string> kernel_names(const std::function<void()>& work);

}  // namespace orrery::kernels
