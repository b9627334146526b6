#pragma once

#include <vector>

#include "sim/base/quantity.hpp"
#include "sim/workload/collective.hpp"

namespace orrery {

/// One message of a collective: a chunk from one rank to another.
struct Transfer {
  int from = 0;
  int to = 0;
  int chunk = 0;    ///< of CollectiveSchedule::chunks
  int channel = 0;  ///< transfers of one channel, from and to share a link; channels have links of their own
  bool reduces = false;  ///< the receiver adds it to what it holds; otherwise it replaces that
  Bytes bytes;
  std::vector<int>
      after;  ///< transfers (numbers in CollectiveSchedule::transfers) that must have arrived first
};

/// An algorithm as data: what each rank sends to whom and when it may.
struct CollectiveSchedule {
  CollectiveOp op = CollectiveOp::all_reduce;
  int ranks = 1;
  int chunks = 1;  ///< the payload is cut into so many; reduce_scatter leaves chunk r on rank r
  int root = 0;    ///< broadcast and send_receive start there
  std::vector<Transfer> transfers;      ///< step by step; `after` looks back only
  std::vector<std::vector<int>> steps;  ///< numbers of the transfers that run together on an idle network
};

/// Schedules over ranks 0 .. n-1. One rank gives no transfers.
/// @throws std::invalid_argument if ranks or chunks < 1, or (send_receive) the two ranks are the same or
/// negative
CollectiveSchedule ring_all_reduce(Bytes payload, int ranks);
CollectiveSchedule ring_reduce_scatter(Bytes payload, int ranks);
CollectiveSchedule ring_all_gather(Bytes payload, int ranks);
/// The payload in `chunks` chunks down the chain 0, 1, ..., n-1.
CollectiveSchedule ring_broadcast(Bytes payload, int ranks, int chunks);
CollectiveSchedule tree_broadcast(Bytes payload, int ranks, int chunks);
/// Two binary trees with half of the payload each (2 x chunks chunks in all), reduced to the root and sent
/// down again; a rank that has children in one tree is a leaf of the other.
CollectiveSchedule double_tree_all_reduce(Bytes payload, int ranks, int chunks);
CollectiveSchedule send_receive(Bytes payload, int from, int to);

/// Parents in the binary tree that halves its rank range: rank 0 is the root (-1), every rank's parent lies
/// one bit higher. Depth ceil(log2 n), at most two children.
std::vector<int> binary_tree_parents(int ranks);
/// The complementary tree: the same one with the ranks mirrored (n even) or shifted by one (n odd).
std::vector<int> complementary_tree_parents(int ranks);

/// When the last transfer arrives if every (from, to, channel) has a link of this rate, a message costs
/// alpha, and messages on one link follow one another. O(transfers).
Seconds execute_on_idle_links(const CollectiveSchedule& schedule, BytesPerSecond rate, Seconds alpha);

}  // namespace orrery
