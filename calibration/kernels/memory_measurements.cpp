#include <algorithm>

#include "calibration/kernels/measurement_lines.hpp"
#include "calibration/kernels/measurements.hpp"

namespace orrery {

MemoryMeasurement memory_measurement(const SpecReader& row) {
  MemoryMeasurement result;
  read_origin(row, result);
  result.name = row.at("name").text();
  result.shape.kind =
      static_cast<MemoryKind>(row.at("kind").choice(std::span<const std::string_view>(memory_kind_names())));
  result.shape.launches = static_cast<int>(count_or(row, "launches", 1));
  if (row.has("share") && !row.has("time_s")) {
    result.share = row.at("share").number(0.01, 1);
    return result;
  }
  result.shape.traffic = Bytes(row.at("bytes").number_above(0));
  result.time = Seconds(row.at("time_s").number_above(0));
  return result;
}

LaunchMeasurement launch_measurement(const SpecReader& row) {
  LaunchMeasurement result;
  read_origin(row, result);
  row.at("mode").choice({"eager", "graph"});
  result.mode = row.at("mode").text();
  result.time = Seconds(row.at("time_s").number_above(0));
  return result;
}

CopyMeasurement copy_measurement(const SpecReader& row) {
  CopyMeasurement result;
  read_origin(row, result);
  row.at("direction").choice({"device", "host_to_device", "device_to_host", "peer"});
  result.direction = row.at("direction").text();
  result.bytes = Bytes(row.at("bytes").number_above(0));
  result.time = Seconds(row.at("time_s").number_above(0));
  return result;
}

OverlapMeasurement overlap_measurement(const SpecReader& row) {
  OverlapMeasurement result;
  read_origin(row, result);
  result.shape.m = row.at("m").integer(1, kLargestCount);
  result.shape.n = row.at("n").integer(1, kLargestCount);
  result.shape.k = row.at("k").integer(1, kLargestCount);
  result.shape.batch = count_or(row, "batch", 1);
  result.shape.precision = precision_of(row).value_or(Precision::bf16);
  const SpecReader beside = row.at("beside");
  result.beside = beside.at("op").text();
  result.blocks = beside.has("blocks") ? static_cast<int>(beside.at("blocks").integer(0, 100000)) : 0;
  result.time = Seconds(row.at("time_s").number_above(0));
  result.alone = Seconds(row.at("alone_s").number_above(0));
  return result;
}

}  // namespace orrery
