#include "sim/collectives/tuner_model.hpp"

#include <algorithm>
#include <utility>

#include "sim/collectives/library_formulas.hpp"

namespace orrery {
namespace {

// How far the library's table lies from measured rows (data/nccl_model.md section 7: median ratios of .4
// to 1.2).
constexpr double kTableSpread = 0.4;
// nccl src/include/devcomm.h: buffers of one channel.
constexpr double kChannelBuffers = 524288.0 + 4915200.0 + 4194304.0;

}  // namespace

double least_network_time(CollectiveOp op, double payload, const GroupShape& shape) {
  if (shape.domains < 2) return 0.0;
  const double rate = shape.scale_out_per_rank.base();
  const double domain_rate = rate * shape.ranks_per_domain;
  const double others = (shape.domains - 1.0) / shape.domains;
  switch (op) {
    case CollectiveOp::all_reduce:
      return 2.0 * others * payload / domain_rate;
    case CollectiveOp::all_gather:
    case CollectiveOp::reduce_scatter:
      return others * payload / domain_rate;
    case CollectiveOp::broadcast:
      return payload / domain_rate;
    case CollectiveOp::all_to_all:
      return payload * (shape.ranks - shape.ranks_per_domain) / shape.ranks / rate;
    case CollectiveOp::send_receive:
      return payload / rate;
  }
  return 0.0;
}

TunerModel::TunerModel(TunerConstants constants, TunerOptions options)
    : constants_(std::move(constants)), options_(options) {}

CollectiveTime TunerModel::time(CollectiveOp op, Bytes payload, const GroupShape& shape) const {
  CollectiveTime result;
  result.evidence = Evidence::measured;  // nothing to send takes no time
  if (shape.ranks <= 1 || !(payload.base() > 0.0)) return result;
  const TunerTable table = tuner_table(constants_, op, payload.base(), shape, options_);
  const TunerChoice choice = choose_from(table, constants_, op, payload.base(), shape, options_);
  const auto at = [&](WireProtocol protocol) -> const TunerCandidate& {
    return table[static_cast<size_t>(choice.algorithm) * kWireProtocols + static_cast<size_t>(protocol)];
  };
  // Sends change from LL to Simple at a fixed size, where the table's times jump down; the faster of the two
  // holds, so that more bytes are never faster.
  WireProtocol protocol = choice.protocol;
  if (choice.algorithm == TunerAlgorithm::p2p) {
    const bool ll =
        at(WireProtocol::ll).enabled() && at(WireProtocol::ll).time < at(WireProtocol::simple).time;
    protocol = ll ? WireProtocol::ll : WireProtocol::simple;
  }
  const TunerCandidate& candidate = at(protocol);
  const double transfer =
      std::max(payload.base() / candidate.bandwidth, least_network_time(op, payload.base(), shape));
  result.latency = seconds(candidate.latency);
  result.transfer = seconds(transfer);
  result.algorithm = name_of(choice.algorithm);
  result.protocol = name_of(protocol);
  result.channels = candidate.channels;
  result.bus_bandwidth = payload.base() * bus_factor(op, shape.ranks) / result.total().base();
  result.relative_spread = kTableSpread;
  result.evidence = Evidence::assumed;
  return result;
}

Bytes TunerModel::buffer_bytes(const GroupShape& shape) const {
  if (shape.ranks <= 1) return Bytes();
  return Bytes(constants_.graph_channels * constants_.duplication * kChannelBuffers);
}

}  // namespace orrery
