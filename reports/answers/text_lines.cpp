#include "reports/answers/text_lines.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "sim/base/errors.hpp"

namespace orrery {
namespace {

constexpr size_t kLongestLine = size_t{64} << 10;
constexpr size_t kBuffer = size_t{1} << 20;

[[noreturn]] void refuse_reading(const std::string& path, int error) {
  throw InputError(
      InputProblem{path, "", "", "", "cannot be read: " + std::generic_category().message(error)});
}

}  // namespace

TextLines::TextLines(std::string path) : path_(std::move(path)), buffer_(kBuffer) {
  descriptor_ = path_ == "-" ? ::dup(STDIN_FILENO) : ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) refuse_reading(path_, errno);
}

TextLines::~TextLines() { ::close(descriptor_); }

std::string TextLines::place() const { return fmt::format("{}:{}", path_, number_); }

/// Moves what is left to the front and reads more behind it.
void TextLines::fill() {
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  ssize_t count = -1;
  do {
    count = ::read(descriptor_, buffer_.data() + end_, buffer_.size() - end_);
  } while (count < 0 && errno == EINTR);
  if (count < 0) refuse_reading(path_, errno);
  finished_ = count == 0;
  end_ += static_cast<size_t>(count);
}

bool TextLines::next(std::string_view& line) {
  size_t searched = 0;
  while (true) {
    const char* const from = buffer_.data() + begin_;
    const void* const found = std::memchr(from + searched, '\n', end_ - begin_ - searched);
    const bool last = found == nullptr && finished_;
    if (last && begin_ == end_) return false;
    if (found != nullptr || last) {
      const size_t length =
          last ? end_ - begin_ : static_cast<size_t>(static_cast<const char*>(found) - from);
      ++number_;
      if (length > kLongestLine) break;
      line = {from, length};
      begin_ += length + (last ? 0 : 1);
      return true;
    }
    searched = end_ - begin_;
    if (searched > kLongestLine) {
      ++number_;
      break;
    }
    fill();
  }
  throw InputError(InputProblem{place(), "", "more than 64 KiB", "a line of at most 64 KiB", ""});
}

}  // namespace orrery
