#include "calibration/collectives/fabric_fit.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "calibration/collectives/fit_errors.hpp"
#include "calibration/least_squares/least_squares.hpp"

namespace orrery {
namespace {

/// One fitted member of FabricConstants: its prior with the spread in log, and its bounds.
struct Member {
  double FabricConstants::*value;
  double prior;
  double spread;
  double least;
  double most;
};

// Priors: efficiencies as on NDR InfiniBand (46 to 49 of 50 GB/s, nccl-tests#130), pair and shift as in
// nccl_model section 10 of the data collection (43.7 and 24.9 of 50), the library's own hop latencies (factor
// 1, held tightly: on two nodes alone a hop cannot be told from the start-up), 10 us to start and 2 us a peer
// (assumed: host-side proxy of one connection), half of the racks' line rate in all-to-alls across NVL72
// racks (24 of 50 GB/s on OCI's GB300).
constexpr std::array kMembers = {
    Member{&FabricConstants::ring_efficiency, 0.93, 0.15, 0.3, 1.0},
    Member{&FabricConstants::tree_efficiency, 0.90, 0.15, 0.3, 1.0},
    Member{&FabricConstants::all_to_all_efficiency, 0.88, 0.15, 0.2, 1.0},
    Member{&FabricConstants::pair_efficiency, 0.85, 0.10, 0.2, 1.0},
    Member{&FabricConstants::shift_efficiency, 0.52, 0.10, 0.2, 1.0},
    Member{&FabricConstants::rack_all_to_all_efficiency, 0.5, 0.10, 0.2, 1.0},
    Member{&FabricConstants::domain_share, 0.90, 0.10, 0.4, 1.0},
    Member{&FabricConstants::start, 10e-6, 1.5, 5e-8, 1e-3},
    Member{&FabricConstants::ring_hop_factor, 1.0, 0.2, 0.05, 50.0},
    Member{&FabricConstants::tree_hop_factor, 1.0, 0.2, 0.05, 50.0},
    Member{&FabricConstants::inner_hop_factor, 1.0, 0.3, 0.1, 20.0},
    Member{&FabricConstants::peer_latency, 2e-6, 1.0, 1e-8, 1e-3},
    Member{&FabricConstants::tree_fill, 0.15, 0.7, 1e-3, 10.0},
    Member{&FabricConstants::ring_fill, 0.1, 0.7, 1e-3, 10.0},
    Member{&FabricConstants::tree_chunks, 1.5, 1.0, 1e-2, 20.0},
    Member{&FabricConstants::ring_chunks, 0.5, 1.0, 1e-2, 20.0},
    Member{&FabricConstants::simple_hop_factor, 1.0, 0.3, 0.1, 10.0},
    Member{&FabricConstants::ll_limit_share, 0.25, 0.7, 1e-3, 1.0},
    Member{&FabricConstants::ll128_share, 0.9, 0.3, 0.02, 1.0},
    Member{&FabricConstants::old_host_factor, 2.0, 0.3, 1.0, 6.0},
    Member{&FabricConstants::all_to_all_fill, 0.3, 1.0, 1e-3, 10.0},
    Member{&FabricConstants::all_to_all_node_power, 0.06, 0.5, 1e-3, 0.5},
};

/// Constants from their logarithms. A search changes one parameter at a time: the others are kept.
class ConstantsOfLogs {
 public:
  explicit ConstantsOfLogs(NicProtocol protocol) {
    fabric_.protocol = protocol;
    logs_.fill(std::numeric_limits<double>::quiet_NaN());  // unlike any
  }
  const FabricConstants& operator()(std::span<const double> logs) {
    for (size_t i = 0; i < kMembers.size(); ++i) {
      if (logs[i] == logs_[i]) continue;
      logs_[i] = logs[i];
      fabric_.*kMembers[i].value = std::exp(logs[i]);
    }
    return fabric_;
  }

