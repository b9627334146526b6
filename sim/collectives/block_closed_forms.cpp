#include "sim/collectives/block_closed_forms.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>

#include "sim/collectives/closed_forms.hpp"

namespace orrery {
namespace {

void check(int ranks, int parts, const LinkCost& link) {
  if (ranks < 1 || parts < 1)
    throw std::invalid_argument("a collective needs at least one rank and one part");
  if (!(link.rate.base() > 0.0)) throw std::invalid_argument("a link rate must be above zero");
}

/// `messages` one after the other, each of payload / parts bytes.
Seconds messages_time(double messages, Bytes payload, double parts, const LinkCost& link) {
  if (payload.base() <= 0.0) return Seconds();
  return messages * (link.alpha + payload / parts / link.rate);
}

int largest_power(int ranks) { return static_cast<int>(std::bit_floor(static_cast<unsigned>(ranks))); }

}  // namespace

Seconds pat_time(Bytes payload, int ranks, const LinkCost& link) {
  check(ranks, 1, link);
  if (payload.base() <= 0.0) return Seconds();
  return tree_depth(ranks) * link.alpha + payload * ((ranks - 1.0) / ranks) / link.rate;
}

Seconds nvls_all_reduce_time(Bytes payload, int ranks, const LinkCost& link) {
  check(ranks, 1, link);
  return ranks == 1 ? Seconds() : messages_time(2.0 * ranks + 1.0, payload, ranks, link);
}

Bytes nvls_link_bytes(Bytes payload, int ranks) { return payload * (1.0 + 1.0 / ranks); }

Seconds nvls_tree_all_reduce_time(Bytes payload, int domains, int per_domain, const LinkCost& link) {
  check(per_domain, domains, link);
  if (domains == 1) return nvls_all_reduce_time(payload, per_domain, link);
  const double slots = std::max(2.0 * per_domain + 1.0, per_domain + 2.0 * tree_depth(domains) + 3.0);
  return messages_time(slots, payload, per_domain, link);
}

Seconds collnet_all_reduce_time(Bytes payload, int ranks, int chunks, const LinkCost& link) {
  check(ranks, chunks, link);
  return ranks == 1 ? Seconds() : messages_time(chunks + 1.0, payload, chunks, link);
}

Seconds hierarchical_all_reduce_time(Bytes payload, int domains, int per_domain, const LinkCost& inside,
                                     const LinkCost& across) {
  check(domains, per_domain, inside);
  check(domains, per_domain, across);
  return messages_time(2.0 * (per_domain - 1), payload, per_domain, inside) +
         messages_time(2.0 * (domains - 1), payload, static_cast<double>(per_domain) * domains, across);
}

Seconds pairwise_all_to_all_time(Bytes payload, int ranks, const LinkCost& link) {
  check(ranks, 1, link);
  return messages_time(ranks - 1.0, payload, ranks, link);
}

Seconds pairwise_all_to_all_v_time(const std::vector<std::vector<Bytes>>& bytes, const LinkCost& link) {
  const size_t n = bytes.size();
  check(static_cast<int>(n), 1, link);
  Seconds total;
  for (size_t step = 1; step < n; ++step) {
    Bytes longest;
    for (size_t rank = 0; rank < n; ++rank) longest = max(longest, bytes[rank][(rank + step) % n]);
    total += messages_time(1.0, longest, 1.0, link);
  }
  return total;
}

Seconds hierarchical_all_to_all_time(Bytes payload, int domains, int per_domain, const LinkCost& inside,
                                     const LinkCost& across) {
  check(domains, per_domain, inside);
  check(domains, per_domain, across);
  return messages_time(per_domain - 1.0, payload, per_domain, inside) +
         messages_time(domains - 1.0, payload, domains, across);
}

Seconds recursive_doubling_all_reduce_time(Bytes payload, int ranks, const LinkCost& link) {
  check(ranks, 1, link);
  const int p = largest_power(ranks);
  return messages_time(tree_depth(p) + (p < ranks ? 2.0 : 0.0), payload, 1.0, link);
}

Seconds rabenseifner_all_reduce_time(Bytes payload, int ranks, const LinkCost& link) {
  check(ranks, 1, link);
  if (payload.base() <= 0.0) return Seconds();
  const int p = largest_power(ranks);
  return 2.0 * tree_depth(p) * link.alpha + 2.0 * (p - 1.0) / p * payload / link.rate +
         messages_time(p < ranks ? 2.0 : 0.0, payload, 1.0, link);
}

}  // namespace orrery
