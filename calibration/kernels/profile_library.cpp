#include "calibration/kernels/profile_library.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "calibration/kernels/profile_json.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/errors.hpp"

namespace orrery {
namespace {

constexpr const char* kFolder = "calibration/profiles";

using NamePair = std::pair<std::string_view, std::string_view>;

// GPUs that carry the chip of a measured one. H800: links cut, compute as H100 (gpus.json says inferred).
constexpr std::array<NamePair, 4> kSameChip = {{{"a100-sxm4-40gb", "a100-sxm4-80gb"},
                                                {"h100-sxm-96gb-hbm2e", "h100-sxm-80gb"},
                                                {"h800-sxm-80gb", "h100-sxm-80gb"},
                                                {"gh200", "h100-sxm-80gb"}}};

// Nearest measured GPU of an architecture; Volta's tensor cores are nearest to Ampere's.
constexpr std::array<NamePair, 7> kNearest = {{{"volta", "a100-sxm4-80gb"},
                                               {"ampere", "a100-sxm4-80gb"},
                                               {"ada", "l40s"},
                                               {"hopper", "h100-sxm-80gb"},
                                               {"blackwell", "b200-sxm-180gb"},
                                               {"cdna2", "mi300x"},
                                               {"cdna3", "mi300x"}}};

template <typename Pairs>
std::string_view look_up(const Pairs& pairs, std::string_view name) {
  const auto* const found =
      std::find_if(pairs.begin(), pairs.end(), [&](const NamePair& pair) { return pair.first == name; });
  return found == pairs.end() ? std::string_view() : found->second;
}

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

LoadedProfile load_kernel_profile(const std::string& gpu_name, std::string_view architecture) {
  const std::vector<std::string> names = kernel_profile_names();
  if (std::find(names.begin(), names.end(), gpu_name) != names.end()) {
    return {load_profile_named(gpu_name), ProfileFit::own};
  }
  if (const auto chip = look_up(kSameChip, gpu_name); !chip.empty()) {
    return {load_profile_named(std::string(chip)), ProfileFit::same_chip};
  }
  const auto nearest = look_up(kNearest, architecture);
  return {load_profile_named(nearest.empty() ? "a100-sxm4-80gb" : std::string(nearest)),
          ProfileFit::architecture};
}

}  // namespace orrery
