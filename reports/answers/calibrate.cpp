#include "reports/answers/calibrate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>

#include "calibration/collectives/fit_profiles.hpp"
#include "calibration/kernels/profile_json.hpp"
#include "reports/answers/measurement_checks.hpp"
#include "sim/base/hash.hpp"
#include "topologies/gpu_spec.hpp"
#include "topologies/topology_presets.hpp"

namespace orrery {
namespace {

GpuSpec preset_gpu(const std::string& name) {
  const Json reference = name;
  Origins origins;
  Provenance provenance(origins);
  Problems problems("GPU preset " + name);
  GpuSpec gpu = read_gpu(SpecReader(reference, "", problems), provenance, "gpu");
  problems.throw_if_any();
  return gpu;
}

/// One name more that the measurements may use than there are shipped profiles: every GPU preset.
void check_gpu(const std::string& gpu, const std::vector<std::string>& names) {
  if (std::find(names.begin(), names.end(), gpu) != names.end()) return;
  throw InputError(InputProblem{"--gpu", "", "\"" + gpu + "\"", one_of(names, gpu), ""});
}

void check_base(const std::string& base) {
  if (base.empty() || base == "none" || base.find('/') != std::string::npos || base.ends_with(".json"))
    return;
  std::vector<std::string> names = kernel_profile_names();
  if (std::find(names.begin(), names.end(), base) != names.end()) return;
  names.emplace_back("none");
  throw InputError(InputProblem{"--base", "", "\"" + base + "\"", one_of(names, base), ""});
}

/// The base profile, and how far its GPU is from this one.
std::optional<LoadedProfile> load_base(const std::string& base, const DeviceSpec& device,
                                       const KernelRules& rules, std::string& name) {
  if (base == "none") return std::nullopt;
  if (base.empty()) {
    try {
      LoadedProfile loaded = load_kernel_profile(device.name, device.architecture);
      name = "the shipped profile " + loaded.profile.gpu;
      return loaded;
    } catch (const std::invalid_argument& error) {
      throw InputError(InputProblem{"--base", "", "", "", error.what()});
    }
  }
  LoadedProfile loaded{load_profile_named(base), ProfileFit::own};
  name = "the profile " + base;
  loaded.fit = fit_of_profile(loaded.profile.gpu, device.name, rules);
  return loaded;
}

std::optional<KernelProfile> shipped_profile(const std::string& gpu) {
  const std::vector<std::string> names = kernel_profile_names();
  if (std::find(names.begin(), names.end(), gpu) == names.end()) return std::nullopt;
  return load_profile_named(gpu);
}

/// Fits the collectives of one node that our own lines hold; says of the others why not.
class CollectiveFit {
 public:
  CollectiveFit(const MeasurementSet& set, const std::string& gpu) {
    for (const MeasurementLine& line : set.collectives) {
      Problems problems(line.place);
      const CollectiveRow row = collective_row(SpecReader(line.json, "", problems));
      problems.throw_if_any();
      if (row.gpu != gpu) continue;
      const std::string reason = why_not(line.json, row);
      if (!reason.empty()) {
        ++unused_[reason];
        continue;
      }
      rows_.push_back(row);
      text_ += line.json.dump() + "\n";
    }
  }

  /// The section of the profile; null without enough rows.
  Json section(const GpuSpec& gpu, std::vector<std::string>& warnings) {
    Json result;
    if (!rows_.empty() && gpu.nvlink_bandwidth().base() <= 0.0) {
      unused_["a node without NVLink, whose links the presets do not describe"] +=
          static_cast<int>(rows_.size());
    } else if (!rows_.empty()) {
      const FittedProfile fitted =
          fit_domain_profile(gpu.device.name, gpu.nvlink_bandwidth().base(), rows_, content_hash(text_));
      Json json = parse_json(fitted.text, "collectives");
      if (json["constants"]["curves"].empty()) {
        unused_["too few sizes: a curve needs four, from 4 MiB or less over a factor of 64"] += fitted.rows;
      } else {
        result = std::move(json);
      }
    }
    for (const auto& [reason, count] : unused_)
      warnings.push_back(fmt::format("{} lines of collectives read, not fitted: {}", count, reason));
    return result;
  }

