#pragma once

#include <vector>

#include "sim/base/quantity.hpp"
#include "sim/workload/collective.hpp"

namespace orrery {

/// A message of several chunks at once.
struct BlockTransfer {
  int from = 0, to = 0;     ///< ranks, or switches (numbers from CollectiveSchedule ranks on)
  std::vector<int> chunks;  ///< what is sent of each
  bool reduces = false;     ///< the receiver adds it to what it holds; otherwise it replaces that
  bool across = false;      ///< over the network between domains rather than inside one
  int link = 0;             ///< messages of one link follow one another in their order
  Bytes bytes;
  std::vector<int> after;  ///< transfers that must have arrived first; they look back only
};

/// An algorithm as data, like CollectiveSchedule, for those that send several chunks in one message or add up
/// in switches. Chunks of an all-to-all are numbered sender x ranks + receiver.
struct BlockSchedule {
  CollectiveOp op = CollectiveOp::all_reduce;
  int ranks = 1;
  int switches = 0;  ///< vertices ranks .. ranks + switches - 1: they hold nothing at the start
  int chunks = 1;
  std::vector<BlockTransfer> transfers;
};

/// PAT (NCCL 2.23): ceil(log2 n) steps, the farthest peers first with one chunk, the nearest last with the
/// most; reduce_scatter is its mirror image. Chunk r starts (all_gather) or ends (reduce_scatter) on rank r.
BlockSchedule pat_all_gather(Bytes payload, int ranks);
BlockSchedule pat_reduce_scatter(Bytes payload, int ranks);

/// NVLink SHARP on one switch: every rank pushes every chunk up, the switch adds them and hands chunk r to
/// rank r, which sends it back for the switch to multicast: (1 + 1/n) of the payload each way on every link.
BlockSchedule nvls_all_reduce(Bytes payload, int ranks);
/// The same in every domain, and a binary tree over the domains in between: rank h of a domain carries chunk
/// h.
BlockSchedule nvls_tree_all_reduce(Bytes payload, int domains, int per_domain);
/// SHARP in the network's switch: the payload once up and once down, in `chunks` chunks.
BlockSchedule collnet_all_reduce(Bytes payload, int ranks, int chunks);

/// Reduce-scatter round the ring of a domain, all-reduce round the ring of the same place in each domain,
/// all-gather round the domain.
BlockSchedule hierarchical_all_reduce(Bytes payload, int domains, int per_domain);

/// payload is what a rank sends in all, its own share included. n-1 steps; in step s rank i sends to i + s,
/// each rank one message after another.
BlockSchedule pairwise_all_to_all(Bytes payload, int ranks);
/// bytes[i][j] from rank i to rank j. Steps as above; one begins when the one before it has ended everywhere.
/// @throws std::invalid_argument unless the matrix is square and not negative
BlockSchedule pairwise_all_to_all_v(const std::vector<std::vector<Bytes>>& bytes);
/// First inside each domain, gathered by the place that the receiver has in its domain, then across between
/// the same places: (N-1) larger messages over the network instead of N r - r small ones.
BlockSchedule hierarchical_all_to_all(Bytes payload, int domains, int per_domain);

/// MPI's all-reduce of short payloads: partners at distance 1, 2, 4 ... exchange everything. Ranks beyond the
/// largest power of two first add theirs to a partner and receive the result from it at the end.
BlockSchedule recursive_doubling_all_reduce(Bytes payload, int ranks);
/// MPI's all-reduce of long ones: recursive halving, then recursive doubling of the pieces.
BlockSchedule rabenseifner_all_reduce(Bytes payload, int ranks);

/// Cost of a link.
struct LinkCost {
  BytesPerSecond rate;
  Seconds alpha;  ///< of each message
};
/// When the last transfer arrives if nothing else uses the links: a message waits for those before it on its
/// link and for what it needs. O(transfers).
Seconds execute_on_links(const BlockSchedule& schedule, const LinkCost& inside, const LinkCost& across);

}  // namespace orrery
