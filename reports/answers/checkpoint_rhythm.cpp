#include "reports/answers/checkpoint_rhythm.hpp"

#include <algorithm>
#include <limits>

namespace orrery {
namespace {

constexpr int kPeriods = 200;
/// Where one job writes thousands of times as often as the other.
constexpr int kMostEvents = 2'000'000;
/// What is left of steps and writes below this is round-off: jobs alike end theirs at one time.
constexpr double kRoundOff = 1e-9;

class JobClock {
 public:
  explicit JobClock(const CheckpointRhythm& rhythm) : rhythm_(rhythm) {
    if (rhythm_.every > 0 && rhythm_.async) write_left_ = 1.0;
    begin_period();
  }

  bool writes() const { return rhythm_.every > 0; }
  int periods() const { return periods_; }
  Doing doing() const {
    if (staging_left_s_ > 0.0) return Doing::nothing;
    if (waits_) return Doing::write;
    return write_left_ > 0.0 ? Doing::steps_and_write : Doing::steps;
  }

  double next_event_s(const Pace& pace) const {
    switch (doing()) {
      case Doing::nothing:
        return staging_left_s_;
      case Doing::write:
        return write_left_ * pace.write_s;
      case Doing::steps_and_write:
        return std::min(steps_left_ * pace.step_s, write_left_ * pace.write_s);
      case Doing::steps:
        break;
    }
    return steps_left_ * pace.step_s;
  }

  void advance(double seconds, const Pace& pace, Doing other) {
    const Doing now = doing();
    current_.time_s += seconds;
    if (now == Doing::nothing) staging_left_s_ = less(staging_left_s_, seconds);
    if (now == Doing::write || now == Doing::steps_and_write)
      write_left_ = less(write_left_, seconds / pace.write_s);
    if (now == Doing::steps || now == Doing::steps_and_write) {
      const double steps = seconds / pace.step_s;
      current_.steps += steps;
      current_.steps_beside[static_cast<size_t>(now)][static_cast<size_t>(other)] += steps;
      steps_left_ = less(steps_left_, steps);
    } else {
      current_.waited_s += seconds;
    }
    if (steps_left_ <= 0.0) at_checkpoint();
  }

  RhythmTotals totals() const { return periods_ > 0 ? at_period_ : current_; }

 private:
  static double less(double left, double done) {
    const double result = left - done;
    return result <= kRoundOff * std::max(done, kRoundOff) ? 0.0 : result;
  }

  void begin_period() {
    steps_left_ =
        rhythm_.every > 0 ? static_cast<double>(rhythm_.every) : std::numeric_limits<double>::infinity();
    waits_ = staged_ = false;
  }
  void end_period() {
    ++periods_;
    at_period_ = current_;
    begin_period();
  }

  /// All steps of the period are done: what the checkpoint still waits for.
  void at_checkpoint() {
    if (!rhythm_.async) {
      if (!waits_) {
        write_left_ = 1.0;
        waits_ = true;
      } else if (write_left_ <= 0.0) {
        end_period();
      }
      return;
    }
    waits_ = write_left_ > 0.0;  // for the one before
    if (waits_ || staging_left_s_ > 0.0) return;
    if (!staged_ && rhythm_.staging_s > 0.0) {
      staged_ = true;
      staging_left_s_ = rhythm_.staging_s;
      return;
    }
    write_left_ = 1.0;
    end_period();
  }

  CheckpointRhythm rhythm_;
  double steps_left_ = 0.0, staging_left_s_ = 0.0;
  double write_left_ = 0.0;  ///< share of the bytes
  bool waits_ = false, staged_ = false;
  int periods_ = 0;
  RhythmTotals current_, at_period_;
};

}  // namespace

std::array<RhythmTotals, 2> alternate(
    const std::array<CheckpointRhythm, 2>& jobs,
    const std::function<std::array<Pace, 2>(Doing first, Doing second)>& paces) {
  JobClock first(jobs[0]), second(jobs[1]);
  const auto done = [](const JobClock& job) { return !job.writes() || job.periods() >= kPeriods; };
  if (!first.writes() && !second.writes()) {
    const auto [own, other] = paces(Doing::steps, Doing::steps);
    first.advance(own.step_s, own, Doing::steps);
    second.advance(other.step_s, other, Doing::steps);
    return {first.totals(), second.totals()};
  }
  for (int event = 0; event < kMostEvents && !(done(first) && done(second)); ++event) {
    const Doing own = first.doing();
    const Doing other = second.doing();
    const auto [own_pace, other_pace] = paces(own, other);
    const double seconds = std::min(first.next_event_s(own_pace), second.next_event_s(other_pace));
    first.advance(seconds, own_pace, other);
    second.advance(seconds, other_pace, own);
  }
  return {first.totals(), second.totals()};
}

}  // namespace orrery
