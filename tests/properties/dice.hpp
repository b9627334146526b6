#pragma once

#include <array>
#include <cstddef>
#include <random>

namespace orrery {

/// Random choices, the same numbers on any machine.
class Dice {
 public:
  explicit Dice(unsigned seed) : engine_(seed) {}
  int pick(int least, int most) {
    return least + static_cast<int>(engine_() % static_cast<unsigned>(most - least + 1));
  }
  /// True once in n.
  bool once_in(int n) { return pick(1, n) == 1; }
  template <typename T, size_t n>
  T one_of(const std::array<T, n>& all) {
    return all[static_cast<size_t>(pick(0, static_cast<int>(n) - 1))];
  }

 private:
  std::mt19937 engine_;
};

}  // namespace orrery
