#include "reports/answers/comparable_prediction.hpp"

#include <algorithm>
#include <cmath>

#include "topologies/build_topology.hpp"

namespace orrery {
namespace {

constexpr double kNinetiethPercentile = 1.2815515655446004;  // of the standard normal distribution
constexpr double kHoursPerYear = 8766.0;                     // 365.25 days

bool is_exposed_communication(size_t term) {
  for (const GroupKind group :
       {GroupKind::tensor, GroupKind::context, GroupKind::expert, GroupKind::data, GroupKind::pipeline}) {
    if (static_cast<BreakdownTerm>(term) == exposed_term(group)) return true;
  }
  return false;
}

bool is_switch(VertexKind kind) {
  return kind == VertexKind::leaf || kind == VertexKind::spine || kind == VertexKind::core;
}

bool is_cable(VertexKind a, VertexKind b) {
  return (is_switch(a) && is_switch(b)) || (a == VertexKind::nic && is_switch(b)) ||
         (is_switch(a) && b == VertexKind::nic);
}

/// What moves a quantity when one error of a unit normal moves both sides, or two independent ones each side.
double sigma_of(double a, double b, bool shared) { return shared ? std::abs(b - a) : std::hypot(a, b); }

struct SharedErrors {
  bool kernels = false, collectives = false;
};

SharedErrors shared_errors(const ComparablePrediction& a, const ComparablePrediction& b) {
  return {a.prediction.gpu == b.prediction.gpu && a.prediction.precision == b.prediction.precision &&
              a.prediction.calibration.profile == b.prediction.calibration.profile,
          a.collective_profile == b.collective_profile};
}

}  // namespace

ErrorShares error_shares(const Breakdown& breakdown) {
  ErrorShares shares;
  for (size_t i = 0; i < breakdown.size(); ++i) {
    (is_exposed_communication(i) ? shares.communication_s : shares.kernels_s) += breakdown[i];
  }
  return shares;
}

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
  const CalibratedModels models = calibrations.models(experiment, options.tier, options.calibration);
  const StepPlan plan = plan_of(experiment, models, shape_for_engine(experiment, options.engine));
  result.kernel_spread = plan.kernel_spread;
  result.communication_spread = plan.communication_spread;
  result.collective_profile = models.collectives->profile_source();
  if (experiment.cluster.price)
    result.usd_per_hour = hourly_price(experiment.cluster, build_topology(experiment.cluster));
  if (prediction.simulated) {
    result.slowest_rank = slowest_rank(prediction.simulated->graph, prediction.simulated->timeline);
    prediction.simulated.reset();
  }
  return result;
}

std::array<double, 2> difference_interval(const ComparablePrediction& a, const ComparablePrediction& b) {
  const SharedErrors shared = shared_errors(a, b);
  const ErrorShares of_a = error_shares(a.prediction.breakdown), of_b = error_shares(b.prediction.breakdown);
  const double sigma =
      std::hypot(sigma_of(of_a.kernels_s * a.kernel_spread, of_b.kernels_s * b.kernel_spread, shared.kernels),
                 sigma_of(of_a.communication_s * a.communication_spread,
                          of_b.communication_s * b.communication_spread, shared.collectives));
  const double difference = b.prediction.step_time.base() - a.prediction.step_time.base();
  return {difference - kNinetiethPercentile * sigma, difference + kNinetiethPercentile * sigma};
}

std::array<double, 2> efficiency_interval(const ComparablePrediction& a, const ComparablePrediction& b) {
  const SharedErrors shared = shared_errors(a, b);
  const ErrorShares of_a = error_shares(a.prediction.breakdown), of_b = error_shares(b.prediction.breakdown);
  const double step_a = a.prediction.step_time.base(), step_b = b.prediction.step_time.base();
  const double sigma =
      std::hypot(sigma_of(of_a.kernels_s * a.kernel_spread / step_a,
                          of_b.kernels_s * b.kernel_spread / step_b, shared.kernels),
                 sigma_of(of_a.communication_s * a.communication_spread / step_a,
                          of_b.communication_s * b.communication_spread / step_b, shared.collectives));
  const double ratio =
      (b.prediction.tokens_per_s / b.prediction.gpus) / (a.prediction.tokens_per_s / a.prediction.gpus);
  const double factor = std::exp(kNinetiethPercentile * sigma);
  return {ratio / factor, ratio * factor};
}

}  // namespace orrery
