#include "sim/collectives/schedules.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

namespace orrery {
namespace {

void check(int ranks, int chunks) {
  if (ranks < 1)
    throw std::invalid_argument("a schedule needs at least one rank, found " + std::to_string(ranks));
  if (chunks < 1)
    throw std::invalid_argument("a schedule needs at least one chunk, found " + std::to_string(chunks));
}

CollectiveSchedule empty_schedule(CollectiveOp op, int ranks, int chunks) {
  check(ranks, chunks);
  CollectiveSchedule schedule;
  schedule.op = op;
  schedule.ranks = ranks;
  schedule.chunks = chunks;
  return schedule;
}

int add(CollectiveSchedule& schedule, size_t step, Transfer transfer) {
  const int number = static_cast<int>(schedule.transfers.size());
  if (schedule.steps.size() <= step) schedule.steps.resize(step + 1);
  schedule.steps[step].push_back(number);
  schedule.transfers.push_back(std::move(transfer));
  return number;
}

/// `phases` times n-1 ring steps. In step s rank r passes on the chunk that it received in the step before;
/// the first `reducing` steps add up. `offset`: the chunk that rank r sends in step 0 is r + offset.
CollectiveSchedule ring_steps(CollectiveOp op, Bytes payload, int ranks, int steps, int reducing,
                              int offset) {
  CollectiveSchedule schedule = empty_schedule(op, ranks, ranks);
  std::vector<int> arrived(static_cast<size_t>(ranks), -1);  // the transfer that each rank received last
  for (int step = 0; step < steps; ++step) {
    std::vector<int> next(static_cast<size_t>(ranks), -1);
    for (int rank = 0; rank < ranks; ++rank) {
      Transfer transfer;
      transfer.from = rank;
      transfer.to = (rank + 1) % ranks;
      transfer.chunk = ((rank + offset - step) % ranks + ranks) % ranks;
      transfer.reduces = step < reducing;
      transfer.bytes = payload / static_cast<double>(ranks);
      if (arrived[static_cast<size_t>(rank)] >= 0) transfer.after = {arrived[static_cast<size_t>(rank)]};
      const auto receiver = static_cast<size_t>(transfer.to);
      next[receiver] = add(schedule, static_cast<size_t>(step), std::move(transfer));
    }
    arrived = std::move(next);
  }
  return schedule;
}

std::vector<int> depths_of(const std::vector<int>& parents) {
  std::vector<int> depths(parents.size(), 0);
  for (size_t rank = 0; rank < parents.size(); ++rank) {
    for (int at = parents[rank]; at >= 0; at = parents[static_cast<size_t>(at)]) ++depths[rank];
  }
  return depths;
}

/// Ranks ordered by depth, the root first.
std::vector<int> by_depth(const std::vector<int>& depths) {
  std::vector<int> order(depths.size());
  for (size_t rank = 0; rank < depths.size(); ++rank) order[rank] = static_cast<int>(rank);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return depths[static_cast<size_t>(a)] < depths[static_cast<size_t>(b)];
  });
  return order;
}

/// One chunk to all ranks below the root; the first sends wait for `ready`. Steps count from first_step.
void send_down(CollectiveSchedule& schedule, const std::vector<int>& parents, int channel, int chunk,
               Bytes bytes, size_t first_step, const std::vector<int>& ready) {
  const std::vector<int> depths = depths_of(parents);
  std::vector<int> arrived(parents.size(), -1);
  for (const int rank : by_depth(depths)) {
    const int parent = parents[static_cast<size_t>(rank)];
    if (parent < 0) continue;
    Transfer transfer{parent, rank, chunk, channel, false, bytes, {}};
    const int before = arrived[static_cast<size_t>(parent)];
    transfer.after = before >= 0 ? std::vector<int>{before} : ready;
    const auto below = static_cast<size_t>(depths[static_cast<size_t>(rank)]) - 1;
    arrived[static_cast<size_t>(rank)] = add(schedule, first_step + below, std::move(transfer));
  }
}

/// One chunk of all ranks added up on the way to the root. Returns the transfers that the root waits for.
std::vector<int> reduce_up(CollectiveSchedule& schedule, const std::vector<int>& parents, int channel,
                           int chunk, Bytes bytes, size_t first_step) {
  const std::vector<int> depths = depths_of(parents);
  const int deepest = *std::max_element(depths.begin(), depths.end());
  std::vector<std::vector<int>> arrived(parents.size());
  std::vector<int> order = by_depth(depths);
  std::reverse(order.begin(), order.end());
  std::vector<int> at_root;
  for (const int rank : order) {
    const int parent = parents[static_cast<size_t>(rank)];
    if (parent < 0) {
      at_root = arrived[static_cast<size_t>(rank)];
      continue;
    }
    Transfer transfer{rank, parent, chunk, channel, true, bytes, arrived[static_cast<size_t>(rank)]};
    const auto above = static_cast<size_t>(deepest - depths[static_cast<size_t>(rank)]);
    arrived[static_cast<size_t>(parent)].push_back(add(schedule, first_step + above, std::move(transfer)));
  }
  return at_root;
}

}  // namespace

