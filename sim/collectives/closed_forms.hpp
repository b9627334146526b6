#pragma once

#include "sim/base/quantity.hpp"

namespace orrery {

/// Closed forms of the schedules in schedules.hpp on idle links, in the postal model of Hockney ("The
/// communication challenge for MPP", Parallel Computing 20, 1994): a message of m bytes takes alpha + m /
/// rate.
///
/// Common to all: payload is nccl-tests' size (sim/collectives/collective_model.hpp); a ring or tree of one
/// rank and an empty payload cost zero; @throws std::invalid_argument if ranks or chunks < 1 or the rate is
/// not positive. Ring terms: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of
/// workstations", JPDC 69, 2009. Two-tree terms: Sanders, Speck and Traff, "Two-tree algorithms for full
/// bandwidth broadcast, reduction and scan", Parallel Computing 35, 2009.

/// 2(n-1) steps of payload/n bytes: t = 2(n-1) (alpha + payload / (n rate)).
Seconds ring_all_reduce_time(Bytes payload, int ranks, BytesPerSecond rate, Seconds alpha);
/// n-1 steps of payload/n bytes: t = (n-1) (alpha + payload / (n rate)).
Seconds ring_reduce_scatter_time(Bytes payload, int ranks, BytesPerSecond rate, Seconds alpha);
/// Same as reduce_scatter, the other way round.
Seconds ring_all_gather_time(Bytes payload, int ranks, BytesPerSecond rate, Seconds alpha);
/// A chain of n-1 links, the payload in equal chunks one behind the other:
///     t = (n - 2 + chunks) (alpha + payload / (chunks rate))
Seconds ring_broadcast_time(Bytes payload, int ranks, int chunks, BytesPerSecond rate, Seconds alpha);
/// A binary tree of depth ceil(log2 n), every edge with its own link:
///     t = (ceil(log2 n) - 1 + chunks) (alpha + payload / (chunks rate))
Seconds tree_broadcast_time(Bytes payload, int ranks, int chunks, BytesPerSecond rate, Seconds alpha);
/// Two complementary binary trees, each with half of the payload in `chunks` chunks and its own link an edge.
/// Chunk by chunk up and down again:
///     t = (2 ceil(log2 n) - 1 + chunks) (alpha + payload / (2 chunks rate))
Seconds double_tree_all_reduce_time(Bytes payload, int ranks, int chunks, BytesPerSecond rate, Seconds alpha);
/// t = alpha + payload / rate.
Seconds send_receive_time(Bytes payload, BytesPerSecond rate, Seconds alpha);

/// Depth of the binary tree over n ranks: ceil(log2 n).
int tree_depth(int ranks);

}  // namespace orrery
