#include "tests/validation/generated_part.hpp"

#include <fmt/format.h>

#include <stdexcept>

namespace orrery {

std::string with_generated_part(const std::string& document, std::string_view part, const std::string& text) {
  const std::string first =
      fmt::format("<!-- generated: {}, orrery_update_accuracy docs/accuracy.md -->\n", part);
  const std::string last = fmt::format("<!-- end of generated: {} -->\n", part);
  const size_t begin = document.find(first);
  const size_t end = document.find(last);
  if (begin == std::string::npos || end == std::string::npos || end < begin)
    throw std::runtime_error(fmt::format("the document has no generated part '{}'", part));
  return document.substr(0, begin) + first + "\n" + text + "\n" + document.substr(end);
}

}  // namespace orrery
