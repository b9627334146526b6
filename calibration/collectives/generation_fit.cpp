#include "calibration/collectives/generation_fit.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>

#include "calibration/least_squares/least_squares.hpp"
#include "sim/collectives/collective_model.hpp"

namespace orrery {
namespace {

constexpr int kCurveFirstOctave = 10;  // 1 KiB: every curve is flat below
constexpr int kCurveLastOctave = 35;   // 32 GiB: every curve is at its asymptotic rate above
// Beyond these sizes (4 KiB, 16 GiB) deviations stay what they are there: few rows lie outside.
constexpr double kLeastSize = 12.0;
constexpr double kMostSize = 34.0;

/// A smooth deviation: its size (log time) and over how many octaves of size and of ranks it changes.
struct Deviation {
  double size, octaves, ranks;
};
// Wide ones are levels and slopes, narrow ones a protocol's change (LL, LL128, Simple; ring to NVLS). Sizes
// are round numbers tried in sight of the left-out errors (README.md lists what was tried).
constexpr Deviation kSharedWide{0.6, 6.0, 3.0};
constexpr Deviation kSharedNarrow{0.15, 1.5, 1.5};
constexpr Deviation kGenerationWide{0.3, 4.0, 3.0};
constexpr Deviation kGenerationNarrow{0.15, 1.5, 1.0};
constexpr Deviation kGpuWide{0.06, 6.0, 4.0};
constexpr Deviation kGpuNarrow{0.03, 2.0, 1.5};
constexpr Deviation kSwitch{0.15, 2.0, 3.0};
// NCCL halves the channels of a peer until all peers take at most four times the channels there are
// (NVIDIA/nccl src/enqueue.cc, nChannelsMax), so just above a power of two half of them stay idle.
constexpr Deviation kOddRanks{0.25, 1.5, 3.0};
// Of a peer's share, not the whole payload: over several hosts NCCL gives it one channel up to 256 KiB and
// more from 512 KiB on, however many ranks there are (addP2pToPlan: minPartSize, maxPartSize).
constexpr Deviation kHosts{0.2, 1.0, 6.0};
constexpr Deviation kSource{0.08, 5.0, 3.0};
constexpr Deviation kTool{0.06, 6.0, 3.0};
constexpr double kToolStart = 0.7;  ///< further size of a tool's deviation below about 4 MiB
constexpr double kRow = 0.04;       ///< one row around its source's own curve

double product(const Deviation& deviation, double octaves, double ranks) {
  const double a = octaves / deviation.octaves;
  const double b = ranks / deviation.ranks;
  return deviation.size * deviation.size * std::exp(-0.5 * (a * a + b * b));
}
/// The same with a kink at no distance: protocols change at once, not smoothly.
double rough(const Deviation& deviation, double octaves, double ranks) {
  const double a = std::abs(octaves) / deviation.octaves;
  const double b = std::abs(ranks) / deviation.ranks;
  return deviation.size * deviation.size * (1.0 + 1.7 * a) * std::exp(-1.7 * a) * std::exp(-0.5 * b * b);
}

/// How much of a tool's start-up shows: all of it at 64 KiB, none from 256 MiB on.
double start_share(double size) { return 1.0 / (1.0 + std::exp2(size - 22.0)); }

/// Start-up and transfer with round constants: 5 us, and 1 us a ring step, 4 us a tree level, 0.3 us a peer;
/// 0.75 of the vendor's bandwidth (of a mesh: of the links to the group's own members).
struct PlainForm {
  double start, transfer;
  double total() const { return start + transfer + 0.5 * std::sqrt(start * transfer); }  // with the fill
};
PlainForm plain_parts(CollectiveOp op, const MeasuredGpu& gpu, int ranks, double bytes) {
  const double n = ranks;
  const double bandwidth =
      gpu.scale_up_bandwidth * (gpu.mesh_gpus > 1 ? (n - 1.0) / (gpu.mesh_gpus - 1.0) : 1.0);
  double start = 5e-6;
  if (op == CollectiveOp::all_reduce) {
    start += 4e-6 * std::log2(n);
  } else if (op == CollectiveOp::all_to_all) {
    start += 1e-6 * std::log2(n) + 0.5e-6 * n;
  } else {
    start += 1.2e-6 * (n - 1.0);
  }
  return {start, bytes * bus_factor(op, ranks) / (0.75 * bandwidth)};
}
double plain_form(CollectiveOp op, const MeasuredGpu& gpu, int ranks, double bytes) {
  return plain_parts(op, gpu, ranks, bytes).total();
}

template <typename Key>
int number_of(std::map<Key, int>& numbers, const Key& key) {
  return numbers.emplace(key, static_cast<int>(numbers.size())).first->second;
}

}  // namespace

void make_monotone(std::vector<double>& seconds) {
  struct Block {
    double sum;
    size_t count;
    double mean() const { return sum / static_cast<double>(count); }
  };
  std::vector<Block> blocks;
  for (const double value : seconds) {
    blocks.push_back({std::log(value), 1});
    while (blocks.size() > 1 && blocks[blocks.size() - 2].mean() > blocks.back().mean()) {
      const Block last = blocks.back();
      blocks.pop_back();
      blocks.back().sum += last.sum;
      blocks.back().count += last.count;
    }
  }
  size_t at = 0;
  for (const Block& block : blocks) {
    for (size_t i = 0; i < block.count; ++i) seconds[at++] = std::exp(block.mean());
  }
}

GenerationModel::GenerationModel(CollectiveOp op, std::span<const CollectiveRow> rows,
                                 const MeasuredMachines& machines)
    : op_(op), rows_(rows.begin(), rows.end()), machines_(&machines) {
  std::map<std::string, int> source_numbers;
  std::map<std::string, int> tool_numbers;
  const auto count = static_cast<Eigen::Index>(rows_.size());
  wanted_.resize(count);
  for (const CollectiveRow& row : rows_) {
    const MeasuredGpu& gpu = machines.gpu(row.gpu);
    Point at = point(gpu, row.ranks, row.bytes);
    at.source = number_of(source_numbers, row.source + " " + row.gpu);
    // nccl-tests and its library's own tables are what predictions mean; where a kind of domain was measured
    // with one tool only, that tool is.
    const bool plain = row.tool.starts_with("nccl-tests") || row.tool.starts_with("rccl-tests") ||
                       row.tool.starts_with("algbw table") || gpu.mesh_gpus > 0;
    at.tool = plain ? -1 : number_of(tool_numbers, row.tool);
    wanted_(static_cast<Eigen::Index>(points_.size())) =
        std::log(row.seconds / plain_form(op, gpu, row.ranks, row.bytes));
    points_.push_back(at);
  }
  Eigen::MatrixXd covariance(count, count);
  Eigen::MatrixXd of_sources(count, count);
  for (Eigen::Index i = 0; i < count; ++i) {
    for (Eigen::Index j = 0; j <= i; ++j) {
      const Point& a = points_[static_cast<size_t>(i)];
      const Point& b = points_[static_cast<size_t>(j)];
      covariance(i, j) = covariance(j, i) = shared(a, b) + tools(a, b);
      of_sources(i, j) = of_sources(j, i) = sources(a, b);
    }
  }
  // Huber: rows far from the curve, and sources far from the others, count for less, settled in a few passes.
  Eigen::VectorXd noise = Eigen::VectorXd::Constant(count, kRow * kRow);
  for (int pass = 0; pass < 4; ++pass) {
    Eigen::MatrixXd whole = covariance + of_sources;
    whole.diagonal() += noise;
    const Eigen::LLT<Eigen::MatrixXd> solved(whole);
    weights_ = solved.solve(wanted_);
    if (pass == 3) {
      inverse_ = solved.solve(Eigen::MatrixXd::Identity(count, count));
      break;
    }
    const Eigen::VectorXd off = noise.cwiseProduct(weights_);  // measured minus fitted
    for (Eigen::Index i = 0; i < count; ++i) {
      const double beyond = std::abs(off(i)) / (2.0 * kRow);
      noise(i) = kRow * kRow * std::max(1.0, beyond);
    }
    widen_sources(of_sources);
  }
}

void GenerationModel::widen_sources(Eigen::MatrixXd& of_sources) const {
  // How far each source lies from the others: the root mean square of its own deviation over its rows.
  const Eigen::VectorXd own = of_sources * weights_;
  std::map<int, std::pair<double, int>> squares;
  for (size_t i = 0; i < points_.size(); ++i) {
    const double one = own(static_cast<Eigen::Index>(i));
    squares[points_[i].source].first += one * one;
    ++squares[points_[i].source].second;
  }
  for (size_t i = 0; i < points_.size(); ++i) {
    const auto& [sum, rows] = squares.at(points_[i].source);
    const double beyond = std::sqrt(sum / rows) / (2.0 * kSource.size);
    for (size_t j = 0; j < points_.size(); ++j) {
      of_sources(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(j)) =
          sources(points_[i], points_[j]) * std::max(1.0, beyond * beyond);
    }
  }
}

GenerationModel::Point GenerationModel::point(const MeasuredGpu& gpu, int ranks, double bytes) const {
  Point at{};
  at.size = std::clamp(std::log2(bytes), kLeastSize, kMostSize);
  at.ranks = std::log2(static_cast<double>(ranks));
  at.gpu = static_cast<int>(&gpu - machines_->gpus.data());
  at.generation = gpu.generation;
  at.tool = -1;
  at.source = -1;
  if (op_ == CollectiveOp::all_to_all && (ranks & (ranks - 1)) != 0) {
    const PlainForm parts = plain_parts(op_, gpu, ranks, bytes);
    at.odd = parts.transfer / (parts.start + parts.transfer);
  }
  at.hosts = op_ == CollectiveOp::all_to_all && gpu.gpus_per_host > 0 && ranks > gpu.gpus_per_host;
  at.switched = op_ == CollectiveOp::all_reduce && gpu.in_network_reduction && ranks >= 5;
  return at;
}

double GenerationModel::shared(const Point& a, const Point& b) const {
  const double octaves = a.size - b.size;
  const double ranks = a.ranks - b.ranks;
  double sum = product(kSharedWide, octaves, ranks) + rough(kSharedNarrow, octaves, ranks);
  if (a.switched && b.switched) sum += rough(kSwitch, octaves, ranks);
  if (a.odd * b.odd > 0.0) sum += a.odd * b.odd * rough(kOddRanks, octaves, ranks);
  if (a.hosts && b.hosts) sum += rough(kHosts, octaves - ranks, ranks);
  if (a.generation != b.generation) return sum;
  sum += product(kGenerationWide, octaves, ranks) + rough(kGenerationNarrow, octaves, ranks);
  if (a.gpu == b.gpu) sum += product(kGpuWide, octaves, ranks) + rough(kGpuNarrow, octaves, ranks);
  return sum;
}

double GenerationModel::tools(const Point& a, const Point& b) const {
  if (a.tool < 0 || a.tool != b.tool) return 0.0;
  const double octaves = a.size - b.size;
  const double ranks = a.ranks - b.ranks;
  const double start = kToolStart * kToolStart * start_share(a.size) * start_share(b.size);
  return product(kTool, octaves, ranks) + start * product({1.0, 6.0, 3.0}, octaves, ranks);
}

double GenerationModel::sources(const Point& a, const Point& b) const {
  if (a.source != b.source) return 0.0;
  return product(kSource, a.size - b.size, a.ranks - b.ranks);
}

GenerationModel::Weights GenerationModel::weights_without(const std::vector<size_t>& rows) const {
  // Let A be the inverse of the whole covariance: without the block g the inverse is A_rr - A_rg A_gg^-1
  // A_gr, so the weights are w_r - A_rg A_gg^-1 w_g.
  const auto count = static_cast<Eigen::Index>(rows.size());
  Eigen::MatrixXd block(count, count);
  Eigen::VectorXd own(count);
  Eigen::MatrixXd columns(weights_.size(), count);
  for (Eigen::Index j = 0; j < count; ++j) {
    const auto at = static_cast<Eigen::Index>(rows[static_cast<size_t>(j)]);
    columns.col(j) = inverse_.col(at);
    own(j) = weights_(at);
  }
  for (Eigen::Index i = 0; i < count; ++i)
    block.row(i) = columns.row(static_cast<Eigen::Index>(rows[static_cast<size_t>(i)]));
  Weights without = weights_ - columns * block.ldlt().solve(own);
  for (const size_t row : rows) without(static_cast<Eigen::Index>(row)) = 0.0;
  return without;
}

Eigen::VectorXd GenerationModel::covariances(const Point& at) const {
  Eigen::VectorXd list(static_cast<Eigen::Index>(points_.size()));
  for (size_t i = 0; i < points_.size(); ++i) list(static_cast<Eigen::Index>(i)) = shared(at, points_[i]);
  return list;
}

double GenerationModel::time(const Weights& weights, const MeasuredGpu& gpu, int ranks, double bytes) const {
  return plain_form(op_, gpu, ranks, bytes) * std::exp(covariances(point(gpu, ranks, bytes)).dot(weights));
}

double GenerationModel::own_way(const Weights& weights, size_t row) const {
  const Point& measured = points_[row];
  double sum = 0.0;
  for (size_t i = 0; i < points_.size(); ++i)
    sum += weights(static_cast<Eigen::Index>(i)) * tools(measured, points_[i]);
  return sum;
}

double GenerationModel::spread(const MeasuredGpu& gpu, int ranks, double bytes) const {
  const Point at = point(gpu, ranks, bytes);
  const Eigen::VectorXd with = covariances(at);
  const double left = shared(at, at) - with.dot(inverse_ * with);
  return std::sqrt(std::max(0.0, left) + kRow * kRow + kSource.size * kSource.size);
}

DomainCurve GenerationModel::curve(const Weights& weights, const MeasuredGpu& gpu, int ranks) const {
  DomainCurve curve;
  curve.op = op_;
  curve.ranks = ranks;
  curve.first_octave = kCurveFirstOctave;
  for (int k = kCurveFirstOctave; k <= kCurveLastOctave; ++k)
    curve.seconds.push_back(time(weights, gpu, ranks, std::ldexp(1.0, k)));
  make_monotone(curve.seconds);
  // The rate of the transfer alone: start-up and fill still are up to 2 % of the last octave's time.
  const double last = std::ldexp(1.0, kCurveLastOctave);
  const PlainForm parts = plain_parts(op_, gpu, ranks, last);
  curve.bandwidth = last / (curve.seconds.back() * parts.transfer / parts.total());
  for (double& value : curve.seconds) value = rounded(value, 4);
  curve.bandwidth = rounded(curve.bandwidth, 4);
  return curve;
}

}  // namespace orrery
