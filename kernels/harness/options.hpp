#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace orrery::kernels {

/// The command line was refused: one line for each problem. Exit code 2.
struct OptionError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Insertions, deletions and replacements that turn one text into the other (Levenshtein).
inline std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

/// The name that the fewest edits turn the given one into (the first of equals); empty without names.
inline std::string nearest_name(std::string_view given, const std::vector<std::string>& names) {
  std::string best;
  std::size_t distance = std::numeric_limits<std::size_t>::max();
  for (const std::string& name : names) {
    const std::size_t edits = edit_distance(given, name);
    if (edits < distance) {
      distance = edits;
      best = name;
    }
  }
  return best;
}

/// The parts of a comma-separated list, none empty.
/// @throws OptionError for an empty part
inline std::vector<std::string> comma_list(std::string_view text) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t comma = text.find(',');
    parts.emplace_back(text.substr(0, comma));
    if (parts.back().empty()) throw OptionError("found an empty part in a comma-separated list");
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

/// The options of one program. Strict: an unknown one is refused with the nearest known name, a value outside
/// its range or choices with what was expected, an option twice; all problems of a command line at once.
/// "--name VALUE" and "--name=VALUE" are the same.
class Options {
 public:
  Options(std::string program, std::string summary)
      : program_(std::move(program)), summary_(std::move(summary)) {}

  /// Each call binds an option to a variable, whose present value is the default.
  void flag(const std::string& name, bool* value, const std::string& help) {
    entries_.push_back({name, "", help, false, [value](std::string_view) {
                          *value = true;
                          return std::string();
                        }});
  }
  void text(const std::string& name, std::string* value, const std::string& argument,
            const std::string& help) {
    entries_.push_back({name, argument, help, false, [value](std::string_view given) {
                          *value = given;
                          return std::string();
                        }});
  }
  void integer(const std::string& name, std::int64_t* value, std::int64_t lowest, std::int64_t highest,
               const std::string& help) {
    entries_.push_back({name, "N", help, false, [=](std::string_view given) {
                          return read(given, value, lowest, highest, "an integer");
                        }});
  }
  void number(const std::string& name, double* value, double lowest, double highest,
              const std::string& help) {
    entries_.push_back({name, "X", help, false, [=](std::string_view given) {
                          return read(given, value, lowest, highest, "a number");
                        }});
  }
  /// A comma-separated list of names out of `choices`.
  void choices(const std::string& name, std::vector<std::string>* value,
               const std::vector<std::string>& choices, const std::string& help) {
    entries_.push_back({name, "A,B,...", help, false,
                        [=](std::string_view given) { return read_choices(given, value, choices); }});
  }

  /// @throws OptionError with one line for each problem
  void parse(const std::vector<std::string>& arguments) {
    std::vector<std::string> problems;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      const std::string& argument = arguments[i];
      const std::size_t equals = argument.find('=');
      const std::string name = argument.substr(0, equals);
      if (name == "--help") {
        help_asked_ = true;
        continue;
      }
      if (!name.starts_with("--")) {
        problems.push_back(program_ + ": found " + argument + ", expected an option; --help lists them");
        continue;
      }
      Entry* entry = find(name);
      if (entry == nullptr) {
        problems.push_back(program_ + ": found " + name +
                           ", which is no option of this program; nearest is " + nearest_name(name, names()));
        // What follows is most likely its value, and no second problem.
        if (equals == std::string::npos && i + 1 < arguments.size() && !arguments[i + 1].starts_with("--"))
          ++i;
        continue;
      }
      if (std::exchange(entry->given, true)) {
        problems.push_back(program_ + ": found " + name + " twice, expected it once");
      }
      std::string value;
      if (entry->argument.empty()) {
        if (equals != std::string::npos) problems.push_back(program_ + ": " + name + " takes no value");
      } else if (equals != std::string::npos) {
        value = argument.substr(equals + 1);
      } else if (i + 1 < arguments.size() && !arguments[i + 1].starts_with("--")) {
        value = arguments[++i];
      } else {
        problems.push_back(program_ + ": " + name + " has no value, expected " + entry->argument);
        continue;
      }
      const std::string problem = entry->store(value);
      if (!problem.empty()) {
        problems.push_back(program_ + ": " + name + ": found \"" + value + "\", expected " + problem);
      }
    }
    if (!problems.empty()) throw OptionError(joined(problems, "\n"));
  }

  bool help_asked() const { return help_asked_; }
  std::string help() const {
    std::string out = program_ + ": " + summary_ + "\n";
    for (const Entry& entry : entries_) {
      std::string left = "  " + entry.name + (entry.argument.empty() ? "" : " " + entry.argument);
      left.resize(std::max<std::size_t>(left.size() + 2, 28), ' ');
      out += left + entry.help + "\n";
    }
    return out;
  }

 private:
  struct Entry {
    std::string name, argument, help;
    bool given;
    std::function<std::string(std::string_view)> store;  ///< answers what was expected, or nothing if stored
  };

  template <typename T>
  static std::string read(std::string_view given, T* value, T lowest, T highest, const char* kind) {
    T parsed{};
    const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), parsed);
    const bool whole = error == std::errc() && end == given.data() + given.size();
    if (!whole || !(parsed >= lowest && parsed <= highest)) {
      return std::string(kind) + " in [" + plain(lowest) + ", " + plain(highest) + "]";
    }
    *value = parsed;
    return {};
  }
  template <typename T>
  static std::string plain(T value) {
    char buffer[32];
    return {buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr};
  }
  static std::string read_choices(std::string_view given, std::vector<std::string>* value,
                                  const std::vector<std::string>& choices) {
    try {
      std::vector<std::string> parts = comma_list(given);
      for (const std::string& part : parts) {
        if (std::find(choices.begin(), choices.end(), part) == choices.end()) {
          return "names out of " + joined(choices, ", ") + "; nearest to " + part + " is " +
                 nearest_name(part, choices);
        }
      }
      *value = std::move(parts);
      return {};
    } catch (const OptionError&) {
      return "a comma-separated list without empty parts";
    }
  }
  static std::string joined(const std::vector<std::string>& parts, const std::string& between) {
    std::string out;
    for (const std::string& part : parts) {
      if (!out.empty()) out += between;
      out += part;
    }
    return out;
  }
  Entry* find(const std::string& name) {
    for (Entry& entry : entries_)
      if (entry.name == name) return &entry;
    return nullptr;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const Entry& entry : entries_) all.push_back(entry.name);
    return all;
  }

  std::string program_, summary_;
  std::vector<Entry> entries_;
  bool help_asked_ = false;
};

}  // namespace orrery::kernels
