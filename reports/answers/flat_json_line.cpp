#include "reports/answers/flat_json_line.hpp"

#include <algorithm>
#include <charconv>

namespace orrery {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

/// A cursor over plain JSON text; every step returns false where the text is not plain.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : next_(text.data()), end_(text.data() + text.size()) {}

  const char* position() const { return next_; }
  void skip_blanks() {
    while (next_ != end_ && kBlanks.find(*next_) != std::string_view::npos) ++next_;
  }
  bool at_end() const { return next_ == end_; }
  /// Skips blanks and takes the character if it comes next.
  bool take(char wanted) {
    skip_blanks();
    if (at_end() || *next_ != wanted) return false;
    ++next_;
    return true;
  }
  bool text(std::string_view& value) {
    if (!take('"')) return false;
    const char* const begin = next_;
    while (next_ != end_ && *next_ != '"') {
      if (*next_ < ' ' || *next_ > '~' || *next_ == '\\') return false;
      ++next_;
    }
    if (at_end()) return false;
    value = {begin, static_cast<size_t>(next_ - begin)};
    ++next_;
    return true;
  }
  bool value(FlatMember& member) {
    skip_blanks();
    if (at_end()) return false;
    if (*next_ == '"') {
      member.kind = FlatMember::Kind::text;
      return text(member.text);
    }
    if (*next_ == 't' || *next_ == 'f') return truth(member);
    return integer(member);
  }

 private:
  bool truth(FlatMember& member) {
    member.kind = FlatMember::Kind::boolean;
    member.boolean = *next_ == 't';
    const std::string_view word = member.boolean ? "true" : "false";
    if (std::string_view(next_, static_cast<size_t>(end_ - next_)).substr(0, word.size()) != word)
      return false;
    next_ += word.size();
    return true;
  }
  bool integer(FlatMember& member) {
    if (*next_ < '0' || *next_ > '9') return false;
    const char* const begin = next_;
    const auto [after, error] = std::from_chars(begin, end_, member.integer);
    if (error != std::errc() || (*begin == '0' && after != begin + 1)) return false;
    if (after != end_ && (*after == '.' || *after == 'e' || *after == 'E')) return false;
    member.kind = FlatMember::Kind::integer;
    next_ = after;
    return true;
  }

  const char* next_;
  const char* end_;
};

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

/// A line has no line number of its own: "line 1, column 14: ..." becomes "column 14: ...".
InputProblem on_its_line(InputProblem problem) {
  constexpr std::string_view kFirst = "line 1, ";
  if (problem.message.starts_with(kFirst)) problem.message.erase(0, kFirst.size());
  return problem;
}

}  // namespace

std::string FlatMember::shown(bool number_expected) const {
  switch (kind) {
    case Kind::integer:
      return describe_json(Json(integer), number_expected);
    case Kind::real:
      return describe_json(Json(real), number_expected);
    case Kind::boolean:
      return describe_json(Json(boolean));
    case Kind::text:
      return describe_json(Json(std::string(text)));
    case Kind::other:
      break;
  }
  return value != nullptr ? describe_json(*value, number_expected) : "nothing";
}

bool FlatJsonLine::scan(std::string_view line) {
  members_.clear();
  Scanner scanner(line);
  if (!scanner.take('{')) return false;
  if (scanner.take('}')) {
    scanner.skip_blanks();
    return scanner.at_end();
  }
  do {
    FlatMember member;
    if (!scanner.text(member.key) || !scanner.take(':') || !scanner.value(member)) return false;
    for (const FlatMember& before : members_) {
      if (before.key == member.key) return false;  // parse_json says so
    }
    members_.push_back(member);
  } while (scanner.take(','));
  if (!scanner.take('}')) return false;
  scanner.skip_blanks();
  return scanner.at_end();
}

void FlatJsonLine::take(const Json& document) {
  members_.clear();
  for (const auto& [key, value] : document.get_ref<const Json::object_t&>()) {
    FlatMember member;
    member.key = key;
    member.value = &value;
    if (value.is_boolean()) {
      member.kind = FlatMember::Kind::boolean;
      member.boolean = value.get<bool>();
    } else if (value.is_string()) {
      member.kind = FlatMember::Kind::text;
      member.text = value.get_ref<const std::string&>();
    } else if (value.is_number_integer() && !value.is_number_unsigned()) {
      member.kind = FlatMember::Kind::integer;
      member.integer = value.get<std::int64_t>();
    } else if (value.is_number_float()) {
      member.kind = FlatMember::Kind::real;
      member.real = value.get<double>();
    }
    members_.push_back(member);
  }
}

void FlatJsonLine::parse(std::string_view line, const std::string& file) {
  const std::string_view whole = trimmed(line);
  if (!scan(line)) {
    try {
      document_ = parse_json(line, file);
    } catch (const InputError& error) {
      std::vector<InputProblem> problems;
      std::transform(error.problems().begin(), error.problems().end(), std::back_inserter(problems),
                     on_its_line);
      throw InputError(std::move(problems));
    }
    if (!document_.is_object()) {
      throw InputError(InputProblem{file, "", describe_json(document_), "an object", ""});
    }
    take(document_);
  }
  inside_ = trimmed(whole.substr(1, whole.size() - 2));
}

}  // namespace orrery
