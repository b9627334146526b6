#include "sim/engine/fluid_traffic.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "sim/base/hash.hpp"
#include "sim/engine/link_capacity.hpp"

namespace orrery {
namespace {

/// A flow below this share of what it would reach alone has met others (Done when of the collisions test).
constexpr double kCollided = 0.6;

/// Evenly in [0, 1), the same on any machine.
double draw(std::uint64_t seed, VertexId from, VertexId to, std::uint64_t flow) {
  const std::uint64_t pair =
      (static_cast<std::uint64_t>(from) << 32) | static_cast<std::uint64_t>(static_cast<std::uint32_t>(to));
  return static_cast<double>(mixed_bits(mixed_bits(mixed_bits(seed) ^ pair) ^ flow) >> 11) * 0x1p-53;
}

}  // namespace

FluidRoute fluid_route(const Topology& topology, VertexId from, VertexId to, std::uint64_t flow) {
  FluidRoute route;
  route.line_rate = route.fabric_rate = std::numeric_limits<double>::infinity();
  for (const RouteLink& each : topology.spread(from, to, flow)) {
    const auto link = static_cast<size_t>(each.link);
    route.loads.push_back({each.link, each.share});
    route.latency_s += each.share * topology.links()[link].latency.base();
    route.on_fabric = route.on_fabric || on_fabric(topology, each.link);
    route.sprayed = route.sprayed || each.share < 1.0 - 1e-9;
    const double rate = payload_rate(topology, each.link).base() / each.share;
    route.line_rate = std::min(route.line_rate, rate);
    if (on_fabric(topology, each.link)) route.fabric_rate = std::min(route.fabric_rate, rate);
  }
  return route;
}

FluidTraffic::FluidTraffic(const Topology& topology, TrafficOptions options)
    : topology_(topology), options_(options), capacities_(link_capacities(topology)) {}

void FluidTraffic::add(const TrafficFlow& flow) {
  if (flow.from == flow.to) throw std::invalid_argument("a flow needs two different endpoints");
  if (!(flow.bytes.base() > 0.0) || !(flow.start.base() >= 0.0)) {
    throw std::invalid_argument("a flow needs bytes above zero and a start from zero on");
  }
  const std::uint64_t number = sent_between_[{flow.from, flow.to}]++;
  FluidRoute route = fluid_route(topology_, flow.from, flow.to, number);
  double bound = route.line_rate;
  const double lost = 1.0 - topology_.spray_efficiency();
  if (route.sprayed) {
    const double reached = 1.0 - 2.0 * lost * draw(options_.seed, flow.from, flow.to, number);
    bound = std::min(bound, route.fabric_rate * reached);
  }
  std::vector<std::pair<std::int32_t, double>> key;
  for (const FluidLoad& load : route.loads) key.emplace_back(load.link, load.weight);
  const auto [known, added] =
      class_of_.try_emplace({bound, std::move(key)}, static_cast<std::int32_t>(classes_.size()));
  if (added) classes_.push_back({std::move(route.loads), bound});
  const double ramp = route.on_fabric ? topology_.ramp().base() : 0.0;
  const double back = options_.acknowledged ? route.latency_s : 0.0;
  const double alone = ramp + route.latency_s + flow.bytes.base() / bound + back;
  flows_.push_back({known->second, flow.bytes.base(), flow.start.base(),
                    flow.start.base() + ramp + route.latency_s, back, alone});
}

/// Ends of the flows' last bytes. With `usage`, also the bytes that each link carried in each part of the
/// span.
std::vector<double> FluidTraffic::simulate(FluidNetwork& network, std::vector<std::vector<double>>* usage,
                                           double first, double span) const {
  for (const Class& each : classes_) network.add_class(each.loads, each.bound);
  std::vector<std::int64_t> order(flows_.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [this](std::int64_t a, std::int64_t b) {
    return flows_[static_cast<size_t>(a)].ready_s < flows_[static_cast<size_t>(b)].ready_s;
  });
  std::vector<double> end(flows_.size(), 0.0);
  std::vector<std::int64_t> ended;
  const int parts = usage != nullptr ? options_.usage_parts : 0;
  int part = 0;
  std::vector<double> before(usage != nullptr ? capacities_.size() : 0, 0.0);
  for (size_t next = 0; next < order.size() || network.live() > 0 || part < parts;) {
    const double starts = next < order.size() ? flows_[static_cast<size_t>(order[next])].ready_s
                                              : std::numeric_limits<double>::infinity();
    const double closes =
        part < parts ? first + span * (part + 1) / parts : std::numeric_limits<double>::infinity();
    const double now = std::min({starts, closes, network.next_time()});
    ended.clear();
    network.advance(now, ended);
    for (const std::int64_t flow : ended) end[static_cast<size_t>(flow)] = now;
    if (now == closes) {
      for (size_t link = 0; link < before.size(); ++link) {
        const double crossed = network.link_bytes(static_cast<std::int32_t>(link));
        (*usage)[link].push_back(crossed - before[link]);
        before[link] = crossed;
      }
      ++part;
    }
    while (next < order.size() && flows_[static_cast<size_t>(order[next])].ready_s <= now) {
      const Routed& flow = flows_[static_cast<size_t>(order[next])];
      network.start(flow.flow_class, flow.bytes, order[next]);
      ++next;
    }
  }
  return end;
}

TrafficTimes FluidTraffic::run() const {
  TrafficTimes times;
  FluidNetwork network(capacities_, options_.fluid);
  const std::vector<double> end = simulate(network, nullptr, 0.0, 0.0);
  double first = std::numeric_limits<double>::infinity();
  double last = 0.0;
  std::vector<double> crossed(capacities_.size(), 0.0);
  for (size_t i = 0; i < flows_.size(); ++i) {
    const Routed& flow = flows_[i];
    const double completed = end[i] + flow.back_s;
    times.completion_s.push_back(completed - flow.start_s);
    if (flow.alone_s < kCollided * times.completion_s.back()) ++times.collisions;
    first = std::min(first, flow.start_s);
    last = std::max(last, completed);
    // Sums of what was sent, not the integral of rates: exact to the last byte.
    for (const FluidLoad& load : classes_[static_cast<size_t>(flow.flow_class)].loads) {
      crossed[static_cast<size_t>(load.link)] += load.weight * flow.bytes;
    }
  }
  if (flows_.empty()) return times;
  times.span_s = last - first;
  times.solves = network.solves();
  for (size_t link = 0; link < crossed.size(); ++link) {
    if (crossed[link] == 0.0) continue;
    times.links.push_back({static_cast<LinkId>(link), crossed[link], capacities_[link],
                           crossed[link] / (capacities_[link] * times.span_s),
                           network.busy_s(static_cast<std::int32_t>(link))});
  }
  if (options_.usage_parts > 0) {
    FluidNetwork again(capacities_, options_.fluid);
    std::vector<std::vector<double>> in_part(capacities_.size());
    simulate(again, &in_part, first, times.span_s);
    const double length = times.span_s / options_.usage_parts;
    for (const LinkTraffic& link : times.links) {
      std::vector<double>& parts =
          times.usage.emplace_back(std::move(in_part[static_cast<size_t>(link.link)]));
      for (double& part : parts) part /= link.capacity * length;
    }
  }
  return times;
}

}  // namespace orrery
