#include "sim/collectives/block_schedules.hpp"

#include <algorithm>
#include <bit>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

#include "sim/collectives/closed_forms.hpp"
#include "sim/collectives/schedules.hpp"

namespace orrery {
namespace {

BlockSchedule empty_blocks(CollectiveOp op, int ranks, int chunks) {
  if (ranks < 1 || chunks < 1) {
    throw std::invalid_argument("a collective needs at least one rank and one chunk, found " +
                                std::to_string(ranks) + " and " + std::to_string(chunks));
  }
  BlockSchedule schedule;
  schedule.op = op;
  schedule.ranks = ranks;
  schedule.chunks = chunks;
  return schedule;
}

int add(BlockSchedule& schedule, BlockTransfer transfer) {
  schedule.transfers.push_back(std::move(transfer));
  return static_cast<int>(schedule.transfers.size()) - 1;
}

/// Chunks that a rank has gathered before the step of this distance: those of the ranks at the multiples of
/// 2 x distance behind it. In the step it passes on those that the receiver lacks.
std::vector<int> pat_chunks(int rank, int distance, int ranks) {
  std::vector<int> chunks;
  for (int behind = 0; behind + distance < ranks; behind += 2 * distance) {
    chunks.push_back(((rank - behind) % ranks + ranks) % ranks);
  }
  return chunks;
}

std::vector<int> range(int first, int count) {
  std::vector<int> numbers(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) numbers[static_cast<size_t>(i)] = first + i;
  return numbers;
}

}  // namespace

BlockSchedule pat_all_gather(Bytes payload, int ranks) {
  BlockSchedule schedule = empty_blocks(CollectiveOp::all_gather, ranks, ranks);
  const Bytes chunk = payload / static_cast<double>(ranks);
  std::vector<std::vector<int>> arrived(static_cast<size_t>(ranks));
  for (int distance = 1 << std::max(0, tree_depth(ranks) - 1); distance >= 1 && ranks > 1; distance /= 2) {
    std::vector<std::vector<int>> next = arrived;
    for (int rank = 0; rank < ranks; ++rank) {
      BlockTransfer transfer{
          rank,    (rank + distance) % ranks,         pat_chunks(rank, distance, ranks), false, false, rank,
          Bytes(), arrived[static_cast<size_t>(rank)]};
      transfer.bytes = chunk * static_cast<double>(transfer.chunks.size());
      const auto receiver = static_cast<size_t>(transfer.to);
      next[receiver].push_back(add(schedule, std::move(transfer)));
    }
    arrived = std::move(next);
  }
  return schedule;
}

BlockSchedule pat_reduce_scatter(Bytes payload, int ranks) {
  const BlockSchedule gather = pat_all_gather(payload, ranks);
  BlockSchedule schedule = empty_blocks(CollectiveOp::reduce_scatter, ranks, ranks);
  const auto count = gather.transfers.size();
  std::vector<std::vector<int>> arrived(static_cast<size_t>(ranks));
  std::vector<std::vector<int>> next = arrived;
  for (size_t i = count; i-- > 0;) {
    const BlockTransfer& forward = gather.transfers[i];
    // The transfers of one step wait for those of the steps before only.
    if ((count - 1 - i) % static_cast<size_t>(ranks) == 0) arrived = next;
    BlockTransfer back{forward.to, forward.from, forward.chunks, true,
                       false,      forward.to,   forward.bytes,  arrived[static_cast<size_t>(forward.to)]};
    next[static_cast<size_t>(forward.from)].push_back(add(schedule, std::move(back)));
  }
  return schedule;
}

namespace {

/// NVLink SHARP in `domains` domains with a tree between them; one domain needs none.
BlockSchedule switch_all_reduce(Bytes payload, int domains, int per_domain) {
  const int n = domains * per_domain;
  BlockSchedule schedule = empty_blocks(CollectiveOp::all_reduce, n, per_domain);
  schedule.switches = domains;
  const Bytes bytes = payload / static_cast<double>(per_domain);
  // Links: rank r up 2r, down 2r + 1; network from rank r beyond, one for each direction of the tree's edges.
  const auto up = [](int rank) { return 2 * rank; };
  const auto down = [](int rank) { return 2 * rank + 1; };
  const auto network = [n](int from, int to) { return 2 * n + from * n + to; };
  std::vector<std::vector<int>> reduced(static_cast<size_t>(domains));  // by domain and head
  for (int d = 0; d < domains; ++d) {
    for (int h = 0; h < per_domain; ++h) {
      std::vector<int> pushed;
      for (int i = 0; i < per_domain; ++i) {
        const int rank = d * per_domain + i;
        pushed.push_back(add(schedule, {rank, n + d, {h}, true, false, up(rank), bytes, {}}));
      }
      const int head = d * per_domain + h;
      reduced[static_cast<size_t>(d)].push_back(
          add(schedule, {n + d, head, {h}, false, false, down(head), bytes, std::move(pushed)}));
    }
  }
  const std::vector<int> parents = binary_tree_parents(domains);
  std::vector<int> order(parents.size());
  std::vector<int> depth(parents.size(), 0);
  for (size_t d = 0; d < parents.size(); ++d) {
    order[d] = static_cast<int>(d);
    for (int at = parents[d]; at >= 0; at = parents[static_cast<size_t>(at)]) ++depth[d];
  }
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return depth[static_cast<size_t>(a)] > depth[static_cast<size_t>(b)];
  });
  for (int h = 0; h < per_domain; ++h) {
    std::vector<std::vector<int>> ready(parents.size());  // what a domain's head waits for
    for (int d = 0; d < domains; ++d) {
      ready[static_cast<size_t>(d)] = {reduced[static_cast<size_t>(d)][static_cast<size_t>(h)]};
    }
    for (const int d : order) {
      const int parent = parents[static_cast<size_t>(d)];
      if (parent < 0) continue;
      const int from = d * per_domain + h;
      const int to = parent * per_domain + h;
      const int sent =
          add(schedule, {from, to, {h}, true, true, network(from, to), bytes, ready[static_cast<size_t>(d)]});
      ready[static_cast<size_t>(parent)].push_back(sent);
    }
    for (auto d = order.rbegin(); d != order.rend(); ++d) {
      const int parent = parents[static_cast<size_t>(*d)];
      if (parent < 0) continue;
      const int from = parent * per_domain + h;
      const int to = *d * per_domain + h;
      ready[static_cast<size_t>(*d)] = {
          add(schedule,
              {from, to, {h}, false, true, network(from, to), bytes, ready[static_cast<size_t>(parent)]})};
    }
    for (int d = 0; d < domains; ++d) {
      const int head = d * per_domain + h;
      reduced[static_cast<size_t>(d)][static_cast<size_t>(h)] =
          add(schedule, {head, n + d, {h}, false, false, up(head), bytes, ready[static_cast<size_t>(d)]});
    }
  }
  for (int d = 0; d < domains; ++d) {
    for (int h = 0; h < per_domain; ++h) {
      for (int i = 0; i < per_domain; ++i) {
        const int rank = d * per_domain + i;
        add(schedule, {n + d,
                       rank,
                       {h},
                       false,
                       false,
                       down(rank),
                       bytes,
                       {reduced[static_cast<size_t>(d)][static_cast<size_t>(h)]}});
      }
    }
  }
  return schedule;
}

}  // namespace

