#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

namespace orrery {

/// Holds a result back until it is known to be good: in memory while it is short, in a temporary file without
/// a name beyond. What is never released leaves nothing behind.
class SpooledOutput {
 public:
  /// The text to append to; call spill() now and then.
  std::string& text() { return text_; }
  /// Moves the text to the temporary file if there is much of it. @throws std::runtime_error if that fails
  void spill();
  /// Writes everything to standard output. @throws std::runtime_error if it cannot be written whole
  void release();

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::string text_;
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace orrery
