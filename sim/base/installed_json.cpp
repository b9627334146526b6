#include "sim/base/installed_json.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>

#include "sim/base/data_files.hpp"

namespace orrery {
namespace {

struct Parsed {
  std::filesystem::file_time_type written;
  std::uintmax_t size = 0;
  std::shared_ptr<const Json> content;
};

/// Parsed files by path. Never emptied: what is installed is a few hundred small files.
class InstalledFiles {
 public:
  std::shared_ptr<const Json> content(const std::filesystem::path& path) {
    std::error_code missing;  // read_json_file says so in its own words
    const auto written = std::filesystem::last_write_time(path, missing);
    const std::uintmax_t size = missing ? 0 : std::filesystem::file_size(path, missing);
    const std::string key = path.string();
    {
      const std::scoped_lock lock(mutex_);
      const auto known = files_.find(key);
      if (!missing && known != files_.end() && known->second.written == written && known->second.size == size)
        return known->second.content;
    }
    // Two threads may both parse it: they get the same.
    auto content = std::make_shared<const Json>(read_json_file(key));
    const std::scoped_lock lock(mutex_);
    files_[key] = {written, size, content};
    return content;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, Parsed> files_;
};

}  // namespace

Json installed_json(const std::string& file) {
  static InstalledFiles files;
  return *files.content(data_root() / file);
}

}  // namespace orrery
