// parse_json: nlohmann's tokens, our own strictness (declared in json_reader.hpp).
#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

constexpr size_t kDeepest = 64;
/// Objects of more keys than this look duplicates up in a hash set instead of comparing with every key
/// before.
constexpr size_t kFewKeys = 16;

std::string place_in(std::string_view text, size_t offset) {
  const std::string_view before = text.substr(0, std::min(offset, text.size()));
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const size_t line_start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  return fmt::format("line {}, column {}", line, before.size() - line_start + 1);
}

/// nlohmann's reason without its own position and without the text it read last, which may be the whole file:
/// "syntax error while parsing value - invalid literal".
std::string reason_in(std::string_view what) {
  const size_t start = what.find(": ");
  if (start != std::string_view::npos) what.remove_prefix(start + 2);
  const size_t last_read = what.find("; last read: '");
  if (last_read == std::string_view::npos) return std::string(what);
  const size_t tail = what.rfind("'; expected ");
  const bool expectation = tail != std::string_view::npos && tail > last_read;
  return std::string(what.substr(0, last_read)) + std::string(expectation ? what.substr(tail + 1) : "");
}

/// Builds the document from nlohmann's events. The parser behind the events keeps its own stack, so depth
/// costs no recursion and can be refused here.
class DocumentBuilder : public nlohmann::json_sax<Json> {
 public:
  DocumentBuilder(std::string_view text, Problems& problems) : text_(text), problems_(problems) {}

  Json take() { return std::move(root_); }

  bool null() override { return put(Json(nullptr)) != nullptr; }
  bool boolean(bool value) override { return put(Json(value)) != nullptr; }
  bool number_integer(number_integer_t value) override {
    // Only numbers with a minus arrive here, so zero was "-0": not an integer that anybody counts with.
    if (value == 0) return put(Json(-0.0)) != nullptr;
    return put(Json(value)) != nullptr;
  }
  bool number_unsigned(number_unsigned_t value) override {
    // Json holds what fits as signed, so that one type means "an integer that integer() can return".
    if (value <= static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max())) {
      return put(Json(static_cast<std::int64_t>(value))) != nullptr;
    }
    return put(Json(value)) != nullptr;
  }
  bool number_float(number_float_t value, const string_t& /*text*/) override {
    return put(Json(value)) != nullptr;
  }
  bool string(string_t& value) override { return put(Json(std::move(value))) != nullptr; }
  bool binary(binary_t& /*value*/) override { return false; }

  bool start_object(std::size_t /*count*/) override { return open(Json::object()); }
  bool start_array(std::size_t /*count*/) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    Level& level = levels_.back();
    const auto& members = level.container->get_ref<const Json::object_t&>();
    bool duplicate = false;
    if (members.size() <= kFewKeys) {
      duplicate = std::any_of(members.begin(), members.end(),
                              [&](const auto& member) { return member.first == name; });
    } else {
      if (level.keys.empty()) {
        for (const auto& member : members) level.keys.insert(member.first);
      }
      duplicate = !level.keys.insert(name).second;
    }
    level.key = std::move(name);
    if (duplicate) problems_.add(pointer(), "a duplicate key", "each key once");
    return true;
  }

  bool parse_error(std::size_t position, const std::string& token,
                   const nlohmann::detail::exception& error) override {
    // 406: a number beyond the largest double. Its text is all digits, so it can be shown.
    if (error.id == 406) {
      const std::string number = token.substr(0, 40) + (token.size() > 40 ? "..." : "");
      problems_.add(pointer(), number, "a number that a double can hold (at most 1.8e308)");
    } else {
      // nlohmann counts the bytes read, the offending one included.
      const size_t offset = position > 0 ? position - 1 : 0;
      problems_.add_message({}, place_in(text_, offset) + ": " + reason_in(error.what()));
    }
    return false;
  }

 private:
  struct Level {
    Json* container;
    std::string key;                         // of an object: the member being read
    std::unordered_set<std::string> keys{};  // of an object with many keys
  };

  /// Pointer of the value being read.
  std::string pointer() const {
    std::string text;
    for (const Level& level : levels_) {
      text += '/';
      if (level.container->is_array()) {
        // The innermost list does not hold the value yet; the others hold what encloses it.
        const size_t read = level.container->size();
        text += std::to_string(&level == &levels_.back() ? read : read - 1);
      } else {
        text += pointer_token(level.key);
      }
    }
    return text;
  }

  Json* put(Json value) {
    if (levels_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Level& level = levels_.back();
    if (level.container->is_array()) {
      auto& elements = level.container->get_ref<Json::array_t&>();
      elements.push_back(std::move(value));
      return &elements.back();
    }
    // Not through operator[], which would look for the key among all before; duplicates refuse the document
    // anyway.
    auto& members = level.container->get_ref<Json::object_t&>();
    members.emplace_back(level.key, std::move(value));
    return &members.back().second;
  }

  bool open(Json container) {
    if (levels_.size() == kDeepest) {
      problems_.add(pointer(), fmt::format("nesting deeper than {}", kDeepest),
                    fmt::format("at most {} levels of lists and objects", kDeepest));
      return false;
    }
    levels_.push_back(Level{put(std::move(container)), {}});
    return true;
  }

  bool close() {
    levels_.pop_back();
    return true;
  }

  std::string_view text_;
  Problems& problems_;
  Json root_;
  std::vector<Level> levels_;
};

}  // namespace

Json parse_json(std::string_view text, const std::string& file) {
  Problems problems(file);
  // nlohmann would skip a byte-order mark and take a zero byte for the end of the text.
  if (text.substr(0, 3) == "\xEF\xBB\xBF") {
    problems.add_message({}, "line 1, column 1: found a byte-order mark, expected JSON in UTF-8 without one");
  } else if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    problems.add({}, "an empty text", "a JSON document");
  } else if (const size_t zero = text.find('\0'); zero != std::string_view::npos) {
    problems.add_message({}, place_in(text, zero) + ": found a zero byte, expected JSON text");
  }
  problems.throw_if_any();

  DocumentBuilder builder(text, problems);
  Json::sax_parse(text.begin(), text.end(), &builder);
  problems.throw_if_any();
  return builder.take();
}

Json read_json_file(const std::string& path) { return parse_json(read_text_file(path), path); }

}  // namespace orrery
