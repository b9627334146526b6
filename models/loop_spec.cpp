#include "models/loop_spec.hpp"

#include <array>
#include <string>
#include <string_view>

namespace orrery {

namespace {

constexpr std::int64_t kMostCounted = std::int64_t{1} << 50;
constexpr int kMostWorkers = 1024;

constexpr std::array<std::string_view, 3> kSplits = {"by_data", "by_batch", "by_sample"};
constexpr std::array<std::string_view, 3> kSyncKinds = {"step", "local", "async"};
constexpr std::array<std::string_view, 2> kOuterOptimizers = {"average", "nesterov"};

/// One line for the list: a number in the wrong unit is wrong for every rank.
std::vector<double> read_speeds(const SpecReader& reader) {
  std::vector<double> speeds;
  for (const SpecReader& speed : reader.elements()) {
    const Json& value = speed.json();
    if (!value.is_number() || value.get<double>() <= 0.0 || value.get<double>() > 1.0) {
      speed.refuse("a number above 0 and at most 1: the cluster's GPU is 1", true);
      return {};
    }
    speeds.push_back(value.get<double>());
  }
  if (reader.is_list() && speeds.empty()) reader.refuse("a number a data rank");
  return speeds;
}

}  // namespace

DataSpec read_data_spec(const SpecReader& reader) {
  DataSpec data;
  reader.only(
      {"samples", "bytes_per_sample", "workers", "open_cost", "decode_cost", "split", "shards", "speeds"});
  if (!reader.is_object()) return data;
  for (const std::string_view key :
       {"samples", "bytes_per_sample", "workers", "open_cost", "decode_cost", "split"}) {
    data.reads = data.reads || reader.has(key);
  }
  if (reader.has("samples")) data.samples = reader.at("samples").integer(1, kMostCounted);
  if (reader.has("bytes_per_sample")) data.bytes_per_sample = reader.at("bytes_per_sample").quantity<Bytes>();
  if (reader.has("workers")) data.workers = static_cast<int>(reader.at("workers").integer(0, kMostWorkers));
  if (reader.has("open_cost")) data.open_cost = reader.at("open_cost").quantity<Seconds>(true);
  if (reader.has("decode_cost")) data.decode_cost = reader.at("decode_cost").quantity<Seconds>(true);
  if (reader.has("split")) data.split = static_cast<DataSplit>(reader.at("split").choice(kSplits));
  if (reader.has("shards")) {
    for (const SpecReader& shard : reader.at("shards").elements()) {
      data.shards.push_back(shard.integer(1, kMostCounted));
    }
    if (reader.at("shards").is_list() && data.shards.empty())
      reader.at("shards").refuse("a number a data rank");
  }
  if (reader.has("speeds")) {
    data.speeds = read_speeds(reader.at("speeds"));
  }
  if (reader.json().empty()) reader.refuse("at least one of its keys");
  return data;
}

CheckpointSpec read_checkpoint_spec(const SpecReader& reader) {
  CheckpointSpec checkpoint;
  reader.only({"every", "async"});
  checkpoint.every = reader.at("every").integer(1, kMostCounted);
  if (reader.has("async")) checkpoint.async = reader.at("async").boolean();
  return checkpoint;
}

SyncSpec read_sync_spec(const SpecReader& reader) {
  SyncSpec sync;
  reader.only({"kind", "period", "staleness", "outer"});
  if (!reader.is_object()) return sync;
  sync.kind = static_cast<SyncKind>(reader.at("kind").choice(kSyncKinds));
  if (sync.kind == SyncKind::local) {
    sync.period = reader.at("period").integer(1, kMostCounted);
    if (reader.has("outer"))
      sync.outer = static_cast<OuterOptimizer>(reader.at("outer").choice(kOuterOptimizers));
  }
  if (sync.kind == SyncKind::async && reader.has("staleness")) {
    sync.staleness = reader.at("staleness").integer(0, kMostCounted);
  }
  for (const std::string_view key : {"period", "outer"}) {
    if (sync.kind != SyncKind::local && reader.has(key)) {
      reader.at(key).refuse_message("is only legal with kind \"local\"");
    }
  }
  if (sync.kind != SyncKind::async && reader.has("staleness")) {
    reader.at("staleness").refuse_message("is only legal with kind \"async\"");
  }
  return sync;
}

Json data_json(const DataSpec& data) {
  Json json = Json::object();
  if (data.samples) json["samples"] = *data.samples;
  if (data.bytes_per_sample) json["bytes_per_sample"] = exact_text(*data.bytes_per_sample);
  if (data.reads) {
    json["workers"] = data.workers;
    json["open_cost"] = exact_text(data.open_cost);
    json["decode_cost"] = exact_text(data.decode_cost);
    json["split"] = kSplits[static_cast<size_t>(data.split)];
  }
  if (!data.shards.empty()) json["shards"] = data.shards;
  if (!data.speeds.empty()) json["speeds"] = data.speeds;
  return json;
}

Json checkpoint_json(const CheckpointSpec& checkpoint) {
  return {{"every", checkpoint.every}, {"async", checkpoint.async}};
}

Json sync_json(const SyncSpec& sync) {
  Json json = {{"kind", kSyncKinds[static_cast<size_t>(sync.kind)]}};
  if (sync.kind == SyncKind::local) {
    json["period"] = sync.period;
    json["outer"] = kOuterOptimizers[static_cast<size_t>(sync.outer)];
  }
  if (sync.staleness) json["staleness"] = *sync.staleness;
  return json;
}

}  // namespace orrery
