// What machine.json says: the GPU of the measurements and the machine around it, as far as it can be asked.
#include <cstdio>
#include <fstream>

#include "kernels/harness/board.hpp"
#include "kernels/harness/device.hpp"
#include "kernels/harness/options.hpp"
#include "kernels/harness/record.hpp"

namespace orrery::kernels {
namespace {

/// The processor's name as Linux gives it; empty elsewhere.
std::string processor_name() {
  std::ifstream lines("/proc/cpuinfo");
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return {};
}

Record describe(const std::string& gpu, const DeviceInfo& device) {
  Record record;
  record.set("gpu", gpu).set("device", device.name).set("gpus", device_count());
  record.set("compute_capability", std::to_string(device.major) + "." + std::to_string(device.minor));
  record.set("sms", device.sms).set("l2_bytes", device.l2_bytes).set("memory_bytes", device.memory_bytes);
  record.set("shared_bytes_per_block", device.shared_bytes_per_block);
  record.set("highest_clock_mhz", device.sm_clock_hz / 1e6);
  record.set("memory_clock_mhz", device.memory_clock_hz / 1e6).set("memory_bus_bits", device.memory_bus_bits);
  if (const auto rate = peak_memory_rate(device)) record.set("memory_bytes_per_s", *rate);
  Record peaks;
  for (const char* precision : {"fp32", "tf32", "fp16", "bf16", "fp8", "mxfp8", "nvfp4"})
    if (const auto peak = peak_flops(device, precision)) peaks.set(precision, *peak);
  record.set("flops_at_highest_clock", peaks);
  record.set("driver", device.driver).set("cuda", device.cuda);
  record.set("nvml", nvml_driver_version().has_value()).set("processor", processor_name());
  return record;
}

int run(int argc, char** argv) {
  std::string gpu, out;
  Options options("machine", "describes the GPU and the machine as one JSON object");
  options.text("--gpu", &gpu, "NAME", "preset's name of this GPU");
  options.text("--out", &out, "FILE", "write it there (default: standard output)");
  try {
    options.parse(std::vector<std::string>(argv + 1, argv + argc));
    if (options.help_asked()) {
      std::fputs(options.help().c_str(), stdout);
      return 0;
    }
    if (gpu.empty()) throw OptionError("machine: --gpu is missing, expected the preset's name of this GPU");
  } catch (const OptionError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
  if (device_count() == 0) {
    std::fputs("machine: no CUDA device\n", stderr);
    return 1;
  }
  try {
    const std::string text = describe(gpu, device_info(0)).json() + "\n";
    if (out.empty()) {
      std::fputs(text.c_str(), stdout);
    } else if (!(std::ofstream(out) << text << std::flush)) {
      std::fprintf(stderr, "machine: cannot write to %s\n", out.c_str());
      return 1;
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "machine: %s\n", error.what());
    return 1;
  }
}

}  // namespace
}  // namespace orrery::kernels

int main(int argc, char** argv) { return orrery::kernels::run(argc, argv); }
