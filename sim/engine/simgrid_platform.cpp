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

}  // namespace

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
  std::unordered_map<const s4u::Activity*, std::pair<std::int32_t, s4u::CommPtr>> live;
  std::vector<s4u::CommPtr> ended;  // kept until SimGrid has let go of them
  std::function<void(std::int32_t)> flow_ended;

  StandardLinkImpl* link(const std::string& name, double bandwidth, s4u::Link::SharingPolicy policy) {
    s4u::Link* created = zone->create_link(name, {bandwidth * scale});
    created->set_latency(0.0)->set_sharing_policy(policy)->seal();
    return created->get_impl();
  }
};

SimgridPlatform::SimgridPlatform(const SharedResources& resources, std::span<const double> rate_bound,
                                 double largest_flow)
    : simulation_(std::make_unique<Simulation>()) {
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
  s4u::Activity::on_completion_cb([&simulation](const s4u::Activity& activity) {
    const auto found = simulation.live.find(&activity);
    const std::int32_t flow = found->second.first;
    simulation.ended.push_back(std::move(found->second.second));
    simulation.live.erase(found);
    simulation.flow_ended(flow);
  });
}

SimgridPlatform::~SimgridPlatform() = default;

void SimgridPlatform::on_flow_end(std::function<void(std::int32_t)> callback) {
  simulation_->flow_ended = std::move(callback);
}

void SimgridPlatform::start_flow(std::int32_t flow, std::int32_t communication, double bytes) {
  Simulation& simulation = *simulation_;
  simulation.ended.clear();
  simulation.zone->announce(&simulation.routes[static_cast<size_t>(communication)]);
  s4u::CommPtr comm = s4u::Comm::sendto_init();
  comm->set_payload_size(static_cast<std::uint64_t>(std::max(1.0, std::nearbyint(bytes * simulation.scale))));
  simulation.live.emplace(comm.get(), std::pair(flow, comm));
  comm->set_source(simulation.sender);
  comm->set_destination(simulation.receiver);  // starts it: nothing else is missing
}

void SimgridPlatform::set_timer(double time, std::function<void()> callback) {
  simgrid::kernel::timer::Timer::set(time, std::move(callback));
}

double SimgridPlatform::now() const { return s4u::Engine::get_clock(); }

void SimgridPlatform::run() { simulation_->engine.run(); }

}  // namespace orrery
