#pragma once

#include <optional>
#include <string>

#include "sim/base/json_reader.hpp"

namespace orrery {

/// What stands around the GPUs (contract section 2: storage, price, power, reliability). Read strictly and
/// kept; a step time does not depend on it.
struct StorageSpec {
  enum class Kind { shared, local, object };
  Kind kind = Kind::shared;
  std::optional<BytesPerSecond> read_bandwidth;
  std::optional<BytesPerSecond> write_bandwidth;
  std::optional<BytesPerSecond> per_client_bandwidth;
  std::optional<Seconds> latency;
  int data_parts = 1;   ///< of an erasure code, K; 1: whole copies
  int extra_parts = 0;  ///< parity parts M, or copies beyond the first
};

struct PriceSpec {
  std::optional<Dollars> gpu_hour;  ///< either this
  std::optional<Dollars> node;      ///< or the purchase, written off over `years`
  std::optional<Dollars> network_switch;
  std::optional<Dollars> optics;  ///< a cable with both ends
  std::optional<Dollars> storage;
  std::optional<double> years;
};

struct PowerSpec {
  std::optional<Watts> node_idle;
  std::optional<Watts> node_busy;
  std::optional<Watts> network_switch;
  std::optional<double> pue;  ///< power of the building over that of the machines, >= 1
};

struct ReliabilitySpec {
  std::optional<double> node_failures_per_1000_days;
  std::optional<Seconds> detect;
  std::optional<Seconds> restart;
  std::optional<int> spares;
  std::optional<Seconds> repair;
};

std::string_view name_of(StorageSpec::Kind kind);
/// "none", "replication:3" (copies in all) or "erasure:8+2".
std::string redundancy_text(const StorageSpec& storage);

StorageSpec read_storage(const SpecReader& reader);
PriceSpec read_price(const SpecReader& reader);
PowerSpec read_power(const SpecReader& reader);
ReliabilitySpec read_reliability(const SpecReader& reader);

}  // namespace orrery
