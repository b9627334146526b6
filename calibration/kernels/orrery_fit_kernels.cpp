// Regenerates calibration/profiles/*.json from the measured tables:
//   orrery_fit_kernels OUT_DIR [ROOT]
// ROOT holds calibration/data and calibration/kernels (default: the data root of the build). Prints the
// errors.

#include <fmt/format.h>

#include <exception>
#include <filesystem>
#include <string>

#include "calibration/kernels/fit_profiles.hpp"
#include "calibration/kernels/profile_json.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/json_reader.hpp"

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    fmt::print(stderr, "usage: orrery_fit_kernels OUT_DIR [ROOT]\n");
    return 2;
  }
  try {
    const std::filesystem::path out = argv[1];
    const std::string root = argc == 3 ? argv[2] : orrery::data_root().string();
    for (const orrery::KernelProfile& profile : orrery::fit_profiles(orrery::shipped_inputs(root))) {
      orrery::write_text_file_atomically(out / (profile.gpu + ".json"), orrery::profile_text(profile));
      for (const orrery::FitError& error : profile.errors) {
        fmt::print("| {} | {} | {} | {} | {:.1f} | {:.1f} |\n", profile.gpu, error.op, error.subset,
                   error.rows, 100 * error.median, 100 * error.p95);
      }
      for (const orrery::SustainedFactor& factor : profile.sustained) {
        fmt::print("sustained {} {} {:.3f} {}: {}\n", profile.gpu, orrery::name_of(factor.precision),
                   factor.factor, orrery::name_of(factor.evidence), factor.source.text);
      }
    }
  } catch (const std::exception& problem) {
    fmt::print(stderr, "orrery_fit_kernels: {}\n", problem.what());
    return 1;
  }
  return 0;
}
