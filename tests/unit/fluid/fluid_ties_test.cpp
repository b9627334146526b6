// Many classes that one link holds share one rate; what they say must be what a plain progressive filling
// says.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <random>

#include "sim/engine/fluid_network.hpp"

namespace orrery {
namespace {

constexpr double kNone = std::numeric_limits<double>::infinity();

struct Sent {
  std::vector<std::int32_t> links;
  double bound, bytes, start;
};

struct Outcome {
  std::vector<double> ends;        // by flow
  std::vector<double> link_bytes;  // by link
  std::vector<double> busy;
};

/// All rates found again from nothing at every start and end: raise those of all that are not held, by what
/// the next link or bound allows (Bertsekas and Gallager, Data Networks, section 6.5.2).
std::vector<double> plain_filling(const std::vector<double>& capacity, const std::vector<Sent>& flows,
                                  const std::vector<size_t>& live) {
  std::vector<double> rate(flows.size(), 0.0);
  std::vector<double> left = capacity;
  std::vector<size_t> rising = live;
  double level = 0.0;
  while (!rising.empty()) {
    std::vector<int> users(capacity.size(), 0);
    for (const size_t flow : rising) {
      for (const std::int32_t link : flows[flow].links) ++users[static_cast<size_t>(link)];
    }
    double more = kNone;
    for (size_t link = 0; link < capacity.size(); ++link) {
      if (users[link] > 0) more = std::min(more, left[link] / users[link]);
    }
    for (const size_t flow : rising) more = std::min(more, flows[flow].bound - level);
    level += more;
    for (size_t link = 0; link < capacity.size(); ++link) left[link] -= users[link] * more;
    std::erase_if(rising, [&](size_t flow) {
      rate[flow] = level;
      return flows[flow].bound - level <= 1e-12 * level ||
             std::any_of(flows[flow].links.begin(), flows[flow].links.end(), [&](std::int32_t link) {
               return left[static_cast<size_t>(link)] <= 1e-12 * capacity[static_cast<size_t>(link)];
             });
    });
  }
  return rate;
}

Outcome plain(const std::vector<double>& capacity, const std::vector<Sent>& flows) {
  Outcome result{std::vector<double>(flows.size(), 0.0), std::vector<double>(capacity.size(), 0.0),
                 std::vector<double>(capacity.size(), 0.0)};
  std::vector<double> left;
  for (const Sent& flow : flows) left.push_back(flow.bytes);
  std::vector<size_t> live, waiting;
  for (size_t i = 0; i < flows.size(); ++i) waiting.push_back(i);
  double now = 0.0;
  while (!live.empty() || !waiting.empty()) {
    std::erase_if(waiting, [&](size_t flow) {
      if (flows[flow].start > now) return false;
      live.push_back(flow);
      return true;
    });
    const std::vector<double> rate = plain_filling(capacity, flows, live);
    double next = kNone;
    for (const size_t flow : live) next = std::min(next, now + left[flow] / rate[flow]);
    for (const size_t flow : waiting) next = std::min(next, flows[flow].start);
    std::vector<double> load(capacity.size(), 0.0);
    for (const size_t flow : live) {
      for (const std::int32_t link : flows[flow].links) load[static_cast<size_t>(link)] += rate[flow];
    }
    for (size_t link = 0; link < load.size(); ++link) {
      result.link_bytes[link] += load[link] * (next - now);
      if (load[link] >= capacity[link] * (1.0 - 1e-6)) result.busy[link] += next - now;
    }
    for (const size_t flow : live) left[flow] -= rate[flow] * (next - now);
    now = next;
    std::erase_if(live, [&](size_t flow) {
      if (left[flow] > 1e-9 * flows[flow].bytes) return false;
      result.ends[flow] = now;
      return true;
    });
  }
  return result;
}

Outcome fluid(const std::vector<double>& capacity, const std::vector<Sent>& flows, FluidNetwork& network) {
  Outcome result{std::vector<double>(flows.size(), 0.0), {}, {}};
  std::vector<size_t> order;
  std::vector<std::int32_t> classes;
  for (const Sent& flow : flows) {
    std::vector<FluidLoad> loads;
    for (const std::int32_t link : flow.links) loads.push_back({link, 1.0});
    order.push_back(classes.size());
    classes.push_back(network.add_class(loads, flow.bound));
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return flows[a].start < flows[b].start; });
  std::vector<std::int64_t> ended;
  for (size_t next = 0; next < order.size() || network.live() > 0;) {
    const double start = next < order.size() ? flows[order[next]].start : kNone;
    const double time = std::min(start, network.next_time());
    ended.clear();
    network.advance(time, ended);
    for (const std::int64_t flow : ended) result.ends[static_cast<size_t>(flow)] = time;
    for (; next < order.size() && flows[order[next]].start <= time; ++next) {
      network.start(classes[order[next]], flows[order[next]].bytes, static_cast<std::int64_t>(order[next]));
    }
  }
  for (std::int32_t link = 0; link < static_cast<std::int32_t>(capacity.size()); ++link) {
    result.link_bytes.push_back(network.link_bytes(link));
    result.busy.push_back(network.busy_s(link));
  }
  return result;
}

TEST(FluidTies, AnIncastCostsAHeapAndNotASolveAnEnd) {
  // Senders of their own link each into one receiver of 1 B/s. Shared alike, the k-th smallest of n messages
  // ends when it and the smaller ones have passed, and as much of each larger one: sum_k + (n - k) s_k.
  constexpr int kSenders = 20'000;
  std::vector<double> capacity(kSenders, 1.0);
  capacity.push_back(1.0);
  std::vector<Sent> flows;
  for (int i = 0; i < kSenders; ++i) {
    flows.push_back({{i, kSenders}, kNone, 1.0 + (static_cast<long long>(i) * 7919 % kSenders), 0.0});
  }
  FluidNetwork network(capacity);
  const Outcome outcome = fluid(capacity, flows, network);
  double sum = 0.0;
  for (const Sent& flow : flows) {
    const double smaller = flow.bytes * (flow.bytes + 1.0) / 2.0;  // 1 + 2 + ... up to it
    sum += flow.bytes;
    const double end = smaller + (kSenders - flow.bytes) * flow.bytes;
    EXPECT_NEAR(outcome.ends[static_cast<size_t>(&flow - flows.data())], end, 1e-9 * end);
  }
  for (int i = 0; i < kSenders; ++i) {
    const auto sender = static_cast<size_t>(i);
    ASSERT_NEAR(outcome.link_bytes[sender], flows[sender].bytes, 1e-6);
  }
  EXPECT_NEAR(outcome.link_bytes[kSenders], sum, 1e-9 * sum);
  EXPECT_NEAR(outcome.busy[kSenders], sum, 1e-9 * sum);  // B at 1 B/s
  EXPECT_LE(network.classes_solved(), 4 * kSenders);     // 200 million if each end solved all that is left
}

TEST(FluidTies, SayWhatPlainFillingSays) {
  // Two receivers behind a leaf of two uplinks, senders of a link each, some slow, some that start late and
  // some of both receivers' classes: ties come, go, meet and end in all ways.
  std::mt19937_64 random(5);
  std::uniform_real_distribution<double> unit(0.0, 1.0);
  for (int trial = 0; trial < 60; ++trial) {
    constexpr std::int32_t kSenders = 40;
    std::vector<double> capacity(kSenders, 1.0);
    const std::int32_t uplinks = kSenders, receivers = kSenders + 2;
    const double uplink = trial % 3 == 0 ? 4.0 : 0.3 + unit(random);
    capacity.insert(capacity.end(), {uplink, uplink, 1.0, trial % 2 == 0 ? 1.0 : 0.6});
    std::vector<Sent> flows;
    const bool late = trial % 4 == 3;
    for (std::int32_t i = 0; i < kSenders; ++i) {
      const std::int32_t receiver = receivers + (unit(random) < (trial % 5 == 0 ? 0.5 : 0.05) ? 1 : 0);
      const double bound = trial % 3 == 1 && unit(random) < 0.3 ? 0.02 + 0.2 * unit(random) : kNone;
      const double start = late && unit(random) < 0.2 ? 10.0 * unit(random) : 0.0;
      const double bytes = unit(random) < 0.2 ? 1.0 : 0.2 + unit(random);
      flows.push_back({{i, uplinks + i % 2, receiver}, bound, bytes, start});
    }
    FluidNetwork network(capacity);
    const Outcome expected = plain(capacity, flows);
    const Outcome found = fluid(capacity, flows, network);
    for (size_t i = 0; i < flows.size(); ++i) {
      ASSERT_NEAR(found.ends[i], expected.ends[i], 1e-8 * expected.ends[i]) << trial << " flow " << i;
    }
    for (size_t i = 0; i < capacity.size(); ++i) {
      ASSERT_NEAR(found.link_bytes[i], expected.link_bytes[i], 1e-7) << trial << " link " << i;
      ASSERT_NEAR(found.busy[i], expected.busy[i], 1e-6) << trial << " link " << i;
    }
  }
}

TEST(FluidTies, PutOffEndsAsOthersDo) {
  // As many classes of one link as flows, against as many flows of one class: the same with a tolerance.
  const auto ends_of = [](bool one_class) {
    FluidNetwork network(std::vector<double>(201, 10.0), {0.002});
    std::vector<double> ends(200, 0.0);
    for (std::int32_t i = 0; i < 200; ++i) {
      const std::int32_t of =
          one_class && i > 0 ? 0 : network.add_class(std::vector<FluidLoad>{{i, 1.0}, {200, 1.0}});
      network.start(of, 100.0 + i, i);
    }
    std::vector<std::int64_t> ended;
    while (network.live() > 0) {
      ended.clear();
      const double time = network.next_time();
      network.advance(time, ended);
      for (const std::int64_t flow : ended) ends[static_cast<size_t>(flow)] = time;
    }
    return ends;
  };
  const std::vector<double> one = ends_of(true), many = ends_of(false);
  for (size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(many[i], one[i], 1e-9 * one[i]);
}

}  // namespace
}  // namespace orrery
