#pragma once

#include <string>
#include <string_view>

namespace orrery {

/// The parts of docs/accuracy.md that orrery_update_accuracy writes, by the names in their marks.
namespace generated_part {
inline constexpr std::string_view expected = "what to expect";
inline constexpr std::string_view sites = "sites";
inline constexpr std::string_view tables = "tables";
inline constexpr std::string_view effects = "effects";
inline constexpr std::string_view collectives = "collectives";
}  // namespace generated_part

/// A document with what stands between the marks of a part replaced.
/// @throws std::runtime_error for a document without these marks
std::string with_generated_part(const std::string& document, std::string_view part, const std::string& text);

}  // namespace orrery
