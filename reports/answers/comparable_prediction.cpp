#include "reports/answers/comparable_prediction.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "reports/answers/error_shares.hpp"
#include "sim/base/quantile.hpp"
#include "topologies/build_topology.hpp"

namespace orrery {
namespace {

constexpr double kHoursPerYear = 8766.0;  // 365.25 days

bool is_cable(VertexKind a, VertexKind b) {
  return (is_network_switch(a) && is_network_switch(b)) || (a == VertexKind::nic && is_network_switch(b)) ||
         (is_network_switch(a) && b == VertexKind::nic);
}

/// What moves a quantity when one error of a unit normal moves both sides, or two independent ones each side.
double sigma_of(double a, double b, bool shared) { return shared ? std::abs(b - a) : std::hypot(a, b); }

struct SharedErrors {
  bool kernels = false, collectives = false, host = false, storage = false;
};

ErrorShares shares_of(const ComparablePrediction& of) {
  return error_shares(of.prediction.breakdown, of.kernel_spread, of.communication_spread);
}

/// What the errors of communication move of b / over_b - a / over_a: seconds over 1, shares over the steps.
double communication_sigma(const ErrorShares& a, double over_a, const ErrorShares& b, double over_b,
                           bool shared) {
  const auto all = [](const ErrorShares& of) {
    return std::accumulate(of.communication_s.begin(), of.communication_s.end(), 0.0);
  };
  if (!shared) return sigma_of(all(a) / over_a, all(b) / over_b, false);
  double sigma = 0.0;
  for (size_t kind = 0; kind < kCommunicationKinds.size(); ++kind)
    sigma = std::hypot(sigma, b.communication_s[kind] / over_b - a.communication_s[kind] / over_a);
  return sigma;
}

SharedErrors shared_errors(const ComparablePrediction& a, const ComparablePrediction& b) {
  return {a.prediction.gpu == b.prediction.gpu && a.prediction.precision == b.prediction.precision &&
              a.prediction.calibration.profile == b.prediction.calibration.profile,
          a.collective_profile == b.collective_profile, a.software == b.software, a.storage == b.storage};
}

/// What all errors move of b / over_b - a / over_a.
double sigma_between(const ComparablePrediction& a, double over_a, const ComparablePrediction& b,
                     double over_b) {
  const SharedErrors shared = shared_errors(a, b);
  const ErrorShares of_a = shares_of(a), of_b = shares_of(b);
  const auto sigma = [&](double ErrorShares::*part, bool is_shared) {
    return sigma_of(of_a.*part / over_a, of_b.*part / over_b, is_shared);
  };
  const double assumed =
      std::hypot(sigma(&ErrorShares::host_s, shared.host), sigma(&ErrorShares::storage_s, shared.storage));
  return std::hypot(sigma(&ErrorShares::kernels_s, shared.kernels),
                    communication_sigma(of_a, over_a, of_b, over_b, shared.collectives), assumed);
}

}  // namespace

std::optional<double> hourly_price(const ClusterSpec& cluster, const Topology& topology) {
  if (!cluster.price) return std::nullopt;
  const PriceSpec& price = *cluster.price;
  if (price.gpu_hour) return price.gpu_hour->base() * cluster.gpus;
  if (!price.node || !price.years) return std::nullopt;
  double purchase = price.node->base() * cluster.nodes;
  if (price.network_switch) {
    purchase +=
        price.network_switch->base() * (topology.count(VertexKind::leaf) + topology.count(VertexKind::spine) +
                                        topology.count(VertexKind::core));
  }
  if (price.optics) {
    const auto vertices = topology.vertices();
    const auto directions =
        std::count_if(topology.links().begin(), topology.links().end(), [&vertices](const Link& link) {
          return is_cable(vertices[static_cast<size_t>(link.from)].kind,
                          vertices[static_cast<size_t>(link.to)].kind);
        });
    purchase += price.optics->base() * static_cast<double>(directions) / 2.0;
  }
  if (price.storage) purchase += price.storage->base();
  return purchase / (*price.years * kHoursPerYear);
}

ComparablePrediction predict_to_compare(const Experiment& experiment, const PredictOptions& options,
                                        CalibrationStore& calibrations) {
  ComparablePrediction result;
  result.prediction = predict(experiment, options, calibrations);
  Prediction& prediction = result.prediction;
  // predict() has made the same plan a moment ago, so that nothing is refused here.
  const CalibratedModels models = calibrations.models(experiment, options);
  const StepPlan plan = plan_of(experiment, models, shape_for_engine(experiment, options.engine));
  result.kernel_spread = plan.kernel_spread;
  result.communication_spread = communication_spread(plan, models.tier);
  // What was learned of communication is the stack's and its year's, or the site's.
  result.collective_profile =
      fmt::format("{} {} {} {}", models.collectives->profile_source(), experiment.software.name,
                  experiment.software.date.year, options.site);
  result.software = experiment.software.name;
  if (experiment.cluster.storage) result.storage = experiment.cluster.storage->kind;
  result.overlap_slowdown = experiment.software.overlap_slowdown;
  if (experiment.cluster.price)
    result.usd_per_hour = hourly_price(experiment.cluster, build_topology(experiment.cluster));
  if (prediction.simulated) {
    result.slowest_rank = slowest_rank(prediction.simulated->graph, prediction.simulated->timeline);
    prediction.simulated.reset();
  }
  return result;
}

std::array<double, 2> difference_interval(const ComparablePrediction& a, const ComparablePrediction& b) {
  const double sigma = sigma_between(a, 1.0, b, 1.0);
  const double difference = b.prediction.step_time.base() - a.prediction.step_time.base();
  return {difference - kNinetiethPercentile * sigma, difference + kNinetiethPercentile * sigma};
}

std::array<double, 2> efficiency_interval(const ComparablePrediction& a, const ComparablePrediction& b) {
  const double sigma = sigma_between(a, a.prediction.step_time.base(), b, b.prediction.step_time.base());
  const double ratio =
      (b.prediction.tokens_per_s / b.prediction.gpus) / (a.prediction.tokens_per_s / a.prediction.gpus);
  const double factor = std::exp(kNinetiethPercentile * sigma);
  return {ratio / factor, ratio * factor};
}

}  // namespace orrery
