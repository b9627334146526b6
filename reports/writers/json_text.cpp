#include "reports/writers/json_text.hpp"

namespace orrery {

std::string json_text(const Json& json) { return json.dump(2) + "\n"; }

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char letter : text) {
    if (letter == '"') quoted += '"';
    quoted += letter;
  }
  return quoted + '"';
}

}  // namespace orrery
