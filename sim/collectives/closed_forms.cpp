#include "sim/collectives/closed_forms.hpp"

#include <bit>
#include <stdexcept>
#include <string>

namespace orrery {
namespace {

void check(int ranks, int chunks, BytesPerSecond rate) {
  if (ranks < 1)
    throw std::invalid_argument("a collective needs at least one rank, found " + std::to_string(ranks));
  if (chunks < 1)
    throw std::invalid_argument("a collective needs at least one chunk, found " + std::to_string(chunks));
  if (!(rate.base() > 0.0)) throw std::invalid_argument("a link rate must be above zero");
}

/// `steps` messages one after the other, each of payload / parts bytes.
Seconds steps_time(double steps, Bytes payload, double parts, BytesPerSecond rate, Seconds alpha) {
  if (payload.base() <= 0.0) return Seconds();
  return steps * (alpha + payload / parts / rate);
}

}  // namespace

int tree_depth(int ranks) {
  return ranks <= 1 ? 0 : static_cast<int>(std::bit_width(static_cast<unsigned>(ranks - 1)));
}

Seconds ring_all_reduce_time(Bytes payload, int ranks, BytesPerSecond rate, Seconds alpha) {
  check(ranks, 1, rate);
  return steps_time(2.0 * (ranks - 1), payload, ranks, rate, alpha);
}

Seconds ring_reduce_scatter_time(Bytes payload, int ranks, BytesPerSecond rate, Seconds alpha) {
  check(ranks, 1, rate);
  return steps_time(ranks - 1, payload, ranks, rate, alpha);
}

Seconds ring_all_gather_time(Bytes payload, int ranks, BytesPerSecond rate, Seconds alpha) {
  return ring_reduce_scatter_time(payload, ranks, rate, alpha);
}

Seconds ring_broadcast_time(Bytes payload, int ranks, int chunks, BytesPerSecond rate, Seconds alpha) {
  check(ranks, chunks, rate);
  if (ranks == 1) return Seconds();
  return steps_time(ranks - 2.0 + chunks, payload, chunks, rate, alpha);
}

Seconds tree_broadcast_time(Bytes payload, int ranks, int chunks, BytesPerSecond rate, Seconds alpha) {
  check(ranks, chunks, rate);
  if (ranks == 1) return Seconds();
  return steps_time(tree_depth(ranks) - 1.0 + chunks, payload, chunks, rate, alpha);
}

Seconds double_tree_all_reduce_time(Bytes payload, int ranks, int chunks, BytesPerSecond rate,
                                    Seconds alpha) {
  check(ranks, chunks, rate);
  if (ranks == 1) return Seconds();
  return steps_time(2.0 * tree_depth(ranks) - 1.0 + chunks, payload, 2.0 * chunks, rate, alpha);
}

Seconds send_receive_time(Bytes payload, BytesPerSecond rate, Seconds alpha) {
  check(1, 1, rate);
  return steps_time(1.0, payload, 1.0, rate, alpha);
}

}  // namespace orrery
