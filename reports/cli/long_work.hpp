#pragma once

#include <atomic>
#include <functional>
#include <string>

namespace orrery {

/// While it lives, the first interrupt (Ctrl-C) asks the work to stop, the second ends the program at once,
/// and standard error shows "3 of 20 points" if it is a terminal. One at a time.
class LongWork {
 public:
  /// @param things what is counted, in the plural
  LongWork(bool quiet, std::string things);
  LongWork(const LongWork&) = delete;
  LongWork& operator=(const LongWork&) = delete;
  ~LongWork();

  /// What ValidateOptions, ScaleOptions take. Empty where nothing is shown.
  std::function<void(int done, int total)> progress() const;
  const std::atomic<bool>* stop() const;

 private:
  bool shows_progress_;
  std::string things_;
};

}  // namespace orrery
