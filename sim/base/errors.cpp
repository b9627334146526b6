#include "sim/base/errors.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace orrery {
namespace {

constexpr size_t kLongestComparedName = 200;

/// A problem is one line whatever stands in a key: control characters are shown as \u00XX.
std::string on_one_line(std::string_view text) {
  std::string shown;
  shown.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      shown += fmt::format("\\u{:04x}", byte);
    } else {
      shown += c;
    }
  }
  return shown;
}

std::string lines_of(const std::vector<InputProblem>& problems) {
  std::string text;
  for (const InputProblem& problem : problems) {
    if (!text.empty()) text += '\n';
    text += problem.line();
  }
  return text;
}

/// Optimal string alignment: insertions, deletions, replacements and swaps of neighbours cost one each.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before_last(b.size() + 1);
  std::vector<size_t> last(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before_last[j - 2] + 1);
      }
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

/// The names with the nearest to `found` first; tells whether there is one.
bool nearest_first(std::vector<std::string>& names, std::string_view found) {
  const std::string nearest = nearest_name(found, names);
  if (nearest.empty()) return false;
  const auto place = std::find(names.begin(), names.end(), nearest);
  std::rotate(names.begin(), place, place + 1);
  return true;
}

std::string comma_separated(std::span<const std::string> names, size_t most) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < most; ++i) {
    if (i > 0) text += ", ";
    text += names[i];
  }
  if (names.size() > most) text += ", ...";
  return text;
}

}  // namespace

std::string InputProblem::line() const {
  std::string text = on_one_line(file) + ": ";
  if (!pointer.empty()) text += on_one_line(pointer) + ": ";
  if (!message.empty()) return text + on_one_line(message);
  return text + "found " + on_one_line(found) + ", expected " + on_one_line(expected);
}

InputError::InputError(std::vector<InputProblem> problems)
    : std::runtime_error(lines_of(problems)), problems_(std::move(problems)) {}

InputError::InputError(InputProblem problem) : InputError(std::vector<InputProblem>{std::move(problem)}) {}

void Problems::add(std::string pointer, std::string found, std::string expected) {
  add(InputProblem{file_, std::move(pointer), std::move(found), std::move(expected), {}});
}

void Problems::add_message(std::string pointer, std::string message) {
  add(InputProblem{file_, std::move(pointer), {}, {}, std::move(message)});
}

void Problems::add(InputProblem problem) {
  if (known_.insert(problem).second) list_.push_back(std::move(problem));
}

std::set<std::string> Problems::refused_below(std::string_view pointer) const {
  std::set<std::string> keys;
  for (const InputProblem& problem : list_) {
    const std::string_view place = problem.pointer;
    if (problem.file != file_ || place.size() <= pointer.size() || !place.starts_with(pointer)) continue;
    if (place[pointer.size()] != '/') continue;
    const std::string_view rest = place.substr(pointer.size() + 1);
    keys.emplace(rest.substr(0, rest.find('/')));
  }
  return keys;
}

void Problems::throw_if_any() const {
  if (!list_.empty()) throw InputError(list_);
}

std::string nearest_name(std::string_view name, std::span<const std::string> candidates) {
  if (name.size() > kLongestComparedName) return {};
  const size_t limit = std::max<size_t>(2, name.size() / 3);
  std::string nearest;
  for (const std::string& candidate : candidates) {
    const bool goes_on = !name.empty() && candidate.size() > name.size() && candidate.starts_with(name) &&
                         candidate[name.size()] == '-';
    if (goes_on && (nearest.empty() || candidate.size() < nearest.size())) nearest = candidate;
  }
  if (!nearest.empty()) return nearest;
  size_t least = limit + 1;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > name.size() + limit || name.size() > candidate.size() + limit) continue;
    const size_t distance = edit_distance(name, candidate);
    if (distance < least && distance < std::max(name.size(), candidate.size())) {
      least = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

std::string list_names(std::span<const std::string> names, std::string_view found, size_t most) {
  std::vector<std::string> ordered(names.begin(), names.end());
  nearest_first(ordered, found);
  if (ordered.size() < 2 || ordered.size() > most) return comma_separated(ordered, most);
  const std::string last = ordered.back();
  ordered.pop_back();
  return comma_separated(ordered, most) + " or " + last;
}

std::string one_of(std::span<const std::string> names, std::string_view found, size_t most) {
  std::vector<std::string> ordered(names.begin(), names.end());
  const bool near = nearest_first(ordered, found);
  if (ordered.size() == 1) return '"' + ordered.front() + '"';
  if (!near) return "one of " + comma_separated(ordered, most);
  const std::span<const std::string> others = std::span<const std::string>(ordered).subspan(1);
  const std::string first = '"' + ordered.front() + "\" or ";
  if (others.size() == 1) return first + '"' + others.front() + '"';
  return first + "one of " + comma_separated(others, most > 0 ? most - 1 : 0);
}

}  // namespace orrery
