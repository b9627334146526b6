#include "topologies/node_spec.hpp"

#include <array>
#include <numeric>

namespace orrery {
namespace {

constexpr int kMostGpus = 64;
constexpr int kMostNics = 256;
constexpr std::array kScaleUpKinds = {ScaleUpKind::nvswitch, ScaleUpKind::nvlink_mesh, ScaleUpKind::pcie,
                                      ScaleUpKind::none};
constexpr std::array kProtocols = {NicProtocol::infiniband, NicProtocol::roce, NicProtocol::ethernet,
                                   NicProtocol::slingshot,  NicProtocol::efa,  NicProtocol::omni_path};

template <typename Enum, size_t n>
Enum read_name(const SpecReader& value, const std::array<Enum, n>& all) {
  std::array<std::string_view, n> names;
  for (size_t i = 0; i < n; ++i) names[i] = name_of(all[i]);
  return all[value.choice(names)];
}

/// NVLink SHARP came with Hopper's NVSwitch (NVIDIA/nccl src/nvls.cc@v2.27.7-1).
bool has_nvlink_sharp(const NodeSpec& node) {
  const std::string& architecture = node.gpu.device.architecture;
  return node.scale_up.kind == ScaleUpKind::nvswitch &&
         (architecture == "hopper" || architecture == "blackwell");
}

void read_scale_up(const SpecReader& reader, Provenance& provenance, const std::string& path,
                   NodeSpec& node) {
  reader.only({"kind", "bandwidth", "latency", "in_network_reduction"});
  ScaleUpSpec& scale_up = node.scale_up;
  scale_up.kind = read_name(reader.at("kind"), kScaleUpKinds);
  if (scale_up.kind == ScaleUpKind::none && node.gpus > 1) {
    reader.at("kind").refuse("\"pcie\" or another link between the " + std::to_string(node.gpus) +
                             " GPUs of the node");
  }
  const bool by_nvlink = scale_up.kind == ScaleUpKind::nvswitch || scale_up.kind == ScaleUpKind::nvlink_mesh;
  const BytesPerSecond of_gpu = by_nvlink ? node.gpu.nvlink_bandwidth() : node.gpu.pcie_bandwidth;
  if (reader.has("bandwidth") || (of_gpu.base() <= 0.0 && scale_up.kind != ScaleUpKind::none)) {
    scale_up.bandwidth = reader.at("bandwidth").quantity<BytesPerSecond>();
  } else {
    scale_up.bandwidth = of_gpu;
  }
  scale_up.latency = provenance
                         .member_or_default(reader, "latency",
                                            "scale_up." + std::string(name_of(scale_up.kind)) + ".latency",
                                            path + ".latency")
                         .quantity<Seconds>(true);
  scale_up.in_network_reduction = has_nvlink_sharp(node);
  if (reader.has("in_network_reduction")) {
    scale_up.in_network_reduction = reader.at("in_network_reduction").boolean();
    if (scale_up.in_network_reduction && scale_up.kind != ScaleUpKind::nvswitch) {
      reader.at("in_network_reduction").refuse("false, because only an NVSwitch reduces in the network");
    }
  }
}

void read_nics(const SpecReader& reader, Provenance& provenance, const std::string& path, NicSpec& nics) {
  reader.only({"count", "bandwidth", "latency", "protocol"});
  nics.count = static_cast<int>(reader.at("count").integer(0, kMostNics));
  if (nics.count == 0) return;
  nics.bandwidth = reader.at("bandwidth").quantity<BytesPerSecond>();
  nics.protocol = read_name(
      provenance.member_or_default(reader, "protocol", "nics.protocol", path + ".protocol"), kProtocols);
  nics.latency =
      provenance
          .member_or_default(reader, "latency", "nics." + std::string(name_of(nics.protocol)) + ".latency",
                             path + ".latency")
          .quantity<Seconds>(true);
}

}  // namespace

int NodeSpec::pcie_switches() const {
  if (scale_up.kind == ScaleUpKind::pcie) return 1;
  return nics.count == 0 ? gpus : std::gcd(gpus, nics.count);
}

namespace {

void read_host_memory(const SpecReader& reader, NodeSpec& node) {
  node.host_memory_link = node.host_link;
  if (!reader.has("host_memory")) return;
  const SpecReader memory = reader.at("host_memory");
  memory.only({"bandwidth", "link"});
  if (!memory.is_object()) return;
  if (memory.has("link")) node.host_memory_link = memory.at("link").quantity<BytesPerSecond>();
  if (memory.has("bandwidth")) node.host_memory_bandwidth = memory.at("bandwidth").quantity<BytesPerSecond>();
}

}  // namespace

NodeSpec read_node(const SpecReader& value, Provenance& provenance, const std::string& path) {
  NodeSpec node;
  const size_t problems_before = value.problems().list().size();
  const Json whole = provenance.expand(value, "topologies/presets/nodes", path, &node.preset);
  if (value.problems().list().size() > problems_before) return node;
  const SpecReader reader(whole, value.pointer(), value.problems());
  reader.only(
      {"gpu", "gpus", "scale_up", "nics", "host_link", "host_memory", "host_speed", "sources", "note"});
  const SpecReader gpu = reader.at("gpu");
  if (reader.has("gpu")) {
    node.gpu = read_gpu(gpu, provenance, path + ".gpu");
  } else {
    gpu.refuse("a GPU preset's name or an object");
  }
  node.gpus = static_cast<int>(reader.at("gpus").integer(1, kMostGpus));
  if (reader.has("scale_up") || node.gpus > 1) {
    read_scale_up(reader.at("scale_up"), provenance, path + ".scale_up", node);
  }
  if (reader.has("host_speed")) node.host_speed = reader.at("host_speed").number(0.01, 100.0);
  if (reader.has("nics")) read_nics(reader.at("nics"), provenance, path + ".nics", node.nics);
  if (node.scale_up.kind == ScaleUpKind::pcie) {
    // One bus serves both: two rates or latencies for it would contradict each other.
    node.host_link = node.scale_up.bandwidth;
    node.host_link_latency = node.scale_up.latency / 2;
    if (reader.has("host_link") && reader.at("host_link").quantity<BytesPerSecond>() != node.host_link) {
      reader.at("host_link")
          .refuse("the scale-up bandwidth " + exact_text(node.host_link) +
                  " or nothing, because both are the same PCIe bus");
    }
    read_host_memory(reader, node);
    return node;
  }
  node.host_link_latency =
      provenance.default_for("host_link_latency", path + ".host_link_latency").quantity<Seconds>();
  if (reader.has("host_link") || (node.gpu.pcie_bandwidth.base() <= 0.0 && node.nics.count > 0)) {
    node.host_link = reader.at("host_link").quantity<BytesPerSecond>();
  } else {
    node.host_link = node.gpu.pcie_bandwidth;
  }
  read_host_memory(reader, node);
  return node;
}

}  // namespace orrery