BlockSchedule nvls_all_reduce(Bytes payload, int ranks) { return switch_all_reduce(payload, 1, ranks); }

BlockSchedule nvls_tree_all_reduce(Bytes payload, int domains, int per_domain) {
  return switch_all_reduce(payload, domains, per_domain);
}

BlockSchedule collnet_all_reduce(Bytes payload, int ranks, int chunks) {
  BlockSchedule schedule = empty_blocks(CollectiveOp::all_reduce, ranks, chunks);
  schedule.switches = 1;
  const Bytes bytes = payload / static_cast<double>(chunks);
  for (int chunk = 0; chunk < chunks; ++chunk) {
    std::vector<int> pushed;
    pushed.reserve(static_cast<size_t>(ranks));
    for (int rank = 0; rank < ranks; ++rank) {
      pushed.push_back(add(schedule, {rank, ranks, {chunk}, true, true, 2 * rank, bytes, {}}));
    }
    for (int rank = 0; rank < ranks; ++rank) {
      add(schedule, {ranks, rank, {chunk}, false, true, 2 * rank + 1, bytes, pushed});
    }
  }
  return schedule;
}

BlockSchedule hierarchical_all_reduce(Bytes payload, int domains, int per_domain) {
  const int n = domains * per_domain;
  // Chunk i x domains + d: piece i of the domains' rings, piece d of the rings across.
  BlockSchedule schedule = empty_blocks(CollectiveOp::all_reduce, n, n);
  // What each rank received in the phase before, and in the step before.
  std::vector<std::vector<int>> phase_before(static_cast<size_t>(n));
  const auto ring = [&](bool across, int length, int steps, int reducing, int first) {
    std::vector<std::vector<int>> received(static_cast<size_t>(n));
    std::vector<int> latest(static_cast<size_t>(n), -1);
    for (int step = 0; step < steps; ++step) {
      std::vector<int> next(static_cast<size_t>(n), -1);
      for (int d = 0; d < domains; ++d) {
        for (int i = 0; i < per_domain; ++i) {
          const int place = across ? d : i;
          const int piece = (((place + first - step) % length) + length) % length;
          const int rank = d * per_domain + i;
          const int to = across ? (d + 1) % domains * per_domain + i : d * per_domain + (i + 1) % per_domain;
          // After the first phase rank i of a domain holds piece i.
          BlockTransfer transfer;
          transfer.from = rank;
          transfer.to = to;
          transfer.reduces = step < reducing;
          transfer.across = across;
          transfer.link = across ? n + rank : rank;
          transfer.after = phase_before[static_cast<size_t>(rank)];
          if (step > 0) transfer.after.push_back(latest[static_cast<size_t>(rank)]);
          transfer.chunks = across ? std::vector<int>{i * domains + piece} : range(piece * domains, domains);
          transfer.bytes = payload / static_cast<double>(n) * static_cast<double>(transfer.chunks.size());
          const int number = add(schedule, std::move(transfer));
          next[static_cast<size_t>(to)] = number;
          received[static_cast<size_t>(to)].push_back(number);
        }
      }
      latest = std::move(next);
    }
    if (steps > 0) phase_before = std::move(received);
  };
  ring(false, per_domain, per_domain - 1, per_domain - 1, per_domain - 1);
  ring(true, domains, 2 * (domains - 1), domains - 1, 0);
  ring(false, per_domain, per_domain - 1, 0, 0);
  return schedule;
}

