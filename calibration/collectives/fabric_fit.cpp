#include "calibration/collectives/fabric_fit.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

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
  /// A protocol's value around the one that all share, in spreads; less for what is NVLink's, not the
  /// network's, 0 for what was measured on one network only.
  double own = 0.5;
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
    Member{&FabricConstants::pair_efficiency, 0.85, 0.10, 0.2, 1.0, 0.0},
    Member{&FabricConstants::shift_efficiency, 0.52, 0.10, 0.2, 1.0, 0.0},
    Member{&FabricConstants::rack_all_to_all_efficiency, 0.5, 0.10, 0.2, 1.0, 0.0},
    Member{&FabricConstants::domain_share, 0.90, 0.10, 0.4, 1.0, 0.2},
    Member{&FabricConstants::start, 10e-6, 1.5, 5e-8, 1e-3, 1.0},
    Member{&FabricConstants::ring_hop_factor, 1.0, 0.2, 0.05, 50.0},
    Member{&FabricConstants::tree_hop_factor, 1.0, 0.2, 0.05, 50.0},
    Member{&FabricConstants::inner_hop_factor, 1.0, 0.3, 0.1, 20.0, 0.2},
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
  void set(size_t member, double log) {
    if (log == logs_[member]) return;
    logs_[member] = log;
    const Member& of = kMembers[member];
    fabric_.*of.value = std::clamp(std::exp(log), of.least, of.most);
    ++changes_;
  }
  const FabricConstants& fabric() const { return fabric_; }
  int changes() const { return changes_; }

 private:
  FabricConstants fabric_;
  std::array<double, kMembers.size()> logs_;
  int changes_ = 0;
};

/// Where the parameters of a fit of several protocols lie: what all share, then what each adds of its own.
class Layout {
 public:
  explicit Layout(size_t protocols) {
    own_.fill(kMembers.size());
    if (protocols < 2) return;
    for (size_t i = 0; i < kMembers.size(); ++i) {
      if (kMembers[i].own > 0.0) own_[i] = count_++;
    }
  }
  size_t own_count() const { return count_; }
  bool has_own(size_t member) const { return own_[member] < kMembers.size(); }
  size_t own(size_t protocol, size_t member) const {
    return kMembers.size() + protocol * count_ + own_[member];
  }

 private:
  std::array<size_t, kMembers.size()> own_;
  size_t count_ = 0;
};

double predicted(const FabricConstants& fabric, const AcrossRow& across) {
  return fabric_time(fabric, *across.library, across.row.op, across.row.bytes, across.shape, across.inner)
      .total;
}

/// Rows of different clusters differ by about this much (log time).
constexpr double kFabricRowSpread = 0.12;
/// Training sends megabytes: what is shorter than the scored sizes counts for less.
double weight_of(const CollectiveRow& row) { return row.bytes >= 8192.0 ? 1.0 : 0.3; }
std::vector<double> weights_of(std::span<const AcrossRow> rows) {
  using Table = std::tuple<std::string_view, std::string_view, CollectiveOp, int>;
  std::map<Table, int> counts;
  const auto table = [](const CollectiveRow& row) { return Table(row.source, row.gpu, row.op, row.ranks); };
  for (const AcrossRow& across : rows) ++counts[table(across.row)];
  std::vector<double> weights;
  for (const AcrossRow& across : rows)
    weights.push_back(weight_of(across.row) *
                      std::min(1.0, std::sqrt(kIndependentRows / counts[table(across.row)])));
  return weights;
}

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
  return fit_fabrics({protocol}, rows, prior, {start}, tolerance).front();
}