 private:
  FabricConstants fabric_;
  std::array<double, kMembers.size()> logs_;
};

double predicted(const FabricConstants& fabric, const AcrossRow& across) {
  return fabric_time(fabric, *across.library, across.row.op, across.row.bytes, across.shape, across.inner)
      .total;
}

/// Rows of different clusters differ by about this much (log time).
constexpr double kRowSpread = 0.12;
/// Training sends megabytes: what is shorter than the scored sizes counts for less.
double weight_of(const CollectiveRow& row) { return row.bytes >= 8192.0 ? 1.0 : 0.3; }

}  // namespace

std::vector<double> across_log_ratios(const FabricConstants& fabric, std::span<const AcrossRow> rows) {
  std::vector<double> ratios;
  ratios.reserve(rows.size());
  for (const AcrossRow& across : rows)
    ratios.push_back(std::log(predicted(fabric, across) / across.row.seconds));
  return ratios;
}

FabricConstants assumed_fabric(NicProtocol protocol) {
  FabricConstants fabric;
  fabric.protocol = protocol;
  for (const Member& member : kMembers) fabric.*member.value = member.prior;
  return fabric;
}

FabricConstants fit_fabric(NicProtocol protocol, std::span<const AcrossRow> rows,
                           const FabricConstants& prior, const FabricConstants& start, double tolerance) {
  std::vector<FitParameter> parameters;
  std::array<double, kMembers.size()> expected;
  for (size_t i = 0; i < kMembers.size(); ++i) {
    const Member& member = kMembers[i];
    parameters.push_back({std::log(start.*member.value), std::log(member.least), std::log(member.most)});
    expected[i] = std::log(prior.*member.value);
  }
  ConstantsOfLogs constants(protocol);
  // The rows, then the priors.
  const Residual residual = [&](std::span<const double> logs, size_t index) {
    if (index < rows.size()) {
      const AcrossRow& across = rows[index];
      const double ratio = predicted(constants(logs), across) / across.row.seconds;
      return weight_of(across.row) * std::log(ratio) / kRowSpread;
    }
    const size_t member = index - rows.size();
    return (logs[member] - expected[member]) / kMembers[member].spread;
  };
  LeastSquaresOptions options;
  options.tolerance = tolerance;
  const std::vector<double> fitted =
      robust_least_squares(parameters, rows.size(), rows.size() + kMembers.size(), residual, options).values;
  FabricConstants fabric = constants(fitted);
  for (const Member& member : kMembers) fabric.*member.value = rounded(fabric.*member.value, 4);

  for (const AcrossRow& across : rows) {
    auto hull = std::find_if(fabric.hulls.begin(), fabric.hulls.end(),
                             [&](const FabricHull& h) { return h.op == across.row.op; });
    if (hull == fabric.hulls.end()) {
      fabric.hulls.push_back({across.row.op, across.shape.ranks, across.shape.ranks, across.shape.domains,
                              across.shape.domains, across.row.bytes, across.row.bytes, 0.0});
      continue;
    }
    hull->least_ranks = std::min(hull->least_ranks, across.shape.ranks);
    hull->most_ranks = std::max(hull->most_ranks, across.shape.ranks);
    hull->least_domains = std::min(hull->least_domains, across.shape.domains);
    hull->most_domains = std::max(hull->most_domains, across.shape.domains);
    hull->least_bytes = std::min(hull->least_bytes, across.row.bytes);
    hull->most_bytes = std::max(hull->most_bytes, across.row.bytes);
  }
  std::sort(fabric.hulls.begin(), fabric.hulls.end(),
            [](const FabricHull& a, const FabricHull& b) { return a.op < b.op; });
  for (FabricHull& hull : fabric.hulls) {
    std::vector<double> ratios;
    for (const AcrossRow& across : rows) {
      if (across.row.op == hull.op)
        ratios.push_back(std::log(predicted(fabric, across) / across.row.seconds));
    }
    hull.relative_spread = rounded(errors_of(ratios).root_mean_square, 2);
  }
  return fabric;
}

}  // namespace orrery
