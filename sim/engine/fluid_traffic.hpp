#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "sim/base/quantity.hpp"
#include "sim/engine/fluid_network.hpp"
#include "sim/network/topology.hpp"

namespace orrery {

/// A flow's way through the fabric as the fluid network sees it.
struct FluidRoute {
  std::vector<FluidLoad> loads;
  double latency_s = 0.0;    ///< of the links, weighted by their shares: one way
  bool on_fabric = false;    ///< crosses a cable of the fabric
  bool sprayed = false;      ///< split over several links somewhere
  double line_rate = 0.0;    ///< B/s: the most that its links carry of its payload when it has them alone
  double fabric_rate = 0.0;  ///< the same of the fabric's cables, where packets are sprayed
};
/// @throws std::runtime_error if there is no path
FluidRoute fluid_route(const Topology& topology, VertexId from, VertexId to, std::uint64_t flow);

/// Bytes from one endpoint (GPU or storage) to another.
struct TrafficFlow {
  VertexId from = -1;
  VertexId to = -1;
  Bytes bytes;
  Seconds start;
};

struct TrafficOptions {
  FluidOptions fluid{0.002};
  /// A completion is the sender's: the last acknowledgement has come back (what packet simulators and RDMA
  /// completion queues report). False: the last byte has arrived.
  bool acknowledged = true;
  /// Draw of the sprayed flows' efficiencies (the draw of ECMP paths is Topology::set_hash_seed).
  std::uint64_t seed = 1;
  /// Cut the time into so many equal parts for TrafficTimes::usage; 0: none.
  int usage_parts = 0;
};

struct LinkTraffic {
  LinkId link = 0;
  double bytes = 0.0;
  double capacity = 0.0;  ///< B/s of payload (link_capacity)
  double mean_use =
      0.0;              ///< bytes over what it could have carried from the first start to the last completion
  double busy_s = 0.0;  ///< how long it was at its capacity
};

struct TrafficTimes {
  std::vector<double> completion_s;        ///< by flow, from its start
  double span_s = 0.0;                     ///< from the first start to the last completion
  std::vector<LinkTraffic> links;          ///< those that carried something, by rising LinkId
  std::vector<std::vector<double>> usage;  ///< by entry of `links`: mean share of the capacity in each part
  std::int64_t solves = 0;
  std::int64_t collisions = 0;  ///< flows that took more than 1/0.6 of their time alone
};

/// Any set of flows on a fabric, each: ramp -> latency of its route -> a fluid flow -> the acknowledgement's
/// way back.
///
/// - Cables carry what link_capacity() says.
/// - A flow on one path may use all of it. A sprayed one reaches its own share of its cables' rate, drawn
/// evenly from
///   [2e - 1, 1] for a spray efficiency e: packets that meet by chance at the spines cost some flows nothing
///   and others twice the mean. Assumed: no measurement gives the law. It was chosen in sight of the mean and
///   maximum of the packet-level permutations that tests/validation/packets compares with, so that those say
///   that it can hold, not that it holds elsewhere.
/// - The ramp (one lost round trip or so while the transport opens its window) counts for flows that cross
/// the
///   fabric, not for NVLink or PCIe inside a node.
class FluidTraffic {
 public:
  /// The topology must outlive it and keep its routing meanwhile.
  explicit FluidTraffic(const Topology& topology, TrafficOptions options = {});

  /// Flows between the same two endpoints are told apart by the hash in the order in which they are added.
  /// @throws std::runtime_error if there is no path; std::invalid_argument for a flow to itself, without
  /// bytes or with a negative start
  void add(const TrafficFlow& flow);
  TrafficTimes run() const;

 private:
  struct Routed {
    std::int32_t flow_class;
    double bytes, start_s, ready_s, back_s;
    double alone_s;  ///< completion if it were the only flow
  };
  struct Class {
    std::vector<FluidLoad> loads;
    double bound;
  };
  std::vector<double> simulate(FluidNetwork& network, std::vector<std::vector<double>>* usage, double first,
                               double span) const;

  const Topology& topology_;
  TrafficOptions options_;
  std::vector<double> capacities_;
  std::vector<Routed> flows_;
  std::vector<Class> classes_;
  std::map<std::pair<VertexId, VertexId>, std::uint64_t> sent_between_;
  std::map<std::pair<double, std::vector<std::pair<std::int32_t, double>>>, std::int32_t> class_of_;
};

}  // namespace orrery