BlockSchedule pairwise_all_to_all(Bytes payload, int ranks) {
  BlockSchedule schedule = empty_blocks(CollectiveOp::all_to_all, ranks, ranks * ranks);
  for (int step = 1; step < ranks; ++step) {
    for (int rank = 0; rank < ranks; ++rank) {
      const int to = (rank + step) % ranks;
      add(schedule,
          {rank, to, {rank * ranks + to}, false, false, rank, payload / static_cast<double>(ranks), {}});
    }
  }
  return schedule;
}

BlockSchedule pairwise_all_to_all_v(const std::vector<std::vector<Bytes>>& bytes) {
  const auto ranks = static_cast<int>(bytes.size());
  BlockSchedule schedule = empty_blocks(CollectiveOp::all_to_all, ranks, std::max(1, ranks * ranks));
  for (const std::vector<Bytes>& row : bytes) {
    if (row.size() != bytes.size())
      throw std::invalid_argument("an all-to-all needs a square matrix of bytes");
    for (const Bytes each : row) {
      if (!(each.base() >= 0.0)) throw std::invalid_argument("an all-to-all sends no negative bytes");
    }
  }
  std::vector<int> before;
  for (int step = 1; step < ranks; ++step) {
    std::vector<int> now;
    for (int rank = 0; rank < ranks; ++rank) {
      const int to = (rank + step) % ranks;
      const Bytes each = bytes[static_cast<size_t>(rank)][static_cast<size_t>(to)];
      if (each.base() > 0.0) {
        now.push_back(add(schedule, {rank, to, {rank * ranks + to}, false, false, rank, each, before}));
      }
    }
    if (!now.empty()) before = std::move(now);
  }
  return schedule;
}

BlockSchedule hierarchical_all_to_all(Bytes payload, int domains, int per_domain) {
  const int n = domains * per_domain;
  BlockSchedule schedule = empty_blocks(CollectiveOp::all_to_all, n, n * n);
  const Bytes chunk = payload / static_cast<double>(n);
  std::vector<std::vector<int>> gathered(static_cast<size_t>(n));
  for (int step = 1; step < per_domain; ++step) {
    for (int rank = 0; rank < n; ++rank) {
      const int domain = rank / per_domain;
      const int place = (rank % per_domain + step) % per_domain;
      BlockTransfer transfer{rank, domain * per_domain + place, {}, false, false, rank, chunk * domains, {}};
      for (int d = 0; d < domains; ++d) transfer.chunks.push_back(rank * n + d * per_domain + place);
      const auto to = static_cast<size_t>(transfer.to);
      gathered[to].push_back(add(schedule, std::move(transfer)));
    }
  }
  for (int step = 1; step < domains; ++step) {
    for (int rank = 0; rank < n; ++rank) {
      const int domain = rank / per_domain;
      const int to = (domain + step) % domains * per_domain + rank % per_domain;
      BlockTransfer transfer{
          rank, to, {}, false, true, n + rank, chunk * per_domain, gathered[static_cast<size_t>(rank)]};
      for (int i = 0; i < per_domain; ++i) transfer.chunks.push_back((domain * per_domain + i) * n + to);
      add(schedule, std::move(transfer));
    }
  }
  return schedule;
}

