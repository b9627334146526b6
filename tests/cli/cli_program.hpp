#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "sim/base/json_reader.hpp"

namespace orrery::test {

/// What a run of the program left behind.
struct CliRun {
  int exit_code = -1;  ///< -1 if it was killed
  std::string out, err;
  Json json() const { return Json::parse(out); }
};

/// Runs $ORRERY_CLI (set by CTest) with these arguments and this standard input, in an empty folder of its
/// own.
CliRun run_orrery(const std::vector<std::string>& arguments, const std::string& input = "");

/// A folder that exists as long as this object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  /// Writes a file into it and returns its path.
  std::string write(const std::string& name, const std::string& text) const;

 private:
  std::filesystem::path path_;
};

/// A small valid experiment: GPT-3 1.7B on one node of 8 A100, tensor 2 x data 4.
Json small_experiment();

}  // namespace orrery::test
