#include "sim/engine/simgrid_platform.hpp"

#include <algorithm>
#include <cmath>
#include <simgrid/kernel/Timer.hpp>
#include <simgrid/kernel/routing/NetZoneImpl.hpp>
#include <simgrid/s4u.hpp>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sim/engine/local_max_min.hpp"
#include "sim/engine/tolerances.hpp"

namespace orrery {

namespace {

using simgrid::kernel::resource::StandardLinkImpl;
namespace s4u = simgrid::s4u;

/// A zone without route tables: a communication takes the links that were announced just before it was
/// started. SimGrid asks for the route inside Comm::start() when that is called from the maestro
/// (measured, 3.32; a test holds flows with different routes to their own rates).
class AnnouncedRouteZone : public simgrid::kernel::routing::NetZoneImpl {
 public:
  explicit AnnouncedRouteZone(const std::string& name) : NetZoneImpl(name) {}

  void announce(const std::vector<StandardLinkImpl*>* route) { route_ = route; }

  void get_local_route(const simgrid::kernel::routing::NetPoint* /*from*/,
                       const simgrid::kernel::routing::NetPoint* /*to*/,
                       simgrid::kernel::routing::Route* into,
                       double* /*latency: none, the executor adds it*/) override {
    into->link_list_.insert(into->link_list_.end(), route_->begin(), route_->end());
  }

 private:
  const std::vector<StandardLinkImpl*>* route_ = nullptr;
};

/// The only function that knows SimGrid's options.
void configure_network_model() {
  s4u::Engine::set_config("network/model:CM02");      // no TCP slow-start factors
  s4u::Engine::set_config("network/crosstraffic:0");  // no acknowledgements on the reverse path
  s4u::Engine::set_config("network/TCP-gamma:0");     // no TCP window limit
  // Events closer than this are one event: the default 1 ns would end short flows early. A step of 10^4 s
  // still leaves five digits to the clock's own rounding (2e-12 s).
  s4u::Engine::set_config("surf/precision:1e-11");
  // Relative to a link's bandwidth: what is left of it counts as nothing. The default 1e-5 would show in
  // results.
  s4u::Engine::set_config("maxmin/precision:1e-10");
}

/// Rates that are less apart are one to the solver beside SimGrid: sums in another order.
constexpr double kSameRateBeside = 1e-9;

std::vector<double> resource_capacities(const SharedResources& resources) {
  std::vector<double> result;
  for (const SharedResource& resource : resources.resources()) result.push_back(resource.capacity);
  return result;
}

}  // namespace

/// Which resource holds each of SimGrid's flows, and what it costs them.
struct SimgridPlatform::Bottlenecks {
  LocalMaxMin solver;
  LostTimeAccount account;
  double changed_at = 0.0;

  explicit Bottlenecks(const SharedResources& shared)
      : solver(resource_capacities(shared), kSameRateBeside) {}

  /// What came and went at one instant is solved for together, before the next.
  void bring_up_to(double now) {
    if (now > changed_at) {
      for (const auto& [number, rate] : solver.settle()) {
        account.set(number, rate, solver.held_by(number), changed_at);
      }
      for (const std::int32_t number : solver.held_anew()) {
        account.set(number, solver.rate(number), solver.held_by(number), changed_at);
      }
    }
    changed_at = now;
  }
  std::int32_t add(const Start& start, double now) {
    bring_up_to(now);
    const std::int32_t number = solver.add(start.binding_shares, start.rate_bound);
    account.begin(number, start.rate_bound, now);
    return number;
  }
  /// The span holds until the next call.
  std::span<const LostTime> remove(std::int32_t number, double now) {
    bring_up_to(now);
    solver.remove(number);
    return account.end(number, now);
  }
};

struct SimgridPlatform::Simulation {
  std::string program = "orrery";
  std::string quiet = "--log=root.thres:critical";
  std::vector<char*> arguments{program.data(), quiet.data(), nullptr};
  int argument_count = 2;
  s4u::Engine engine{&argument_count, arguments.data()};
  AnnouncedRouteZone* zone = nullptr;  // SimGrid's
  s4u::Host* sender = nullptr;
  s4u::Host* receiver = nullptr;
  double scale = 1.0;                                  // SimGrid's units a byte
  std::vector<std::vector<StandardLinkImpl*>> routes;  // by communication
  struct Live {
    std::int32_t flow;
    std::int32_t number;  // of the solver beside
    s4u::CommPtr comm;
  };
  std::unordered_map<const s4u::Activity*, Live> live;
  std::vector<s4u::CommPtr> ended;  // kept until SimGrid has let go of them
  FlowEnd flow_ended;

