#pragma once

#include <functional>
#include <vector>

namespace orrery {

/// Runs `body` in a forked child and returns what it returned there.
///
/// The child sees the caller's memory as it was and changes none of it. What it writes to its standard output
/// and error is kept for the message of a failure. It dies with its parent.
///
/// Safe to call from several threads, whatever the others do, because the child has nothing to wait for that
/// another thread of the parent may have held at the fork (that thread is not in the child, so it would wait
/// for ever). What a simulation uses that has a lock:
/// - malloc: glibc takes its locks across fork. AddressSanitizer's allocator (GCC 12) does not: worker_count.
/// - stdio: glibc makes the locks of its streams anew in the child, which writes by write() alone.
/// - Exceptions: the unwinder finds its tables without a lock (_dl_find_object, glibc 2.35 and GCC 12).
/// - Function-local statics that another thread is just making: SimGrid's, which no process but a child ever
///   enters; ours lie in topologies, calibration and reports, which `body` has no business in.
/// - Our mutexes: routing's (Topology) and the calibrations' (CalibrationStore). `body` must ask for neither
///   routes nor models, so run_simgrid finds the routes before the fork. The one around the fork itself no
///   child takes.
///
/// Our code there uses no iostreams, locales, environment or fmt's output to a stream; SimGrid logs nothing
/// below critical.
/// @throws std::runtime_error with the last line that the child wrote if it throws, aborts or is killed
std::vector<double> doubles_from_child(const std::function<std::vector<double>()>& body);

/// Threads that may run simulations side by side when `asked` are wanted: all of them, but one under
/// AddressSanitizer. Its allocator does not hold its locks across fork, so a child would wait for ever for
/// one that another thread was just holding (a run of the sanitizer suite hung for ten minutes).
int worker_count(int asked);

}  // namespace orrery
