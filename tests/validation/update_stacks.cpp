// orrery_update_stacks FOLDER [RUNS.jsonl...]: learns the profiles of software stacks from measured runs of
// high and medium confidence (default: those that ship) and writes one file a stack into a folder.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "reports/answers/learn_stacks.hpp"
#include "sim/base/data_files.hpp"

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: orrery_update_stacks calibration/profiles/stacks [RUNS.jsonl...]\n", stderr);
    return 2;
  }
  try {
    const std::vector<orrery::RunRecord> runs =
        orrery::select_runs(orrery::read_runs(std::vector<std::string>(argv + 2, argv + argc)),
                            {.ids = {}, .confidences = {"high", "medium"}, .sources = {}});
    std::filesystem::create_directories(argv[1]);
    // The old ones go first: they may be of another form, and nothing may rest on them.
    for (const std::string& name : orrery::preset_names("calibration/profiles/stacks"))
      std::filesystem::remove(std::filesystem::path(argv[1]) / (name + ".json"));
    orrery::LearnStacksOptions options;
    options.threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
    options.progress = [](const std::string& what) { std::fprintf(stderr, "%s\n", what.c_str()); };
    for (const orrery::StackProfile& profile : orrery::learn_stacks(runs, options)) {
      orrery::write_text_file_atomically(std::filesystem::path(argv[1]) / (profile.software + ".json"),
                                         orrery::stack_profile_text(profile));
      const std::string factors = orrery::text_of(profile.model);
      std::printf("%-20s %3d runs  measured %4.1f %%  cross-validated %4.1f %%  %s\n",
                  profile.software.c_str(), profile.measured.rows, 100 * profile.measured.mape,
                  100 * profile.cross_validated.mape, factors.empty() ? "all factors 1" : factors.c_str());
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
