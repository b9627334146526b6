#pragma once

#include <Eigen/Dense>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "calibration/collectives/collective_rows.hpp"
#include "sim/collectives/collective_constants.hpp"

namespace orrery {

/// One operation inside scale-up domains, all GPUs, sources and numbers of ranks together.
///
/// log time = log of a plain form (start-up by steps, wire bytes over the vendor's bandwidth, pipeline fill;
/// round constants, nothing fitted) + deviations, each a smooth function of log size and log ranks with a
/// stated size (a Gaussian process, which is least squares with these deviations held near zero): one that
/// all GPUs share, one a generation, one a GPU, one a source and one a tool (start-up of torch-level and XLA
/// timing). Predictions leave out what belongs to the source and the tool. So a number of ranks that one GPU
/// lacks is taken from its siblings, scaled as the two differ where both were measured.
///
/// Leaving a group out is exact (the rows' weights are solved again without it), so cross-validation costs
/// one small solve a group.
class GenerationModel {
 public:
  /// What predictions are made of: one weight a row.
  using Weights = Eigen::VectorXd;

  /// @param rows      of one operation, inside one domain, usable
  /// @param machines  names each row's GPU with its generation and bandwidth; rows of other GPUs are refused
  /// @throws std::invalid_argument for a GPU that machines lacks
  GenerationModel(CollectiveOp op, std::span<const CollectiveRow> rows, const MeasuredMachines& machines);

  const std::vector<CollectiveRow>& rows() const { return rows_; }
  const Weights& weights() const { return weights_; }
  /// The weights had these rows not been there.
  Weights weights_without(const std::vector<size_t>& rows) const;

  /// Time of a GPU (s) that any source would measure without its tool's own start-up.
  double time(const Weights& weights, const MeasuredGpu& gpu, int ranks, double bytes) const;
  /// Log of what a row's tool puts on its time beyond the prediction, learned from the weights' rows.
  double own_way(const Weights& weights, size_t row) const;
  /// Standard deviation (log) of a new source's row around the prediction.
  double spread(const MeasuredGpu& gpu, int ranks, double bytes) const;
  /// At the octaves from 1 KiB to 32 GiB, made never to fall, then rounded.
  DomainCurve curve(const Weights& weights, const MeasuredGpu& gpu, int ranks) const;

 private:
  struct Point {
    double size;   ///< log2 bytes, held inside the measured range
    double ranks;  ///< log2
    std::string_view generation;
    int gpu;
    int tool, source;
    double odd;     ///< share of transfer, which ranks that are no power of two slow; 0 for powers of two
    bool switched;  ///< NVLink SHARP would be taken
    bool hosts;     ///< an all-to-all over several hosts
  };
  Point point(const MeasuredGpu& gpu, int ranks, double bytes) const;
  double shared(const Point& a, const Point& b) const;  ///< covariance of what predictions keep
  double tools(const Point& a, const Point& b) const;   ///< of the tool's own way
  double sources(const Point& a, const Point& b) const;
  /// Lets sources that the present weights hold far from the others lie farther off.
  void widen_sources(Eigen::MatrixXd& of_sources) const;
  Eigen::VectorXd covariances(const Point& at) const;

  CollectiveOp op_;
  std::vector<CollectiveRow> rows_;
  const MeasuredMachines* machines_;
  std::vector<Point> points_;
  Eigen::VectorXd wanted_;   ///< log of measured over plain form
  Eigen::MatrixXd inverse_;  ///< of the rows' covariance
  Weights weights_;
};

/// Nearest never-falling sequence in the least-squares sense (pool adjacent violators), in log time.
void make_monotone(std::vector<double>& seconds);

}  // namespace orrery
