#pragma once

#include <array>
#include <optional>
#include <string>

#include "reports/answers/predict.hpp"
#include "sim/network/topology.hpp"

namespace orrery {

/// A prediction and what setting it beside another one takes.
struct ComparablePrediction {
  Prediction prediction;
  /// One standard deviation of ln(time), of this plan: kernels, and communication by the term that shows it.
  double kernel_spread = 0;
  Breakdown communication_spread{};
  std::string collective_profile;            ///< what collective times rest on: equal texts err together
  std::string software;                      ///< what the host's times rest on, likewise
  std::optional<StorageSpec::Kind> storage;  ///< what of the cluster's reads and writes, likewise
  double overlap_slowdown = 0;               ///< kernels beside a collective take (1 + this) times as long
  std::optional<int> slowest_rank;           ///< of a simulation
  std::optional<double> usd_per_hour;        ///< of the whole cluster, where prices are given
};

/// Predicts, and drops the graph and timeline of the simulation when what is asked of them is answered.
/// @throws as predict() does
ComparablePrediction predict_to_compare(const Experiment& experiment, const PredictOptions& options,
                                        CalibrationStore& calibrations);

/// What a cluster costs an hour: GPUs at their price, or nodes, switches (leaves, spines, cores), cables (NIC
/// to switch and switch to switch) and storage bought and written off over `years` of 8,766 hours. Power is
/// not in it. Nothing if neither price is given.
std::optional<double> hourly_price(const ClusterSpec& cluster, const Topology& topology);

/// Central 80 % of b - a, seconds.
///
/// One error moves all kernel times of a calibration (spread_interval says why), and where A and B rest on
/// the same profile the same one moves both, so that what they share cancels. Of collectives that holds kind
/// by kind (tensor, context, expert, data, pipeline): all-reduces inside nodes say nothing of sends across
/// the fabric, so that the errors of two kinds never cancel:
///     sigma^2 = (Kb sb - Ka sa)^2 + ((Hb - Ha) .2)^2 + ((Sb - Sa) .25)^2 + sum over kinds (Cb tb - Ca ta)^2
/// with K, C the seconds of kernels and of a kind's exposed communication, s, t their spreads, H and S the
/// seconds of the host and of storage (reports/answers/error_shares.hpp). Kernels are shared if GPU, profile
/// and precision are the same, collectives if their profile is, hosts if the software is, storage if its kind
/// is: what counts of operators or datasheets promise too much does not change with a rate. What is not
/// shared adds in squares, (Ka sa)^2 + (Kb sb)^2, with C of all kinds together, as each prediction's own
/// interval has it. To first order in the spreads.
std::array<double, 2> difference_interval(const ComparablePrediction& a, const ComparablePrediction& b);

/// Central 80 % of the ratio of tokens/s per GPU, b over a, with the same shared errors (ln ratio is linear
/// in them: shares of the step stand in place of seconds).
std::array<double, 2> efficiency_interval(const ComparablePrediction& a, const ComparablePrediction& b);

}  // namespace orrery
