#pragma once

#include <cmath>
#include <random>
#include <string>

#include "calibration/kernels/measurement_files.hpp"
#include "sim/cost/power_form.hpp"

namespace orrery::test {

/// What made measurements are made from.
struct Truth {
  DeviceSpec device;
  GemmParameters gemm;
  AttentionParameters attention;
  MemoryParameters memory;
  PowerParameters power;
  double sustained = 0.9;  ///< clock under load over the burst's
};

inline Truth made_truth() {
  Truth truth;
  truth.device.name = "made";
  truth.device.architecture = "hopper";
  truth.device.sms = 132;
  truth.device.memory_bandwidth = gigabytes_per_second(3350);
  truth.device.board_power = Watts(700);
  truth.device.peak[static_cast<size_t>(Precision::bf16)] = teraflops(989);
  truth.gemm.efficiency = 0.82;
  truth.gemm.feed = 1e-11;  // a quarter of the time in which an SM gets a byte of the memory bandwidth
  truth.gemm.contention = 0.3;
  truth.gemm.ramp = 60;
  truth.gemm.quantisation = 0.4;
  truth.gemm.memory = 0.75;
  truth.gemm.launch = microseconds(3);
  truth.gemm.split_launch = microseconds(1);
  truth.attention.efficiency = 0.62;
  truth.attention.ramp = 1200;
  truth.attention.tail = 0.4;
  truth.attention.full_ramp = 0.2;
  truth.attention.backward = 0.8;
  truth.attention.memory = 0.8;
  truth.attention.launch = microseconds(5);
  truth.memory.set_shares(0.85, 0.5);
  truth.memory.share[static_cast<size_t>(MemoryKind::norm)] = 0.7;
  truth.memory.launch = microseconds(2);
  truth.power = {Watts(100), Watts(520), Watts(180)};
  return truth;
}

/// Rows of our format with times from the forms, spread by `noise` (standard deviation of ln(time)), and the
/// draw of kernel_power.
class MadeMeasurements {
 public:
  MadeMeasurements(const Truth& truth, double noise, std::uint64_t seed = 7)
      : truth_(truth), noise_(noise), random_(seed) {}

  MeasurementSet all() {
    products();
    attention();
    memory();
    set_.launch.push_back(row<LaunchMeasurement>());
    set_.launch.back().mode = "eager";
    set_.launch.back().time = microseconds(4);
    set_.lines_of_gpu[truth_.device.name] = 1;
    return set_;
  }

  void products() {
    for (const std::int64_t m : {256, 512, 1024, 2048, 4096, 8192}) {
      for (const std::int64_t n : {512, 1536, 4096, 8192}) {
        for (const std::int64_t k : {512, 2048, 8192}) {
          auto made = row<GemmMeasurement>();
          made.shape.m = m;
          made.shape.n = n;
          made.shape.k = k;
          made.time = noisy(gemm_pieces(truth_.gemm, truth_.device, made.shape).total());
          set_power(made, made.shape, made.time);
          set_.gemm.push_back(made);
          if (m != 8192 || k != 8192) continue;
          made.campaign = Campaign::sustained;
          made.time = made.time / truth_.sustained;
          made.power.reset();
          set_.gemm.push_back(made);
        }
      }
    }
  }

  void attention() {
    for (const std::int64_t length : {1024, 2048, 4096, 8192, 16384}) {
      for (const std::int64_t heads : {4, 8, 16, 32}) {
        for (const AttentionPass pass : {AttentionPass::forward, AttentionPass::backward}) {
          auto made = row<AttentionMeasurement>();
          made.kernel = "cudnn";
          made.shape.seq_q = made.shape.seq_kv = length;
          made.shape.heads = made.shape.kv_heads = heads;
          made.shape.head_dim = made.shape.value_dim = 128;
          made.shape.pass = pass;
          made.time = noisy(attention_pieces(truth_.attention, truth_.device, made.shape).total());
          set_power(made, made.shape, made.time);
          set_.attention.push_back(made);
        }
      }
    }
  }

  void memory() {
    const std::pair<MemoryKind, const char*> kernels[] = {{MemoryKind::streaming, "swiglu"},
                                                          {MemoryKind::streaming, "residual_add"},
                                                          {MemoryKind::norm, "rmsnorm"},
                                                          {MemoryKind::permute, "permute"}};
    for (const auto& [kind, name] : kernels) {
      for (int octave = 20; octave <= 30; ++octave) {
        auto made = row<MemoryMeasurement>();
        made.name = name;
        made.shape.kind = kind;
        made.shape.traffic = Bytes(std::ldexp(1.0, octave));
        made.time = noisy(memory_time(truth_.memory, truth_.device, made.shape));
        set_power(made, made.shape, made.time);
        set_.memory.push_back(made);
      }
    }
  }

  const MeasurementSet& set() const { return set_; }

 private:
  template <typename Row>
  Row row() const {
    Row made;
    made.gpu = truth_.device.name;
    made.source = "made";
    made.states_conditions = true;
    return made;
  }

  Seconds noisy(Seconds time) { return time * std::exp(noise_ * normal_(random_)); }

  template <typename Row, typename Shape>
  void set_power(Row& made, const Shape& shape, Seconds time) const {
    Operator op;
    op.name = "made";
    op.shape = shape;
    made.power =
        kernel_power(truth_.power, truth_.device.board_power, utilisation_of(truth_.device, op, time));
  }

  const Truth& truth_;
  double noise_;
  std::mt19937_64 random_;
  std::normal_distribution<double> normal_;
  MeasurementSet set_;
};

}  // namespace orrery::test
