#pragma once

#include <cmath>
#include <compare>

namespace orrery {

/// A number with a dimension, held in SI base units (seconds, bytes, floating-point operations, joules, US
/// dollars).
///
/// The template arguments are the exponents of time, data, work, energy and money. Multiplying and dividing
/// add and subtract them; a result without dimension is a plain double, so `achieved / peak` is a ratio and
/// cannot be taken for a rate. Construct with the named functions below (`microseconds(2)`), read with
/// base().
template <int kTime, int kData, int kWork, int kEnergy, int kMoney>
class Quantity {
 public:
  constexpr Quantity() = default;
  constexpr explicit Quantity(double base) : base_(base) {}

  /// The value in SI base units (s, B, B/s, FLOP, FLOP/s, J, W, USD).
  constexpr double base() const { return base_; }

  constexpr auto operator<=>(const Quantity&) const = default;

  constexpr Quantity operator-() const { return Quantity(-base_); }
  constexpr Quantity& operator+=(Quantity other) {
    base_ += other.base_;
    return *this;
  }
  constexpr Quantity& operator-=(Quantity other) {
    base_ -= other.base_;
    return *this;
  }
  constexpr Quantity& operator*=(double factor) {
    base_ *= factor;
    return *this;
  }
  constexpr Quantity& operator/=(double divisor) {
    base_ /= divisor;
    return *this;
  }
  friend constexpr Quantity operator+(Quantity a, Quantity b) { return Quantity(a.base_ + b.base_); }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return Quantity(a.base_ - b.base_); }
  friend constexpr Quantity operator*(Quantity a, double b) { return Quantity(a.base_ * b); }
  friend constexpr Quantity operator*(double a, Quantity b) { return Quantity(a * b.base_); }
  friend constexpr Quantity operator/(Quantity a, double b) { return Quantity(a.base_ / b); }

 private:
  double base_ = 0.0;
};

template <int T1, int D1, int W1, int E1, int M1, int T2, int D2, int W2, int E2, int M2>
constexpr auto operator*(Quantity<T1, D1, W1, E1, M1> a, Quantity<T2, D2, W2, E2, M2> b) {
  if constexpr (T1 + T2 == 0 && D1 + D2 == 0 && W1 + W2 == 0 && E1 + E2 == 0 && M1 + M2 == 0) {
    return a.base() * b.base();
  } else {
    return Quantity<T1 + T2, D1 + D2, W1 + W2, E1 + E2, M1 + M2>(a.base() * b.base());
  }
}
template <int T1, int D1, int W1, int E1, int M1, int T2, int D2, int W2, int E2, int M2>
constexpr auto operator/(Quantity<T1, D1, W1, E1, M1> a, Quantity<T2, D2, W2, E2, M2> b) {
  if constexpr (T1 == T2 && D1 == D2 && W1 == W2 && E1 == E2 && M1 == M2) {
    return a.base() / b.base();
  } else {
    return Quantity<T1 - T2, D1 - D2, W1 - W2, E1 - E2, M1 - M2>(a.base() / b.base());
  }
}
template <int T, int D, int W, int E, int M>
constexpr auto operator/(double a, Quantity<T, D, W, E, M> b) {
  return Quantity<-T, -D, -W, -E, -M>(a / b.base());
}

using Seconds = Quantity<1, 0, 0, 0, 0>;
using Hertz = Quantity<-1, 0, 0, 0, 0>;
using Bytes = Quantity<0, 1, 0, 0, 0>;
using BytesPerSecond = Quantity<-1, 1, 0, 0, 0>;
using Flops = Quantity<0, 0, 1, 0, 0>;
using FlopsPerSecond = Quantity<-1, 0, 1, 0, 0>;
using Joules = Quantity<0, 0, 0, 1, 0>;
using Watts = Quantity<-1, 0, 0, 1, 0>;
using Dollars = Quantity<0, 0, 0, 0, 1>;

constexpr Seconds seconds(double value) { return Seconds(value); }
constexpr Seconds milliseconds(double value) { return Seconds(value * 1e-3); }
constexpr Seconds microseconds(double value) { return Seconds(value * 1e-6); }
constexpr Bytes bytes(double value) { return Bytes(value); }
constexpr Bytes kibibytes(double value) { return Bytes(value * 1024.0); }
constexpr Bytes mebibytes(double value) { return Bytes(value * 1024.0 * 1024.0); }
constexpr Bytes gibibytes(double value) { return Bytes(value * 1024.0 * 1024.0 * 1024.0); }
constexpr BytesPerSecond gigabytes_per_second(double value) { return BytesPerSecond(value * 1e9); }
constexpr BytesPerSecond gigabits_per_second(double value) { return BytesPerSecond(value * 1e9 / 8.0); }
constexpr FlopsPerSecond teraflops(double value) { return FlopsPerSecond(value * 1e12); }

template <int T, int D, int W, int E, int M>
constexpr Quantity<T, D, W, E, M> max(Quantity<T, D, W, E, M> a, Quantity<T, D, W, E, M> b) {
  return a < b ? b : a;
}
template <int T, int D, int W, int E, int M>
constexpr Quantity<T, D, W, E, M> min(Quantity<T, D, W, E, M> a, Quantity<T, D, W, E, M> b) {
  return b < a ? b : a;
}

}  // namespace orrery
