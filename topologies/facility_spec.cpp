#include "topologies/facility_spec.hpp"

#include <array>
#include <charconv>

namespace orrery {
namespace {

constexpr std::array<std::string_view, 3> kStorageKinds = {"shared", "local", "object"};
constexpr std::string_view kReplication = "replication:";
constexpr std::string_view kErasure = "erasure:";
constexpr int kMostParts = 100;
constexpr double kMostPue = 10.0;
constexpr int kMostSpares = 1'000'000;

template <typename Q>
std::optional<Q> optional_quantity(const SpecReader& reader, std::string_view key, bool zero_allowed = true) {
  if (!reader.has(key)) return std::nullopt;
  return reader.at(key).quantity<Q>(zero_allowed);
}

/// Reads a count in [least, kMostParts] off the front of the text.
bool take_count(std::string_view& text, int least, int& count) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc{} || count < least || count > kMostParts) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool parse_redundancy(std::string_view text, StorageSpec& storage) {
  if (text == "none") return true;
  int first = 0;
  if (text.starts_with(kReplication)) {
    text.remove_prefix(kReplication.size());
    if (!take_count(text, 1, first) || !text.empty()) return false;
    storage.extra_parts = first - 1;
    return true;
  }
  if (!text.starts_with(kErasure)) return false;
  text.remove_prefix(kErasure.size());
  if (!take_count(text, 2, storage.data_parts) || !text.starts_with('+')) return false;
  text.remove_prefix(1);
  return take_count(text, 1, storage.extra_parts) && text.empty();
}

}  // namespace

std::string_view name_of(StorageSpec::Kind kind) { return kStorageKinds[static_cast<size_t>(kind)]; }

std::string redundancy_text(const StorageSpec& storage) {
  if (storage.data_parts > 1) {
    return std::string(kErasure) + std::to_string(storage.data_parts) + '+' +
           std::to_string(storage.extra_parts);
  }
  return storage.extra_parts == 0 ? "none"
                                  : std::string(kReplication) + std::to_string(storage.extra_parts + 1);
}

StorageSpec read_storage(const SpecReader& reader, Provenance& provenance, const std::string& path) {
  reader.only({"kind", "read_bandwidth", "write_bandwidth", "per_client_bandwidth", "latency", "redundancy"});
  StorageSpec storage;
  storage.kind = static_cast<StorageSpec::Kind>(reader.at("kind").choice(kStorageKinds));
  storage.read_bandwidth = optional_quantity<BytesPerSecond>(reader, "read_bandwidth", false);
  storage.write_bandwidth = optional_quantity<BytesPerSecond>(reader, "write_bandwidth", false);
  storage.per_client_bandwidth = optional_quantity<BytesPerSecond>(reader, "per_client_bandwidth", false);
  storage.latency = optional_quantity<Seconds>(reader, "latency");
  if (!storage.read_bandwidth && !storage.write_bandwidth) {
    reader.at("read_bandwidth").refuse(expected_unit_text<BytesPerSecond>());
  }
  if (storage.per_client_bandwidth && storage.kind == StorageSpec::Kind::local) {
    reader.at("per_client_bandwidth").refuse("nothing, because a node's drives have one client");
  }
  std::string default_path = "storage.";
  default_path.append(name_of(storage.kind)).append(".latency");
  storage.access_latency = storage.latency
                               ? *storage.latency
                               : provenance.default_for(default_path, path + ".latency").quantity<Seconds>();
  if (reader.has("redundancy")) {
    const SpecReader redundancy = reader.at("redundancy");
    if (!redundancy.is_text() || !parse_redundancy(redundancy.text(), storage)) {
      redundancy.refuse("\"none\", \"replication:N\" or \"erasure:K+M\" with whole numbers");
    }
  }
  return storage;
}

PriceSpec read_price(const SpecReader& reader) {
  reader.only({"gpu_hour", "node", "switch", "optics", "storage", "years"});
  PriceSpec price;
  price.gpu_hour = optional_quantity<Dollars>(reader, "gpu_hour");
  price.node = optional_quantity<Dollars>(reader, "node");
  price.network_switch = optional_quantity<Dollars>(reader, "switch");
  price.optics = optional_quantity<Dollars>(reader, "optics");
  price.storage = optional_quantity<Dollars>(reader, "storage");
  if (reader.has("years")) price.years = reader.at("years").number_above(0.0);
  if (price.gpu_hour &&
      (price.node || price.network_switch || price.optics || price.storage || price.years)) {
    reader.refuse_message("gives both \"gpu_hour\" and a purchase; expected one of the two");
  } else if (!price.gpu_hour && (!price.node || !price.years)) {
    reader.refuse_message("expected \"gpu_hour\", or a purchase: at least \"node\" and \"years\"");
  }
  return price;
}

PowerSpec read_power(const SpecReader& reader) {
  reader.only({"node_idle", "node_busy", "switch", "pue"});
  PowerSpec power;
  power.node_idle = optional_quantity<Watts>(reader, "node_idle");
  power.node_busy = optional_quantity<Watts>(reader, "node_busy");
  power.network_switch = optional_quantity<Watts>(reader, "switch");
  if (reader.has("pue")) power.pue = reader.at("pue").number(1.0, kMostPue);
  if (power.node_idle && power.node_busy && *power.node_busy < *power.node_idle) {
    reader.at("node_busy").refuse("at least node_idle, " + exact_text(*power.node_idle));
  }
  return power;
}

ReliabilitySpec read_reliability(const SpecReader& reader) {
  reader.only({"node_failures_per_1000_days", "detect", "restart", "spares", "repair"});
  ReliabilitySpec reliability;
  if (reader.has("node_failures_per_1000_days")) {
    reliability.node_failures_per_1000_days =
        reader.at("node_failures_per_1000_days").number(0.0, std::numeric_limits<double>::max());
  }
  reliability.detect = optional_quantity<Seconds>(reader, "detect");
  reliability.restart = optional_quantity<Seconds>(reader, "restart");
  if (reader.has("spares"))
    reliability.spares = static_cast<int>(reader.at("spares").integer(0, kMostSpares));
  reliability.repair = optional_quantity<Seconds>(reader, "repair");
  return reliability;
}

}  // namespace orrery
