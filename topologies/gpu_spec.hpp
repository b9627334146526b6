#pragma once

#include <string>

#include "sim/cost/device_spec.hpp"
#include "topologies/provenance.hpp"

namespace orrery {

/// A GPU with its links.
struct GpuSpec {
  DeviceSpec device;
  int nvlink_links = 0;                  ///< NVLink or xGMI links; 0: none
  BytesPerSecond nvlink_link_bandwidth;  ///< one link, one direction
  BytesPerSecond pcie_bandwidth;         ///< one direction; zero: unknown

  /// All links of the GPU together, one direction.
  BytesPerSecond nvlink_bandwidth() const { return nvlink_link_bandwidth * nvlink_links; }
};

/// Reads a GPU preset's name, an object, or a preset with overrides; problems go to the reader.
/// Of fp8_current and fp8_block what is left out takes fp8's peak, as one unit computes all of them; mxfp8
/// needs units that scale blocks themselves, and is only there where the preset says so.
GpuSpec read_gpu(const SpecReader& value, Provenance& provenance, const std::string& path);

}  // namespace orrery
