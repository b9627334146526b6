#include "reports/cli/long_work.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <utility>

namespace orrery {
namespace {

// A signal handler can reach nothing but a global.
std::atomic<bool> g_interrupted{false};  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

void note_interrupt(int /*signal*/) {
  g_interrupted.store(true);
  std::signal(SIGINT, SIG_DFL);
}

}  // namespace

LongWork::LongWork(bool quiet, std::string things)
    : shows_progress_(!quiet && isatty(STDERR_FILENO) != 0), things_(std::move(things)) {
  g_interrupted.store(false);
  std::signal(SIGINT, note_interrupt);
}

LongWork::~LongWork() {
  std::signal(SIGINT, SIG_DFL);
  if (shows_progress_) std::fputs("\r\033[K", stderr);
}

std::function<void(int done, int total)> LongWork::progress() const {
  if (!shows_progress_) return {};
  return
      [things = things_](int done, int total) { fmt::print(stderr, "\r{} of {} {}", done, total, things); };
}

const std::atomic<bool>* LongWork::stop() const { return &g_interrupted; }

}  // namespace orrery
