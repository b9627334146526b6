#pragma once

#include <string>

#include "sim/base/json_reader.hpp"

namespace orrery {

/// The content of data_root()/`file`. Parsed once in a process as long as the file stays as it is (its time
/// and size): a comparison reads the same few presets thousands of times. Thread-safe.
/// @throws as read_json_file
Json installed_json(const std::string& file);

}  // namespace orrery
