#include "sim/base/data_files.hpp"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

namespace orrery {
namespace fs = std::filesystem;

fs::path data_root() {
  std::error_code ignored;
  const char* const chosen = std::getenv("ORRERY_DATA");
  if (chosen != nullptr && *chosen != '\0') {
    if (!fs::is_directory(chosen, ignored)) {
      throw std::runtime_error(std::string("ORRERY_DATA is set to ") + chosen + ", which is not a folder");
    }
    return chosen;
  }
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  if (!program.empty()) {
    fs::path installed = program.parent_path().parent_path() / "share" / "orrery";
    if (fs::is_directory(installed, ignored)) return installed;
  }
  fs::path source = ORRERY_SOURCE_DIR;
  if (fs::is_directory(source, ignored)) return source;
  throw std::runtime_error(
      "no data found: neither ../share/orrery beside the program nor its source tree exists; set ORRERY_DATA "
      "to the "
      "folder that holds models, topologies and calibration");
}

std::vector<std::string> preset_names(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code missing;
  for (const fs::directory_entry& entry : fs::directory_iterator(data_root() / folder, missing)) {
    if (entry.path().extension() == ".json" && entry.is_regular_file())
      names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace orrery
