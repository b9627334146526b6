// orrery_update_accuracy FILE: writes the accuracy of the shipped runs and collectives into the generated
// part of a document.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>

#include "calibration/collectives/accuracy_table.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/json_reader.hpp"
#include "tests/validation/accuracy_tables.hpp"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: orrery_update_accuracy docs/accuracy.md\n", stderr);
    return 2;
  }
  try {
    const std::string document = orrery::read_text_file(argv[1]);
    const std::string tables = orrery::accuracy_tables(orrery::validate_shipped_runs());
    const std::filesystem::path calibration = orrery::data_root() / "calibration";
    const std::string collectives = orrery::collective_accuracy_table(orrery::fit_collective_profiles(
        calibration / "data", calibration / "profiles/collectives/nccl-library.json"));
    orrery::write_text_file_atomically(
        argv[1], orrery::with_collective_table(orrery::with_tables(document, tables), collectives));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