std::vector<FabricConstants> fit_fabrics(const std::vector<NicProtocol>& protocols,
                                         std::span<const AcrossRow> rows, const FabricConstants& prior,
                                         const std::vector<FabricConstants>& start, double tolerance) {
  const Layout layout(protocols.size());
  std::vector<FitParameter> parameters;
  std::vector<double> expected, spreads;
  for (const Member& member : kMembers) {
    double log = 0.0;
    for (const FabricConstants& one : start)
      log += std::log(one.*member.value) / static_cast<double>(start.size());
    parameters.push_back({log, std::log(member.least), std::log(member.most)});
    expected.push_back(std::log(prior.*member.value));
    spreads.push_back(member.spread);
  }
  constexpr double kMostOwn = 5.0;  // log: never reached
  for (size_t which = 0; which < protocols.size(); ++which) {
    for (size_t i = 0; i < kMembers.size(); ++i) {
      if (!layout.has_own(i)) continue;
      const double own = std::log(start[which].*kMembers[i].value) - parameters[i].start;
      parameters.push_back({own, -kMostOwn, kMostOwn});
      expected.push_back(0.0);
      spreads.push_back(kMembers[i].own * kMembers[i].spread);
    }
  }
  std::vector<ConstantsOfLogs> constants;
  constants.reserve(protocols.size());
  for (const NicProtocol protocol : protocols) constants.emplace_back(protocol);
  const auto set_constants = [&](std::span<const double> logs, size_t which) {
    for (size_t i = 0; i < kMembers.size(); ++i)
      constants[which].set(i, layout.has_own(i) ? logs[i] + logs[layout.own(which, i)] : logs[i]);
  };
  struct Known {
    size_t protocol;
    double weight;
    int changes;  // of the constants when this was so
    double residual;
  };
  std::vector<Known> known;
  const std::vector<double> weights = weights_of(rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto found = std::find(protocols.begin(), protocols.end(), rows[i].shape.protocol);
    known.push_back({static_cast<size_t>(found - protocols.begin()), weights[i], -1, 0.0});
  }
  // The rows, then the priors.
  const Residual residual = [&](std::span<const double> logs, size_t index) {
    if (index >= rows.size()) {
      const size_t parameter = index - rows.size();
      return (logs[parameter] - expected[parameter]) / spreads[parameter];
    }
    Known& row = known[index];
    set_constants(logs, row.protocol);
    const ConstantsOfLogs& now = constants[row.protocol];
    if (row.changes != now.changes()) {
      const double ratio = predicted(now.fabric(), rows[index]) / rows[index].row.seconds;
      row.residual = row.weight * std::log(ratio) / kFabricRowSpread;
      row.changes = now.changes();
    }
    return row.residual;
  };
  LeastSquaresOptions options;
  options.tolerance = tolerance;
  const std::vector<double> fitted =
      robust_least_squares(parameters, rows.size(), rows.size() + parameters.size(), residual, options)
          .values;
  std::vector<FabricConstants> fabrics;
  for (size_t which = 0; which < protocols.size(); ++which) {
    set_constants(fitted, which);
    FabricConstants fabric = constants[which].fabric();
    for (const Member& member : kMembers) fabric.*member.value = rounded(fabric.*member.value, 4);
    fabrics.push_back(std::move(fabric));
  }
  return fabrics;
}

void add_hulls(FabricConstants& fabric, std::span<const AcrossRow> rows,
               const std::map<CollectiveOp, FitErrors>& left_out) {
  std::map<CollectiveOp, FabricHull> hulls;
  std::map<CollectiveOp, std::vector<double>> ratios;
  std::map<CollectiveOp, std::set<std::string>> architectures;
  const auto include = [](auto& least, auto& most, auto value) {
    least = least == 0 ? value : std::min(least, value);  // none of these is ever zero
    most = std::max(most, value);
  };
  for (const AcrossRow& across : rows) {
    const CollectiveOp op = across.row.op;
    FabricHull& hull = hulls[op];
    hull.op = op;
    include(hull.least_ranks, hull.most_ranks, across.shape.ranks);
    include(hull.least_domains, hull.most_domains, across.shape.domains);
    include(hull.least_ranks_per_domain, hull.most_ranks_per_domain, across.shape.ranks_per_domain);
    include(hull.least_bytes, hull.most_bytes, across.row.bytes);
    include(hull.least_rate, hull.most_rate, rounded(across.shape.scale_out_per_rank.base(), 6));
    architectures[op].insert(across.library->architecture);
    ratios[op].push_back(std::log(predicted(fabric, across) / across.row.seconds));
  }
  for (auto& [op, hull] : hulls) {
    hull.architectures.assign(architectures[op].begin(), architectures[op].end());
    double spread = errors_of(ratios[op]).root_mean_square;
    if (const auto errors = left_out.find(op); errors != left_out.end()) {
      spread = std::max(spread, errors->second.root_mean_square);
      hull.left_out_error = rounded(errors->second.geometric_mean, 2);
    }
    hull.relative_spread = rounded(spread, 2);
    fabric.hulls.push_back(std::move(hull));
  }
}

}  // namespace orrery