  StandardLinkImpl* link(const std::string& name, double bandwidth, s4u::Link::SharingPolicy policy) {
    s4u::Link* created = zone->create_link(name, {bandwidth * scale});
    created->set_latency(0.0)->set_sharing_policy(policy)->seal();
    return created->get_impl();
  }
};

SimgridPlatform::SimgridPlatform(const SharedResources& resources, std::span<const double> rate_bound,
                                 double largest_flow, bool says_what_is_lost)
    : bottlenecks_(says_what_is_lost ? std::make_unique<Bottlenecks>(resources) : nullptr),
      simulation_(std::make_unique<Simulation>()) {
  Simulation& simulation = *simulation_;
  configure_network_model();
  // A power of two, so that scaling rounds nothing.
  simulation.scale = std::exp2(52.0 - std::ceil(std::log2(std::max(1.0, largest_flow))));
  simulation.zone = new AnnouncedRouteZone("fabric");  // NOLINT: the engine owns its zones
  simulation.sender = simulation.zone->create_host("sender", {1.0});
  simulation.receiver = simulation.zone->create_host("receiver", {1.0});
  std::vector<StandardLinkImpl*> shared;
  for (const SharedResource& resource : resources.resources()) {
    shared.push_back(simulation.link("resource" + std::to_string(shared.size()), resource.unit_capacity,
                                     s4u::Link::SharingPolicy::SHARED));
  }
  simulation.routes.resize(rate_bound.size());
  for (size_t communication = 0; communication < rate_bound.size(); ++communication) {
    const auto shares = resources.shares_of(static_cast<std::int32_t>(communication));
    if (shares.empty()) {
      continue;
    }
    // SimGrid 3.32 ignores Comm::set_rate between hosts; a link that bounds each flow by itself does the
    // same.
    auto& route = simulation.routes[communication];
    route.push_back(simulation.link("bound" + std::to_string(communication), rate_bound[communication],
                                    s4u::Link::SharingPolicy::FATPIPE));
    for (const ResourceShare& share : shares) {
      route.insert(route.end(), static_cast<size_t>(share.multiplicity),
                   shared[static_cast<size_t>(share.resource)]);
    }
  }
  simulation.zone->seal();
  simulation.engine.seal_platform();
  s4u::Activity::on_completion_cb(
      [&simulation, bottlenecks = bottlenecks_.get()](const s4u::Activity& activity) {
        const auto found = simulation.live.find(&activity);
        Simulation::Live ended = std::move(found->second);
        simulation.ended.push_back(std::move(ended.comm));
        simulation.live.erase(found);
        std::span<const LostTime> lost;
        if (bottlenecks != nullptr) lost = bottlenecks->remove(ended.number, s4u::Engine::get_clock());
        simulation.flow_ended(ended.flow, lost);
      });
}

SimgridPlatform::~SimgridPlatform() = default;

void SimgridPlatform::on_flow_end(FlowEnd callback) { simulation_->flow_ended = std::move(callback); }

void SimgridPlatform::start_flow(const Start& start) {
  Simulation& simulation = *simulation_;
  simulation.ended.clear();
  simulation.zone->announce(&simulation.routes[static_cast<size_t>(start.communication)]);
  s4u::CommPtr comm = s4u::Comm::sendto_init();
  comm->set_payload_size(
      static_cast<std::uint64_t>(std::max(1.0, std::nearbyint(start.bytes * simulation.scale))));
  const std::int32_t number = bottlenecks_ ? bottlenecks_->add(start, now()) : -1;
  simulation.live.emplace(comm.get(), Simulation::Live{start.flow, number, comm});
  comm->set_source(simulation.sender);
  comm->set_destination(simulation.receiver);  // starts it: nothing else is missing
}

void SimgridPlatform::set_timer(double time, std::function<void()> callback) {
  simgrid::kernel::timer::Timer::set(time, std::move(callback));
}

void SimgridPlatform::set_alarm(double time) {
  if (time >= alarm_time_) return;
  alarm_time_ = time;
  set_timer(time, [this, time] {
    if (time == alarm_time_) {  // an earlier one has been set and has served since, otherwise
      alarm_time_ = kNever;
      alarm_();
    }
  });
}

double SimgridPlatform::now() const { return s4u::Engine::get_clock(); }

void SimgridPlatform::run() { simulation_->engine.run(); }

}  // namespace orrery
