#pragma once

#include <string>

#include "sim/network/group_shape.hpp"
#include "topologies/gpu_spec.hpp"

namespace orrery {

struct ScaleUpSpec {
  ScaleUpKind kind = ScaleUpKind::none;
  BytesPerSecond bandwidth;  ///< per GPU and direction
  Seconds latency;           ///< GPU to GPU
  bool in_network_reduction = false;
};

struct NicSpec {
  int count = 0;
  BytesPerSecond bandwidth;  ///< per NIC and direction
  Seconds latency;           ///< to send or to receive
  NicProtocol protocol = NicProtocol::infiniband;
};

/// One server, or one tray of a rack.
struct NodeSpec {
  std::string preset;  ///< empty for an object without one
  GpuSpec gpu;
  int gpus = 1;
  ScaleUpSpec scale_up;
  NicSpec nics;
  BytesPerSecond host_link;   ///< PCIe between a GPU and its NIC's switch, and on to the NIC, one direction
  Seconds host_link_latency;  ///< of each of these two links
  /// Between a GPU and the host's memory, one direction: the host link where nothing else is said.
  BytesPerSecond host_memory_link;
  BytesPerSecond host_memory_bandwidth;  ///< of the node's host memory; zero: not known
  double host_speed = 1.0;  ///< of a host's thread in a framework's code, over the x86 host of an H100

  /// PCIe switches: the most that GPUs and NICs can be dealt over evenly; one under scale-up by PCIe.
  int pcie_switches() const;
};

/// Reads a node preset's name, an object, or a preset with overrides; problems go to the reader. Left out:
/// the scale-up bandwidth and the host link are the GPU's NVLink and PCIe, latencies those of defaults.json,
/// in_network_reduction is on for NVSwitches of Hopper and Blackwell.
NodeSpec read_node(const SpecReader& value, Provenance& provenance, const std::string& path);

}  // namespace orrery