 private:
  static std::string why_not(const Json& line, const CollectiveRow& row) {
    if (line.contains("fabric"))
      return "published tables, which calibration/profiles/collectives holds already";
    if (row.nodes > 1) return "several nodes, whose fabric the line does not describe";
    if (row.ranks < 2) return "one rank, which sends nothing";
    if (is_held_up_by_launches(row))
      return "one thread with several GPUs: below 64 MiB its launches are in the time";
    if (holds_its_start(row)) return "calls timed one by one: below 64 MiB their starts are in the time";
    if (row.copies_payload) return "a copy of the payload in the time";
    return {};
  }

  std::vector<CollectiveRow> rows_;
  std::string text_;
  std::map<std::string, int> unused_;
};

void add_reading_warnings(const MeasurementSet& set, std::vector<std::string>& warnings) {
  for (const auto& [reason, count] : set.passed_over)
    warnings.push_back(fmt::format("{} lines passed over: {}", count, reason));
  for (const auto& [key, count] : set.odd_keys)
    warnings.push_back(fmt::format("{} lines have the key {}, which nothing reads", count, key));
}

void require_lines(const MeasurementSet& set, const CalibrateOptions& options) {
  if (set.lines_of_gpu.count(options.gpu) > 0) return;
  std::vector<std::string> others;
  for (const auto& [gpu, lines] : set.lines_of_gpu) others.push_back(gpu);
  throw InputError(InputProblem{
      "--gpu", "", "", "",
      fmt::format("no line of the measurements is of {} (they are of {}): nothing to fit. A prediction for a "
                  "GPU without a profile takes the parameters of its architecture's nearest by itself, as "
                  "assumed",
                  options.gpu, others.empty() ? "no GPU preset" : list_names(others, options.gpu))});
}

}  // namespace

std::vector<DeviceSpec> preset_devices() {
  std::vector<DeviceSpec> devices;
  for (const std::string& name : topology_preset_names(TopologyPresetKind::gpu))
    devices.push_back(preset_gpu(name).device);
  return devices;
}

Calibration calibrate(const CalibrateOptions& options) {
  const std::vector<std::string> names = topology_preset_names(TopologyPresetKind::gpu);
  check_gpu(options.gpu, names);
  check_base(options.base);
  FitInputs inputs;
  inputs.rules = shipped_kernel_rules();
  inputs.measurements = read_measurements(options.measurements, names, inputs.rules);
  require_lines(inputs.measurements, options);
  inputs.devices = preset_devices();
  refuse_impossible_times(inputs.measurements, inputs.devices);
  inputs.seed = options.seed;
  inputs.held_out = options.held_out;
  inputs.progress = options.progress;
  const GpuSpec gpu = preset_gpu(options.gpu);
  refuse_impossible_collectives(inputs.measurements, options.gpu, gpu.nvlink_bandwidth().base());
  inputs.base = load_base(options.base, gpu.device, inputs.rules, inputs.base_name);
  if (options.base != "none") inputs.shipped = shipped_profile;

  Calibration calibration;
  calibration.files = inputs.measurements.files;
  calibration.lines = inputs.measurements.lines_of_gpu.at(options.gpu);
  calibration.base = inputs.base_name;
  calibration.seed = options.seed;
  add_reading_warnings(inputs.measurements, calibration.warnings);
  FittedKernelProfile fitted = fit_profile(options.gpu, inputs);
  calibration.tables = std::move(fitted.tables);
  for (std::string& unused :
       rows_in_no_table(inputs.measurements, gpu.device, inputs.rules, calibration.tables))
    calibration.warnings.push_back(std::move(unused));
  Json collectives = CollectiveFit(inputs.measurements, options.gpu).section(gpu, calibration.warnings);
  if (!collectives.is_null()) fitted.profile.collectives = std::move(collectives);
  if (fitted.profile.gemm.empty()) {
    calibration.warnings.push_back("the profile has no products: predictions with it will be refused");
  }
  calibration.text = profile_text(fitted.profile);
  calibration.profile = parse_profile(calibration.text, options.gpu);
  return calibration;
}

}  // namespace orrery