namespace {

/// Runs `core` between ranks 0 .. p-1, p the largest power of two, with the ranks beyond folded in and out.
/// core(schedule, p, ready): ready[rank] holds what the rank waits for and gets what the end waits for.
template <typename Core>
BlockSchedule folded(Bytes payload, int ranks, bool by_rank, Core core) {
  const int p = static_cast<int>(std::bit_floor(static_cast<unsigned>(std::max(1, ranks))));
  BlockSchedule schedule = empty_blocks(CollectiveOp::all_reduce, ranks, by_rank ? p : 1);
  const std::vector<int> all = range(0, schedule.chunks);
  std::vector<std::vector<int>> ready(static_cast<size_t>(ranks));
  for (int rank = p; rank < ranks; ++rank) {
    ready[static_cast<size_t>(rank - p)] = {
        add(schedule, {rank, rank - p, all, true, false, rank, payload, {}})};
  }
  core(schedule, p, ready);
  for (int rank = p; rank < ranks; ++rank) {
    add(schedule,
        {rank - p, rank, all, false, false, rank - p, payload, ready[static_cast<size_t>(rank - p)]});
  }
  return schedule;
}

}  // namespace

BlockSchedule recursive_doubling_all_reduce(Bytes payload, int ranks) {
  return folded(
      payload, ranks, false, [payload](BlockSchedule& schedule, int p, std::vector<std::vector<int>>& ready) {
        for (int distance = 1; distance < p; distance *= 2) {
          std::vector<std::vector<int>> next = ready;
          for (int rank = 0; rank < p; ++rank) {
            const int partner = rank ^ distance;
            next[static_cast<size_t>(partner)].push_back(
                add(schedule,
                    {rank, partner, {0}, true, false, rank, payload, ready[static_cast<size_t>(rank)]}));
          }
          ready = std::move(next);
        }
      });
}

BlockSchedule rabenseifner_all_reduce(Bytes payload, int ranks) {
  return folded(payload, ranks, true,
                [payload](BlockSchedule& schedule, int p, std::vector<std::vector<int>>& ready) {
                  const auto exchange = [&](int distance, bool reduces) {
                    std::vector<std::vector<int>> next = ready;
                    for (int rank = 0; rank < p; ++rank) {
                      const int partner = rank ^ distance;
                      // Blocks of `distance` chunks: halving sends the partner's, doubling its own.
                      const int owner = reduces ? partner : rank;
                      BlockTransfer transfer{rank,
                                             partner,
                                             range(owner / distance * distance, distance),
                                             reduces,
                                             false,
                                             rank,
                                             payload * distance / static_cast<double>(p),
                                             ready[static_cast<size_t>(rank)]};
                      next[static_cast<size_t>(partner)].push_back(add(schedule, std::move(transfer)));
                    }
                    ready = std::move(next);
                  };
                  for (int distance = p / 2; distance >= 1; distance /= 2) exchange(distance, true);
                  for (int distance = 1; distance < p; distance *= 2) exchange(distance, false);
                });
}

Seconds execute_on_links(const BlockSchedule& schedule, const LinkCost& inside, const LinkCost& across) {
  std::map<int, Seconds> link_free;
  std::vector<Seconds> arrival(schedule.transfers.size());
  Seconds last;
  for (size_t i = 0; i < schedule.transfers.size(); ++i) {
    const BlockTransfer& transfer = schedule.transfers[i];
    const LinkCost& cost = transfer.across ? across : inside;
    Seconds& link = link_free[transfer.link];
    Seconds start = link;
    for (const int before : transfer.after) start = max(start, arrival[static_cast<size_t>(before)]);
    arrival[i] = start + cost.alpha + transfer.bytes / cost.rate;
    link = arrival[i];
    last = max(last, arrival[i]);
  }
  return last;
}

}  // namespace orrery
