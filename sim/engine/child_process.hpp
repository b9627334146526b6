#pragma once

#include <functional>
#include <vector>

namespace orrery {

/// Runs `body` in a forked child and returns what it returned there.
///
/// The child sees the caller's memory as it was and changes none of it. What it writes to its standard output
/// and error is kept for the message of a failure. It dies with its parent. Safe to call from several
/// threads.
/// @throws std::runtime_error with the last line that the child wrote if it throws, aborts or is killed
std::vector<double> doubles_from_child(const std::function<std::vector<double>()>& body);

}  // namespace orrery
