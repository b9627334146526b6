// orrery_update_accuracy FILE: writes the accuracy of the shipped runs and collectives and what each effect
// is worth into the generated parts of a document, and the worst rows into worst-rows.md beside it.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>

#include "calibration/collectives/accuracy_table.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/json_reader.hpp"
#include "tests/validation/ablation.hpp"
#include "tests/validation/accuracy_tables.hpp"
#include "tests/validation/error_budget.hpp"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: orrery_update_accuracy docs/accuracy.md\n", stderr);
    return 2;
  }
  try {
    const std::string document = orrery::read_text_file(argv[1]);
    const orrery::BothEngines both = orrery::validate_shipped_runs();
    const std::string tables = orrery::accuracy_tables(both);
    const std::string effects = orrery::ablation_table(orrery::ablate_shipped_runs());
    const std::filesystem::path calibration = orrery::data_root() / "calibration";
    const std::string collectives = orrery::collective_accuracy_table(orrery::fit_collective_profiles(
        calibration / "data", calibration / "profiles/collectives/nccl-library.json"));
    orrery::write_text_file_atomically(
        argv[1],
        orrery::with_collective_table(
            orrery::with_ablation_table(orrery::with_tables(document, tables), effects), collectives));
    orrery::write_text_file_atomically(std::filesystem::path(argv[1]).parent_path() / "worst-rows.md",
                                       orrery::worst_rows_document(both));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
