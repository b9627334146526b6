#include "calibration/kernels/profile_library.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "calibration/kernels/kernel_rules.hpp"
#include "calibration/kernels/profile_json.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/errors.hpp"

namespace orrery {
namespace {

constexpr const char* kFolder = "calibration/profiles";

KernelProfile load_file(const std::string& path) { return parse_profile(read_text_file(path), path); }

}  // namespace

std::vector<std::string> kernel_profile_names() { return preset_names(kFolder); }

KernelProfile load_profile_named(const std::string& name_or_file) {
  if (name_or_file.find('/') != std::string::npos || name_or_file.ends_with(".json"))
    return load_file(name_or_file);
  const std::vector<std::string> names = kernel_profile_names();
  if (std::find(names.begin(), names.end(), name_or_file) == names.end()) {
    throw InputError(
        InputProblem{"calibration", "", "\"" + name_or_file + "\"", list_names(names, name_or_file), ""});
  }
  return load_file((data_root() / kFolder / (name_or_file + ".json")).string());
}

ProfileFit fit_of_profile(const std::string& measured, const std::string& gpu, const KernelRules& rules) {
  if (measured == gpu) return ProfileFit::own;
  const bool same_chip =
      stand_in_for(rules.same_chip, gpu) == measured || stand_in_for(rules.same_chip, measured) == gpu;
  return same_chip ? ProfileFit::same_chip : ProfileFit::architecture;
}

LoadedProfile load_kernel_profile(const std::string& gpu_name, std::string_view architecture) {
  const std::vector<std::string> names = kernel_profile_names();
  if (std::find(names.begin(), names.end(), gpu_name) != names.end()) {
    return {load_profile_named(gpu_name), ProfileFit::own};
  }
  const KernelRules rules = shipped_kernel_rules();
  if (const auto chip = stand_in_for(rules.same_chip, gpu_name)) {
    return {load_profile_named(*chip), ProfileFit::same_chip};
  }
  if (std::find(rules.unlike.begin(), rules.unlike.end(), architecture) != rules.unlike.end()) {
    throw std::invalid_argument(fmt::format(
        "no kernel of {} was measured and no measured GPU is like its architecture ({}): tier datasheet "
        "bounds the step, or give a calibration of your own",
        gpu_name, architecture));
  }
  const std::string nearest = stand_in_for(rules.architectures, architecture).value_or(rules.otherwise);
  return {load_profile_named(nearest), ProfileFit::architecture};
}

}  // namespace orrery
