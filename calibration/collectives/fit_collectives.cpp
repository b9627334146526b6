#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <string>

#include "calibration/collectives/accuracy_table.hpp"
#include "calibration/collectives/fit_profiles.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/json_reader.hpp"

// Fits calibration/data/collectives.jsonl and writes one profile a GPU and protocol into OUT_DIR; prints the
// errors as the tables of README.md and docs/accuracy.md; ROWS.csv takes every scored row.
int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::fputs("usage: orrery_fit_collectives OUT_DIR [ROWS.csv]\n", stderr);
    return 2;
  }
  try {
    const std::filesystem::path root = orrery::data_root() / "calibration";
    const orrery::CollectiveFits fits =
        orrery::fit_collective_profiles(root / "data", root / "profiles/collectives/nccl-library.json");
    fmt::print(
        "| profile | op | rows | fit | fit, 8 KiB to 16 GiB | left out, 8 KiB to 16 GiB "
        "|\n|---|---|---|---|---|---|\n");
    for (const orrery::FittedProfile& profile : fits.profiles) {
      orrery::write_text_file_atomically(std::filesystem::path(argv[1]) / (profile.name + ".json"),
                                         profile.text);
      for (const orrery::OperationErrors& errors : profile.errors) {
        fmt::print("| {} | {} | {} | {:.1f} % | {:.1f} % ({:+.1f}) | {:.1f} % ({:+.1f}) |\n", profile.name,
                   orrery::name_of(errors.op), errors.fit.rows, 100 * errors.fit.geometric_mean,
                   100 * errors.scored_sizes.geometric_mean, 100 * errors.scored_sizes.bias,
                   100 * errors.left_out.geometric_mean, 100 * errors.left_out.bias);
      }
    }
    if (argc == 3) {
      std::string text =
          "place,gpu,op,ranks,nodes,bytes,seconds,fit,left_out,stated,tool_effect,tool,source,note\n";
      for (const orrery::ScoredRow& one : fits.scored) {
        text += fmt::format("{},{},{},{},{},{},{},{:.4f},{:.4f},{:.4f},{:.4f},\"{}\",\"{}\",\"{}\"\n",
                            one.place, one.row.gpu, orrery::name_of(one.row.op), one.row.ranks, one.row.nodes,
                            one.row.bytes, one.row.seconds, one.fit, one.left_out, one.stated, one.tool,
                            one.row.tool, one.row.source, one.row.note);
      }
      orrery::write_text_file_atomically(argv[2], text);
    }
    fmt::print("\n{}", orrery::collective_accuracy_table(fits));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
