#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace orrery::kernels {

/// The collectives that are measured, by the names of measurement lines.
inline const std::vector<std::string>& collective_names() {
  static const std::vector<std::string> names = {"all_reduce", "reduce_scatter", "all_gather",
                                                 "broadcast",  "all_to_all",     "send_recv"};
  return names;
}

/// Bus bandwidth over algorithm bandwidth (bytes / time).
/// Source: nccl-tests, doc/PERFORMANCE.md: 2(n-1)/n for all-reduce, (n-1)/n for reduce-scatter, all-gather
/// and all-to-all, 1 for broadcast and send/receive. A single rank's factor is 0 where it has n - 1.
inline double bus_factor(const std::string& op, int ranks) {
  const double share = static_cast<double>(ranks - 1) / ranks;
  if (op == "all_reduce") return 2 * share;
  if (op == "broadcast" || op == "send_recv") return 1;
  return share;
}

/// Whether a rank's part of the bytes is one n-th of them: the "size" column counts the whole buffer.
inline bool splits_buffer(const std::string& op) {
  return op == "reduce_scatter" || op == "all_gather" || op == "all_to_all";
}

/// Elements a rank hands to the call for a line of `bytes`: all of them, or an n-th, rounded down as
/// nccl-tests does. 0: the size is too small for so many ranks.
inline std::size_t call_elements(const std::string& op, std::size_t bytes, int ranks,
                                 std::size_t element_bytes) {
  const std::size_t elements = bytes / element_bytes;
  return splits_buffer(op) ? elements / static_cast<std::size_t>(ranks) : elements;
}

/// Bytes of the line that so many elements make, the inverse of call_elements.
inline std::size_t line_bytes(const std::string& op, std::size_t elements, int ranks,
                              std::size_t element_bytes) {
  return elements * element_bytes * (splits_buffer(op) ? static_cast<std::size_t>(ranks) : 1);
}

/// Whether nccl-tests measures the call in place too.
inline bool has_in_place(const std::string& op) { return op != "all_to_all" && op != "send_recv"; }

}  // namespace orrery::kernels
