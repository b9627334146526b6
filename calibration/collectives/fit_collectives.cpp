#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include "calibration/collectives/fit_profiles.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/json_reader.hpp"

// Fits calibration/data/collectives.jsonl and writes one profile a GPU and protocol into OUT_DIR; prints the
// errors as the table of README.md.
int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: orrery_fit_collectives OUT_DIR\n", stderr);
    return 2;
  }
  try {
    const std::filesystem::path root = orrery::data_root() / "calibration";
    const auto profiles =
        orrery::fit_collective_profiles(root / "data", root / "profiles/collectives/nccl-library.json");
    fmt::print(
        "| profile | op | rows | fit | fit from 1 MiB | left out, from 1 MiB |\n|---|---|---|---|---|---|\n");
    for (const orrery::FittedProfile& profile : profiles) {
      orrery::write_text_file_atomically(std::filesystem::path(argv[1]) / (profile.name + ".json"),
                                         profile.text);
      for (const orrery::OperationErrors& errors : profile.errors) {
        fmt::print("| {} | {} | {} | {:.1f} % | {:.1f} % ({:+.1f}) | {:.1f} % ({:+.1f}) |\n", profile.name,
                   orrery::name_of(errors.op), errors.fit.rows, 100 * errors.fit.geometric_mean,
                   100 * errors.training_sizes.geometric_mean, 100 * errors.training_sizes.bias,
                   100 * errors.left_out.geometric_mean, 100 * errors.left_out.bias);
      }
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
