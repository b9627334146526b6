// Whole files in and out (declared in json_reader.hpp). POSIX calls, because only they tell why a file cannot
// be read and can flush one to the disk.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

constexpr size_t kLargestFile = size_t{256} << 20;
constexpr int kMostTemporaryNames = 1000;

std::string reason(int error) { return std::generic_category().message(error); }

[[noreturn]] void refuse_file(const std::string& file, const std::string& what, int error) {
  throw InputError(InputProblem{file, {}, {}, {}, what + ": " + reason(error)});
}

/// A file descriptor that is closed when it goes.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int number() const { return number_; }
  bool open() const { return number_ >= 0; }
  /// Closes now and tells the error, 0 if there is none: a full disk may show only here.
  int close() { return ::close(std::exchange(number_, -1)) == 0 ? 0 : errno; }

 private:
  int number_;
};

/// Writes everything; the error, 0 if there is none.
int write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<size_t>(written));
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

/// Opens a new file beside `target`; `name` receives its path. Negative, with errno, if that is impossible.
int open_temporary(const std::filesystem::path& target, mode_t mode, std::string& name) {
  static std::atomic<unsigned> counter{0};
  for (int attempt = 0; attempt < kMostTemporaryNames; ++attempt) {
    const std::string leaf = fmt::format(".{}.{}.{}.tmp", target.filename().string(), ::getpid(), counter++);
    name = (target.parent_path() / leaf).string();
    const int descriptor = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (descriptor >= 0 || errno != EEXIST) return descriptor;
  }
  return -1;
}

void write_in_place(const std::string& name, std::string_view text) {
  Descriptor file(::open(name.c_str(), O_WRONLY | O_CLOEXEC));
  int error = file.open() ? write_all(file.number(), text) : errno;
  if (error == 0) error = file.close();
  if (error != 0) refuse_file(name, "cannot be written", error);
}

}  // namespace

std::string read_text_file(const std::string& path) {
  const bool standard_input = path == "-";
  Descriptor file(standard_input ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.open()) refuse_file(path, "cannot be read", errno);
  std::string text;
  std::array<char, 65536> block{};
  while (true) {
    const ssize_t count = ::read(file.number(), block.data(), block.size());
    if (count == 0) return text;
    if (count < 0) {
      if (errno == EINTR) continue;
      refuse_file(path, "cannot be read", errno);
    }
    if (text.size() + static_cast<size_t>(count) > kLargestFile) {
      throw InputError(InputProblem{path, {}, "more than 256 MiB", "a file of at most 256 MiB", {}});
    }
    text.append(block.data(), static_cast<size_t>(count));
  }
}

void write_text_file_atomically(const std::filesystem::path& path, std::string_view text) {
  const std::string shown = path.string();
  std::error_code unresolved;
  // A link stays a link: what it points to is replaced.
  const std::filesystem::path resolved = std::filesystem::canonical(path, unresolved);
  const std::filesystem::path& target = unresolved ? path : resolved;
  mode_t mode = 0666;
  struct stat existing {};
  const bool exists = ::stat(target.c_str(), &existing) == 0;
  if (exists) {
    if (S_ISDIR(existing.st_mode)) refuse_file(shown, "cannot be written", EISDIR);
    // A terminal, a pipe or /dev/null must not be replaced by a file.
    if (!S_ISREG(existing.st_mode)) return write_in_place(shown, text);
    mode = existing.st_mode & 0777;
  }
  std::string temporary;
  Descriptor file(open_temporary(target, mode, temporary));
  if (!file.open()) refuse_file(shown, "cannot be written", errno);
  int error = write_all(file.number(), text);
  if (error == 0 && exists && ::fchmod(file.number(), mode) != 0) error = errno;
  if (error == 0 && ::fsync(file.number()) != 0) error = errno;
  const int close_error = file.close();
  if (error == 0) error = close_error;
  if (error == 0 && ::rename(temporary.c_str(), target.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(temporary.c_str());
    refuse_file(shown, "cannot be written", error);
  }
}

}  // namespace orrery
