#pragma once

#include <optional>
#include <string>

#include "sim/base/json_reader.hpp"
#include "topologies/provenance.hpp"

namespace orrery {

// What stands around the GPUs (contract section 2: storage, price, power, reliability).

/// Where training data and checkpoints lie, on the same graph as the gradients (build_topology).
struct StorageSpec {
  enum class Kind {
    shared,  ///< a file system of servers on the fabric
    local,   ///< drives in every node
    object   ///< a store reached over the fabric; as shared, with its own default latency
  };
  Kind kind = Kind::shared;
  /// Of all servers together, or of the drives of one node. Left out, each is as the other.
  std::optional<BytesPerSecond> read_bandwidth;
  std::optional<BytesPerSecond> write_bandwidth;  ///< bytes that the media take, copies and parity among them
  std::optional<BytesPerSecond> per_client_bandwidth;  ///< of a node, read or write; left out: no limit
  std::optional<Seconds> latency;                      ///< given
  Seconds access_latency;  ///< of one access without its bytes: given or the kind's default
  int data_parts = 1;      ///< of an erasure code, K; 1: whole copies
  int extra_parts = 0;     ///< parity parts M, or copies beyond the first

  BytesPerSecond read_rate() const { return read_bandwidth ? *read_bandwidth : *write_bandwidth; }
  /// What clients can write: the media take N copies, or (K+M)/K of the bytes.
  BytesPerSecond client_write_rate() const {
    const double written = static_cast<double>(data_parts + extra_parts) / data_parts;
    return (write_bandwidth ? *write_bandwidth : *read_bandwidth) / written;
  }
  bool operator==(const StorageSpec&) const = default;
};

// Prices, power and reliability are read strictly and kept; a step time does not depend on them. A prediction
// says what it costs; power and reliability are refused there until something is said about energy and
// goodput.

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

StorageSpec read_storage(const SpecReader& reader, Provenance& provenance, const std::string& path);
PriceSpec read_price(const SpecReader& reader);
PowerSpec read_power(const SpecReader& reader);
ReliabilitySpec read_reliability(const SpecReader& reader);

}  // namespace orrery
