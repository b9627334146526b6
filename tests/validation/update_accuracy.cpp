// orrery_update_accuracy FILE: writes the error to expect, with runs of one's own, too, the accuracy of the
// shipped runs and collectives and what each effect is worth into the generated parts of a document, and the
// worst rows into worst-rows.md beside it.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <utility>

#include "calibration/collectives/accuracy_table.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/json_reader.hpp"
#include "tests/validation/ablation.hpp"
#include "tests/validation/accuracy_tables.hpp"
#include "tests/validation/error_budget.hpp"
#include "tests/validation/expected_error.hpp"
#include "tests/validation/generated_part.hpp"
#include "tests/validation/site_trial.hpp"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: orrery_update_accuracy docs/accuracy.md\n", stderr);
    return 2;
  }
  try {
    std::string document = orrery::read_text_file(argv[1]);
    const orrery::BothEngines both = orrery::validate_shipped_runs();
    const std::string expected = orrery::expected_error_tables(both, orrery::validate_left_out(both.runs));
    const std::string sites = orrery::site_trial_table(orrery::try_sites(both.runs));
    const std::string tables = orrery::accuracy_tables(both);
    const std::string effects = orrery::ablation_table(orrery::ablate_shipped_runs());
    const std::filesystem::path calibration = orrery::data_root() / "calibration";
    const std::string collectives = orrery::collective_accuracy_table(orrery::fit_collective_profiles(
        calibration / "data", calibration / "profiles/collectives/nccl-library.json"));
    namespace part = orrery::generated_part;
    for (const auto& [name, text] : {std::pair(part::expected, expected),
                                     {part::sites, sites},
                                     {part::tables, tables},
                                     {part::effects, effects},
                                     {part::collectives, collectives}})
      document = orrery::with_generated_part(document, name, text);
    orrery::write_text_file_atomically(argv[1], document);
    orrery::write_text_file_atomically(std::filesystem::path(argv[1]).parent_path() / "worst-rows.md",
                                       orrery::worst_rows_document(both));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
