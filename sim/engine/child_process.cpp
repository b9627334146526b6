#include "sim/engine/child_process.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <exception>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>

namespace orrery {

namespace {

/// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }
  void close() {
    if (number_ >= 0) {
      ::close(number_);
      number_ = -1;
    }
  }

 private:
  int number_;
};

[[noreturn]] void throw_errno(const char* what) {
  throw std::system_error(errno, std::generic_category(), std::string("simulation process: ") + what);
}

bool write_all(int descriptor, std::span<const std::byte> data) {
  while (!data.empty()) {
    const ssize_t written = ::write(descriptor, data.data(), data.size());
    if (written < 0 && errno != EINTR) {
      return false;
    }
    data = data.subspan(written > 0 ? static_cast<size_t>(written) : 0);
  }
  return true;
}

bool read_all(int descriptor, std::span<std::byte> data) {
  while (!data.empty()) {
    const ssize_t got = ::read(descriptor, data.data(), data.size());
    if (got == 0 || (got < 0 && errno != EINTR)) {
      return false;
    }
    data = data.subspan(got > 0 ? static_cast<size_t>(got) : 0);
  }
  return true;
}

/// The child's whole life. Leaves by _exit: no destructors of the parent's objects, no flushed copies of its
/// buffers.
[[noreturn]] void live_as_child(pid_t parent, int results, int messages,
                                const std::function<std::vector<double>()>& body) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) {
    ::_exit(1);  // it died before the line above
  }
  for (const int signal : {SIGINT, SIGTERM, SIGABRT, SIGSEGV, SIGPIPE}) {
    ::signal(signal, SIG_DFL);
  }
  ::dup2(messages, STDOUT_FILENO);
  ::dup2(messages, STDERR_FILENO);
  std::string failure;
  try {
    const std::vector<double> values = body();
    const std::uint64_t count = values.size();
    const bool sent = write_all(results, std::as_bytes(std::span(&count, 1))) &&
                      write_all(results, std::as_bytes(std::span(values)));
    ::_exit(sent ? 0 : 1);
  } catch (const std::exception& error) {
    failure = error.what();
  } catch (...) {
    failure = "unknown exception";
  }
  failure += '\n';
  write_all(messages, std::as_bytes(std::span(failure)));
  ::_exit(1);
}

/// The last line that is not empty and no part of a backtrace.
std::string last_message(int messages) {
  std::array<char, 16384> tail{};
  const off_t size = ::lseek(messages, 0, SEEK_END);
  const off_t begin = size > static_cast<off_t>(tail.size()) ? size - static_cast<off_t>(tail.size()) : 0;
  const ssize_t got = size > 0 ? ::pread(messages, tail.data(), tail.size(), begin) : 0;
  const std::string text(tail.data(), got > 0 ? static_cast<size_t>(got) : 0);
  std::string last;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    const std::string line = text.substr(start, end - start);
    if (line.find("Backtrace") != std::string::npos) {
      break;
    }
    if (!line.empty()) {
      last = line;
    }
    start = end + 1;
  }
  return last;
}

std::string ending(int status) {
  if (WIFSIGNALED(status)) {
    return std::string("was killed by signal ") + std::to_string(WTERMSIG(status)) + " (" +
           ::strsignal(WTERMSIG(status)) + ")";  // NOLINT(concurrency-mt-unsafe): for the message only
  }
  return "ended with status " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

std::vector<double> doubles_from_child(const std::function<std::vector<double>()>& body) {
  Descriptor messages(::memfd_create("orrery-simulation", MFD_CLOEXEC));
  if (messages.number() < 0) {
    throw_errno("memfd_create");
  }
  std::array<int, 2> ends{};
  pid_t child = -1;
  {
    // While one call holds a writing end, no other may fork: its child would keep that end open.
    static std::mutex forking;
    const std::scoped_lock lock(forking);
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
      throw_errno("pipe");
    }
    const pid_t parent = ::getpid();
    child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      live_as_child(parent, ends[1], messages.number(), body);
    }
    ::close(ends[1]);
  }
  Descriptor results(ends[0]);
  if (child < 0) {
    throw_errno("fork");
  }
  std::uint64_t count = 0;
  std::vector<double> values;
  bool complete = read_all(results.number(), std::as_writable_bytes(std::span(&count, 1)));
  if (complete) {
    values.resize(count);
    complete = read_all(results.number(), std::as_writable_bytes(std::span(values)));
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) {
      throw_errno("waitpid");
    }
  }
  if (!complete || status != 0) {
    const std::string message = last_message(messages.number());
    throw std::runtime_error("the simulation process " + ending(status) +
                             (message.empty() ? "" : ": " + message));
  }
  return values;
}

int worker_count(int asked) {
#if defined(__SANITIZE_ADDRESS__)
  return std::min(asked, 1);
#else
  return asked;
#endif
}

}  // namespace orrery
