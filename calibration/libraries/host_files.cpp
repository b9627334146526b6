#include "calibration/libraries/host_files.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "sim/base/data_files.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

std::string file_named(const char* name) {
  return (data_root() / "calibration/profiles/collectives" / name).string();
}

double seconds_of(const SpecReader& reader) { return reader.quantity<Seconds>(true).base(); }
double rate_of(const SpecReader& reader) { return reader.quantity<BytesPerSecond>().base(); }

/// "1 MiB", or "none": the library does not pipeline.
double segment_of(const SpecReader& reader) {
  if (reader.is_text() && reader.text() == "none") return 0.0;
  return reader.quantity<Bytes>().base();
}

/// On which groups a direction was measured.
ExpertExchangeHull read_hull(const SpecReader& reader) {
  reader.only({"gpu", "protocol", "least_ranks", "most_ranks"});
  constexpr std::array<NicProtocol, 6> kProtocols = {NicProtocol::infiniband, NicProtocol::roce,
                                                     NicProtocol::ethernet,   NicProtocol::slingshot,
                                                     NicProtocol::efa,        NicProtocol::omni_path};
  std::array<std::pair<std::string_view, NicProtocol>, 6> named;
  std::transform(kProtocols.begin(), kProtocols.end(), named.begin(),
                 [](NicProtocol protocol) { return std::pair(name_of(protocol), protocol); });
  return {reader.at("gpu").text(), reader.at("protocol").choice_of<NicProtocol>(named),
          static_cast<int>(reader.at("least_ranks").integer(2, 1 << 20)),
          static_cast<int>(reader.at("most_ranks").integer(2, 1 << 20))};
}

ExpertExchangeRates read_rates(const SpecReader& reader) {
  reader.only({"start", "network_share", "nvlink_share", "measured"});
  ExpertExchangeRates rates{seconds_of(reader.at("start")), reader.at("network_share").number(1e-3, 1.0),
                            reader.at("nvlink_share").number(1e-3, 1.0), std::nullopt};
  if (reader.has("measured")) rates.measured = read_hull(reader.at("measured"));
  return rates;
}

}  // namespace

HostStagedConstants load_host_staged(std::string_view library, BytesPerSecond host_link) {
  const std::string file = file_named("host-staged.json");
  const Json document = read_json_file(file);
  Problems problems(file);
  const SpecReader root(document, "", problems);
  root.only({"schema", "description", "mpi", "gloo"});
  root.at("schema").choice({"orrery.host_staged/1"});
  const SpecReader reader = root.at(library);
  reader.only({"copy_efficiency", "copy_latency", "segment", "call_latency", "message_latency_inside",
               "message_latency_network", "process_rate", "network_efficiency", "shared_memory_rate",
               "reduce_rate", "rings_only", "sources"});
  HostStagedConstants constants;
  constants.library = library;
  constants.host_link = host_link.base();
  constants.copy_efficiency = reader.at("copy_efficiency").number(1e-3, 1.0);
  constants.copy_latency = seconds_of(reader.at("copy_latency"));
  constants.segment_bytes = segment_of(reader.at("segment"));
  constants.call_latency = seconds_of(reader.at("call_latency"));
  constants.message_latency_inside = seconds_of(reader.at("message_latency_inside"));
  constants.message_latency_network = seconds_of(reader.at("message_latency_network"));
  constants.process_rate = rate_of(reader.at("process_rate"));
  constants.network_efficiency = reader.at("network_efficiency").number(1e-3, 1.0);
  constants.shared_memory_rate = rate_of(reader.at("shared_memory_rate"));
  constants.reduce_rate = rate_of(reader.at("reduce_rate"));
  constants.rings_only = reader.at("rings_only").boolean();
  // A number that nobody measured says so in its source.
  std::string assumed;
  for (const auto& [key, source] : reader.at("sources").members()) {
    if (source.text().starts_with("assumed")) assumed += (assumed.empty() ? "" : ", ") + key;
  }
  constants.source =
      "host-staged constants of " + std::string(library) + ", nothing fitted; assumed: " + assumed;
  problems.throw_if_any();
  return constants;
}

ExpertExchangeConstants load_expert_exchange(NicProtocol protocol, bool low_latency) {
  const std::string file = file_named("expert-exchange.json");
  const Json document = read_json_file(file);
  Problems problems(file);
  const SpecReader root(document, "", problems);
  root.only({"schema", "description", "normal", "normal_efa", "low_latency"});
  root.at("schema").choice({"orrery.expert_exchange/1"});
  ExpertExchangeConstants constants;
  constants.name = low_latency ? "low_latency" : protocol == NicProtocol::efa ? "normal_efa" : "normal";
  const SpecReader reader = root.at(constants.name);
  reader.only({"deduplicates", "dispatch", "combine", "source"});
  constants.deduplicates = reader.at("deduplicates").boolean();
  constants.dispatch = read_rates(reader.at("dispatch"));
  constants.combine = read_rates(reader.at("combine"));
  constants.source = reader.at("source").text();
  problems.throw_if_any();
  return constants;
}

}  // namespace orrery
