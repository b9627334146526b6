// Fits again every GPU that has a profile in ROOT/calibration/profiles, from the tables in
// ROOT/calibration/data, and prints the errors:
//   orrery_fit_kernels OUT_DIR [ROOT]
// The devices are those of the profiles. What it writes is what `orrery calibrate ROOT/calibration/data
// --gpu NAME --base none --out OUT_DIR/NAME.json` writes.

#include <fmt/format.h>

#include <exception>
#include <filesystem>
#include <string>

#include "calibration/kernels/fit_profiles.hpp"
#include "calibration/kernels/profile_json.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

DeviceSpec device_of_profile(const std::filesystem::path& path) {
  const Json value = read_json_file(path.string());
  Problems problems(path.string());
  const SpecReader root(value, "", problems);
  DeviceSpec device = read_reference_device(root.at("device"));
  problems.throw_if_any();
  return device;
}

void print(const KernelProfile& profile) {
  for (const FitError& error : profile.errors) {
    fmt::print("| {} | {} | {} | {} | {:.1f} | {:.1f} |\n", profile.gpu, error.op, error.subset, error.rows,
               100 * error.median, 100 * error.p95);
  }
  for (const SustainedFactor& factor : profile.sustained) {
    fmt::print("sustained {} {} {:.3f} {}: {}\n", profile.gpu, name_of(factor.precision), factor.factor,
               name_of(factor.evidence), factor.source.text);
  }
}

void fit_all(const std::filesystem::path& out, const std::filesystem::path& root) {
  FitInputs inputs;
  inputs.rules = read_kernel_rules((root / "calibration/data/kernel_rules.json").string());
  std::vector<std::string> gpus = preset_names("topologies/presets/gpus");
  for (const std::string& name : kernel_profile_names()) {
    inputs.devices.push_back(device_of_profile(root / "calibration/profiles" / (name + ".json")));
  }
  inputs.measurements = read_measurements({(root / "calibration/data").string()}, gpus, inputs.rules);
  for (const DeviceSpec& device : inputs.devices) {
    const KernelProfile profile = fit_profile(device.name, inputs).profile;
    write_text_file_atomically(out / (device.name + ".json"), profile_text(profile));
    print(profile);
  }
}

}  // namespace
}  // namespace orrery

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    fmt::print(stderr, "usage: orrery_fit_kernels OUT_DIR [ROOT]\n");
    return 2;
  }
  try {
    orrery::fit_all(argv[1], argc == 3 ? argv[2] : orrery::data_root().string());
  } catch (const std::exception& problem) {
    fmt::print(stderr, "orrery_fit_kernels: {}\n", problem.what());
    return 1;
  }
  return 0;
}
