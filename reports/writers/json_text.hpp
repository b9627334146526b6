#pragma once

#include <string>

#include "sim/base/json_reader.hpp"

namespace orrery {

/// A JSON document as it is printed: two spaces a level, numbers in their shortest form that reads back, a
/// final newline.
std::string json_text(const Json& json);
/// A field of a CSV line, in quotes where it must be (RFC 4180).
std::string csv_field(const std::string& text);

}  // namespace orrery