std::vector<int> binary_tree_parents(int ranks) {
  check(ranks, 1);
  std::vector<int> parents(static_cast<size_t>(ranks), -1);
  for (int rank = 1; rank < ranks; ++rank) {
    const int lowest = rank & -rank;
    const int without = rank - lowest;
    const int higher = without | (lowest << 1);
    parents[static_cast<size_t>(rank)] = higher < ranks ? higher : without;
  }
  return parents;
}

std::vector<int> complementary_tree_parents(int ranks) {
  const std::vector<int> parents = binary_tree_parents(ranks);
  const auto image = [ranks](int rank) { return ranks % 2 == 0 ? ranks - 1 - rank : (rank + 1) % ranks; };
  std::vector<int> other(parents.size(), -1);
  for (int rank = 0; rank < ranks; ++rank) {
    const int parent = parents[static_cast<size_t>(rank)];
    if (parent >= 0) other[static_cast<size_t>(image(rank))] = image(parent);
  }
  return other;
}

CollectiveSchedule ring_all_reduce(Bytes payload, int ranks) {
  return ring_steps(CollectiveOp::all_reduce, payload, ranks, 2 * (ranks - 1), ranks - 1, 0);
}

CollectiveSchedule ring_reduce_scatter(Bytes payload, int ranks) {
  // Offset -1: the last chunk that rank r receives, after n-1 steps, is chunk r.
  return ring_steps(CollectiveOp::reduce_scatter, payload, ranks, ranks - 1, ranks - 1, ranks - 1);
}

CollectiveSchedule ring_all_gather(Bytes payload, int ranks) {
  return ring_steps(CollectiveOp::all_gather, payload, ranks, ranks - 1, 0, 0);
}

CollectiveSchedule ring_broadcast(Bytes payload, int ranks, int chunks) {
  CollectiveSchedule schedule = empty_schedule(CollectiveOp::broadcast, ranks, chunks);
  std::vector<int> chain(static_cast<size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) chain[static_cast<size_t>(rank)] = rank - 1;
  for (int chunk = 0; chunk < chunks; ++chunk) {
    send_down(schedule, chain, 0, chunk, payload / static_cast<double>(chunks), static_cast<size_t>(chunk),
              {});
  }
  return schedule;
}

CollectiveSchedule tree_broadcast(Bytes payload, int ranks, int chunks) {
  CollectiveSchedule schedule = empty_schedule(CollectiveOp::broadcast, ranks, chunks);
  const std::vector<int> parents = binary_tree_parents(ranks);
  for (int chunk = 0; chunk < chunks; ++chunk) {
    send_down(schedule, parents, 0, chunk, payload / static_cast<double>(chunks), static_cast<size_t>(chunk),
              {});
  }
  return schedule;
}

CollectiveSchedule double_tree_all_reduce(Bytes payload, int ranks, int chunks) {
  CollectiveSchedule schedule = empty_schedule(CollectiveOp::all_reduce, ranks, 2 * chunks);
  if (ranks == 1) return schedule;
  const std::vector<std::vector<int>> trees = {binary_tree_parents(ranks), complementary_tree_parents(ranks)};
  for (int chunk = 0; chunk < 2 * chunks; ++chunk) {
    const int channel = chunk % 2;
    const std::vector<int>& parents = trees[static_cast<size_t>(channel)];
    const std::vector<int> depths = depths_of(parents);
    const auto depth = static_cast<size_t>(*std::max_element(depths.begin(), depths.end()));
    const auto turn = static_cast<size_t>(chunk / 2);
    const Bytes bytes = payload / (2.0 * chunks);
    const std::vector<int> ready = reduce_up(schedule, parents, channel, chunk, bytes, turn);
    send_down(schedule, parents, channel, chunk, bytes, turn + depth, ready);
  }
  return schedule;
}

CollectiveSchedule send_receive(Bytes payload, int from, int to) {
  if (from < 0 || to < 0 || from == to) {
    throw std::invalid_argument("send_receive needs two different ranks, found " + std::to_string(from) +
                                " and " + std::to_string(to));
  }
  CollectiveSchedule schedule = empty_schedule(CollectiveOp::send_receive, std::max(from, to) + 1, 1);
  schedule.root = from;
  add(schedule, 0, Transfer{from, to, 0, 0, false, payload, {}});
  return schedule;
}

Seconds execute_on_idle_links(const CollectiveSchedule& schedule, BytesPerSecond rate, Seconds alpha) {
  std::map<std::tuple<int, int, int>, Seconds> link_free;
  std::vector<Seconds> arrival(schedule.transfers.size());
  Seconds last;
  for (size_t i = 0; i < schedule.transfers.size(); ++i) {
    const Transfer& transfer = schedule.transfers[i];
    Seconds& link = link_free[{transfer.from, transfer.to, transfer.channel}];
    Seconds start = link;
    for (const int before : transfer.after) start = max(start, arrival[static_cast<size_t>(before)]);
    arrival[i] = start + alpha + transfer.bytes / rate;
    link = arrival[i];
    last = max(last, arrival[i]);
  }
  return last;
}

}  // namespace orrery
