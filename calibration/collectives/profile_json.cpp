#include "calibration/collectives/profile_json.hpp"

#include <array>
#include <tuple>
#include <utility>

namespace orrery {
namespace {

constexpr std::array kOps = {CollectiveOp::all_reduce, CollectiveOp::reduce_scatter,
                             CollectiveOp::all_gather, CollectiveOp::broadcast,
                             CollectiveOp::all_to_all, CollectiveOp::send_receive};

struct FabricMember {
  const char* key;
  double FabricConstants::*value;
};
constexpr std::array kFabricMembers = {
    FabricMember{"ring_efficiency", &FabricConstants::ring_efficiency},
    FabricMember{"tree_efficiency", &FabricConstants::tree_efficiency},
    FabricMember{"all_to_all_efficiency", &FabricConstants::all_to_all_efficiency},
    FabricMember{"pair_efficiency", &FabricConstants::pair_efficiency},
    FabricMember{"shift_efficiency", &FabricConstants::shift_efficiency},
    FabricMember{"rack_all_to_all_efficiency", &FabricConstants::rack_all_to_all_efficiency},
    FabricMember{"domain_share", &FabricConstants::domain_share},
    FabricMember{"start_s", &FabricConstants::start},
    FabricMember{"ring_hop_factor", &FabricConstants::ring_hop_factor},
    FabricMember{"tree_hop_factor", &FabricConstants::tree_hop_factor},
    FabricMember{"inner_hop_factor", &FabricConstants::inner_hop_factor},
    FabricMember{"peer_latency_s", &FabricConstants::peer_latency},
    FabricMember{"tree_fill", &FabricConstants::tree_fill},
    FabricMember{"ring_fill", &FabricConstants::ring_fill},
    FabricMember{"tree_chunks", &FabricConstants::tree_chunks},
    FabricMember{"ring_chunks", &FabricConstants::ring_chunks},
    FabricMember{"simple_hop_factor", &FabricConstants::simple_hop_factor},
    FabricMember{"ll_limit_share", &FabricConstants::ll_limit_share},
    FabricMember{"ll128_share", &FabricConstants::ll128_share},
    FabricMember{"old_host_factor", &FabricConstants::old_host_factor},
    FabricMember{"all_to_all_fill", &FabricConstants::all_to_all_fill},
    FabricMember{"all_to_all_node_power", &FabricConstants::all_to_all_node_power},
};

CollectiveOp read_op(const SpecReader& value) {
  std::array<std::string_view, kOps.size()> names;
  for (size_t i = 0; i < kOps.size(); ++i) names[i] = name_of(kOps[i]);
  return kOps[value.choice(std::span<const std::string_view>(names))];
}

int read_count(const SpecReader& value) { return static_cast<int>(value.integer(1, 1 << 24)); }

}  // namespace

Json domain_json(const DomainConstants& domain) {
  Json curves = Json::array();
  for (const DomainCurve& curve : domain.curves) {
    Json entry;
    entry["op"] = name_of(curve.op);
    entry["ranks"] = curve.ranks;
    entry["least_bytes"] = curve.least_bytes;
    entry["most_bytes"] = curve.most_bytes;
    if (curve.stands_in) entry["stands_in"] = true;
    if (curve.of_siblings) entry["of_siblings"] = true;
    entry["relative_spread"] = curve.relative_spread;
    entry["bandwidth_bytes_per_s"] = curve.bandwidth;
    entry["first_octave"] = curve.first_octave;
    entry["seconds"] = curve.seconds;
    curves.push_back(std::move(entry));
  }
  Json json;
  json["gpu"] = domain.gpu;
  json["scale_up_bandwidth_bytes_per_s"] = domain.scale_up_bandwidth;
  if (domain.mesh_gpus > 0) json["mesh_gpus"] = domain.mesh_gpus;
  json["curves"] = std::move(curves);
  return json;
}

Json fabric_json(const FabricConstants& fabric) {
  Json parameters;
  for (const FabricMember& member : kFabricMembers) parameters[member.key] = fabric.*member.value;
  Json hulls = Json::array();
  for (const FabricHull& hull : fabric.hulls) {
    Json entry;
    entry["op"] = name_of(hull.op);
    entry["ranks"] = {hull.least_ranks, hull.most_ranks};
    entry["domains"] = {hull.least_domains, hull.most_domains};
    entry["ranks_per_domain"] = {hull.least_ranks_per_domain, hull.most_ranks_per_domain};
    entry["bytes"] = {hull.least_bytes, hull.most_bytes};
    entry["rate_bytes_per_s"] = {hull.least_rate, hull.most_rate};
    entry["architectures"] = hull.architectures;
    entry["relative_spread"] = hull.relative_spread;
    entry["left_out_error"] = hull.left_out_error;
    hulls.push_back(std::move(entry));
  }
  Json json;
  json["parameters"] = std::move(parameters);
  json["hulls"] = std::move(hulls);
  return json;
}

Json one_thread_json(const OneThreadConstants& constants) {
  const auto launches = [](const LaunchTimes& times) {
    Json json;
    json["few_channels_s"] = times.few;
    json["all_channels_s"] = times.all;
    return json;
  };
  Json json;
  json["collective_launch"] = launches(constants.collective);
  json["exchange_launch"] = launches(constants.exchange);
  json["lone_start"] = {{"collective_s", constants.lone.collective}, {"exchange_s", constants.lone.exchange}};
  return json;
}

OneThreadConstants read_one_thread_profile(const SpecReader& root) {
  const auto launches = [](const SpecReader& times) {
    times.only({"few_channels_s", "all_channels_s"});
    return LaunchTimes{times.at("few_channels_s").number_above(0.0),
                       times.at("all_channels_s").number_above(0.0)};
  };
  const SpecReader constants = root.at("constants");
  constants.only({"collective_launch", "exchange_launch", "lone_start"});
  const SpecReader lone = constants.at("lone_start");
  lone.only({"collective_s", "exchange_s"});
  return {launches(constants.at("collective_launch")),
          launches(constants.at("exchange_launch")),
          {lone.at("collective_s").number_above(0.0), lone.at("exchange_s").number_above(0.0)}};
}

ProfileOf<DomainConstants> read_domain_profile(const SpecReader& root) {
  ProfileOf<DomainConstants> profile;
  const SpecReader constants = root.at("constants");
  profile.constants.gpu = constants.at("gpu").text();
  profile.constants.scale_up_bandwidth = constants.at("scale_up_bandwidth_bytes_per_s").number_above(0.0);
  if (constants.has("mesh_gpus")) profile.constants.mesh_gpus = read_count(constants.at("mesh_gpus"));
  for (const SpecReader& entry : constants.at("curves").elements()) {
    DomainCurve curve;
    curve.op = read_op(entry.at("op"));
    curve.ranks = read_count(entry.at("ranks"));
    curve.least_bytes = entry.at("least_bytes").number_above(0.0);
    curve.most_bytes = entry.at("most_bytes").number_above(0.0);
    curve.relative_spread = entry.at("relative_spread").number(0.0, 10.0);
    curve.bandwidth = entry.at("bandwidth_bytes_per_s").number_above(0.0);
    curve.stands_in = entry.has("stands_in") && entry.at("stands_in").boolean();
    curve.of_siblings = entry.has("of_siblings") && entry.at("of_siblings").boolean();
    curve.first_octave = read_count(entry.at("first_octave"));
    for (const SpecReader& value : entry.at("seconds").elements())
      curve.seconds.push_back(value.number_above(0.0));
    profile.constants.curves.push_back(std::move(curve));
  }
  profile.error = root.at("error").number(0.0, 10.0);
  profile.hash = root.at("hash").text();
  return profile;
}

ProfileOf<DomainConstants> read_domain_profile(const std::filesystem::path& file) {
  const Json json = read_json_file(file.string());
  Problems problems(file.filename().string());
  ProfileOf<DomainConstants> profile = read_domain_profile(SpecReader(json, "", problems));
  problems.throw_if_any();
  return profile;
}

ProfileOf<FabricConstants> read_fabric_profile(const std::filesystem::path& file) {
  const Json json = read_json_file(file.string());
  Problems problems(file.filename().string());
  const SpecReader root(json, "", problems);
  ProfileOf<FabricConstants> profile;
  const SpecReader parameters = root.at("constants").at("parameters");
  for (const FabricMember& member : kFabricMembers) {
    profile.constants.*member.value = parameters.at(member.key).number_above(0.0);
  }
  for (const SpecReader& entry : root.at("constants").at("hulls").elements()) {
    FabricHull hull;
    hull.op = read_op(entry.at("op"));
    hull.relative_spread = entry.at("relative_spread").number(0.0, 10.0);
    hull.left_out_error = entry.at("left_out_error").number(0.0, 100.0);
    for (const SpecReader& name : entry.at("architectures").elements())
      hull.architectures.push_back(name.text());
    const auto pair = [](const SpecReader& list) {
      const std::vector<SpecReader> ends = list.elements();
      if (ends.size() != 2) {
        list.refuse("a list of two numbers");
        return std::pair(1.0, 1.0);
      }
      return std::pair(ends[0].number_above(0.0), ends[1].number_above(0.0));
    };
    const auto [least_ranks, most_ranks] = pair(entry.at("ranks"));
    const auto [least_domains, most_domains] = pair(entry.at("domains"));
    const auto [least_inside, most_inside] = pair(entry.at("ranks_per_domain"));
    std::tie(hull.least_bytes, hull.most_bytes) = pair(entry.at("bytes"));
    std::tie(hull.least_rate, hull.most_rate) = pair(entry.at("rate_bytes_per_s"));
    hull.least_ranks = static_cast<int>(least_ranks);
    hull.most_ranks = static_cast<int>(most_ranks);
    hull.least_domains = static_cast<int>(least_domains);
    hull.most_domains = static_cast<int>(most_domains);
    hull.least_ranks_per_domain = static_cast<int>(least_inside);
    hull.most_ranks_per_domain = static_cast<int>(most_inside);
    profile.constants.hulls.push_back(hull);
  }
  profile.error = root.at("error").number(0.0, 10.0);
  profile.hash = root.at("hash").text();
  problems.throw_if_any();
  return profile;
}

}  // namespace orrery
