#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace orrery {

/// The lines of a file or of standard input ("-"), one after the other in a buffer of constant size.
class TextLines {
 public:
  /// @throws InputError if the file cannot be opened
  explicit TextLines(std::string path);
  ~TextLines();
  TextLines(const TextLines&) = delete;
  TextLines& operator=(const TextLines&) = delete;

  /// The next line without its end; valid until the next call. False after the last.
  /// @throws InputError if reading fails, or for a line of more than 64 KiB
  bool next(std::string_view& line);
  /// Number of the line that next() returned last, from 1.
  std::int64_t number() const { return number_; }
  const std::string& path() const { return path_; }
  /// "FILE:LINE" of that line.
  std::string place() const;

 private:
  void fill();

  std::string path_;
  int descriptor_ = -1;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;  // of what is read and not returned
  bool finished_ = false;
  std::int64_t number_ = 0;
};

}  // namespace orrery
