#include "topologies/gpu_spec.hpp"

#include "sim/base/precision.hpp"

namespace orrery {
namespace {

constexpr int kMostSms = 4096;
constexpr int kMostLinks = 256;

std::optional<FlopsPerSecond>& peak_of(DeviceSpec& device, Precision precision) {
  return device.peak[static_cast<size_t>(precision)];
}

void read_peaks(const SpecReader& peaks, DeviceSpec& device) {
  peaks.only(std::vector<std::string>(precision_names().begin(), precision_names().end()));
  for (const std::string_view name : precision_names()) {
    if (peaks.has(name)) peak_of(device, *precision_named(name)) = peaks.at(name).quantity<FlopsPerSecond>();
  }
  for (const Precision recipe : {Precision::fp8_current, Precision::fp8_block}) {
    if (!peak_of(device, recipe)) peak_of(device, recipe) = peak_of(device, Precision::fp8);
  }
}

}  // namespace

GpuSpec read_gpu(const SpecReader& value, Provenance& provenance, const std::string& path) {
  GpuSpec gpu;
  const size_t problems_before = value.problems().list().size();
  const Json whole = provenance.expand(value, "topologies/presets/gpus", path, &gpu.device.name);
  if (value.problems().list().size() > problems_before) {
    // No such preset. With some links, nothing that follows from a GPU without any is refused as well.
    gpu.nvlink_links = 1;
    gpu.nvlink_link_bandwidth = gpu.pcie_bandwidth = gigabytes_per_second(1);
    return gpu;
  }
  if (gpu.device.name.empty()) gpu.device.name = "custom";
  const SpecReader reader(whole, value.pointer(), value.problems());
  reader.only({"architecture", "sms", "memory_bandwidth", "memory_capacity", "l2_cache", "board_power",
               "peak", "exponentials", "shared_memory_bandwidth", "persistent_products", "nvlink",
               "pcie_bandwidth", "sources", "note"});
  gpu.device.architecture = reader.at("architecture").text();
  gpu.device.sms = static_cast<int>(reader.at("sms").integer(1, kMostSms));
  gpu.device.memory_bandwidth = reader.at("memory_bandwidth").quantity<BytesPerSecond>();
  gpu.device.memory_capacity = reader.at("memory_capacity").quantity<Bytes>();
  gpu.device.l2_cache = reader.at("l2_cache").quantity<Bytes>();
  gpu.device.board_power = reader.at("board_power").quantity<Watts>();
  read_peaks(reader.at("peak"), gpu.device);
  if (reader.has("exponentials"))
    gpu.device.exponentials = reader.at("exponentials").quantity<FlopsPerSecond>();
  if (reader.has("shared_memory_bandwidth"))
    gpu.device.shared_memory_bandwidth = reader.at("shared_memory_bandwidth").quantity<BytesPerSecond>();
  if (reader.has("persistent_products"))
    gpu.device.persistent_products = reader.at("persistent_products").boolean();
  if (reader.has("nvlink")) {
    const SpecReader nvlink = reader.at("nvlink");
    nvlink.only({"links", "bandwidth_per_link"});
    gpu.nvlink_links = static_cast<int>(nvlink.at("links").integer(1, kMostLinks));
    gpu.nvlink_link_bandwidth = nvlink.at("bandwidth_per_link").quantity<BytesPerSecond>();
  }
  if (reader.has("pcie_bandwidth"))
    gpu.pcie_bandwidth = reader.at("pcie_bandwidth").quantity<BytesPerSecond>();
  return gpu;
}

}  // namespace orrery
