#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "calibration/kernels/fit_attention.hpp"
#include "calibration/kernels/kernel_rules.hpp"
#include "calibration/kernels/measurement_files.hpp"
#include "calibration/kernels/profile_library.hpp"
#include "calibration/kernels/profile_tables.hpp"
#include "sim/base/data_files.hpp"

namespace orrery {
namespace {

DeviceSpec made_device() {
  DeviceSpec device;
  device.name = "made";
  device.architecture = "hopper";
  device.sms = 132;
  device.memory_bandwidth = gigabytes_per_second(3000);
  device.peak[static_cast<size_t>(Precision::bf16)] = teraflops(1000);
  return device;
}

AttentionParameters truth() {
  AttentionParameters parameters;
  parameters.efficiency = 0.7;
  parameters.ramp = 800.0;
  parameters.full_ramp = 0.2;
  parameters.narrow = 0.5;
  parameters.tail = 0.3;
  parameters.backward = 0.8;
  parameters.memory = 0.8;
  parameters.launch = microseconds(4);
  return parameters;
}

std::vector<AttentionShape> shapes_of_training() {
  std::vector<AttentionShape> shapes;
  for (const std::int64_t length : {512, 1024, 2048, 4096, 8192}) {
    for (const std::int64_t batch : {1, 2, 8}) {
      for (const std::int64_t kv_heads : {2, 16}) {
        AttentionShape shape;
        shape.batch = batch;
        shape.seq_q = shape.seq_kv = length;
        shape.heads = 16;
        shape.kv_heads = kv_heads;
        shape.head_dim = shape.value_dim = 128;
        shapes.push_back(shape);
      }
    }
  }
  return shapes;
}

/// What is believed before the rows speak: off the truth by about as much as kernels differ.
AttentionParameters prior() {
  AttentionParameters parameters = truth();
  parameters.efficiency = 0.6;
  parameters.ramp = 1000.0;
  parameters.tail = 0.4;
  parameters.backward = 0.85;
  return parameters;
}

TEST(AttentionFit, TakesOffWhatAServingModuleDoesBesideTheKernel) {
  // 10 us, two passes over K and V, and 5 ns a position where no heads share them.
  const DeviceSpec device = made_device();
  std::vector<AttentionMeasurement> measurements;
  for (const AttentionShape& shape : shapes_of_training()) {
    AttentionMeasurement row;
    row.shape = shape;
    row.campaign = Campaign::burst;
    row.module_overhead = true;
    const double positions = static_cast<double>(shape.batch * shape.seq_kv);
    const double pass = positions * static_cast<double>(shape.kv_heads) * 256 * 2 / 3000e9;
    row.time = attention_pieces(truth(), device, shape).total() + microseconds(10) + Seconds(2 * pass) +
               Seconds(shape.kv_heads == 16 ? 5e-9 * positions : 0.0);
    measurements.push_back(row);
  }
  const AttentionRows rows = kernel_times(device, measurements, prior(), {});
  ASSERT_GT(rows.rows.size(), 20u);
  for (const MeasuredAttention& row : rows.rows) {
    EXPECT_NEAR(row.time / attention_pieces(truth(), device, row.shape).total(), 1.0, 0.05);
  }
  EXPECT_NE(rows.taken_off.find("passes over keys and values"), std::string::npos);
  const AttentionParameters found = fit_attention_parameters(device, rows.rows, prior(), {});
  EXPECT_NEAR(found.efficiency, 0.7, 0.02);
  // The ramp, the passes and the time a position all grow with the length: the priors share it out.
  EXPECT_NEAR(found.ramp, 800.0, 120.0);
}

TEST(AttentionFit, TakesTheHostsStartOffLoopsAndNothingOffOurOwnRows) {
  const DeviceSpec device = made_device();
  std::vector<AttentionMeasurement> measurements;
  for (AttentionShape shape : shapes_of_training()) {
    for (const AttentionPass pass : {AttentionPass::forward, AttentionPass::backward}) {
      AttentionMeasurement row;
      shape.pass = pass;
      row.shape = shape;
      row.campaign = Campaign::sustained;
      row.time = attention_pieces(truth(), device, shape).total() +
                 microseconds(pass == AttentionPass::forward ? 50 : 15);
      measurements.push_back(row);
    }
  }
  AttentionFreedom freedom;
  freedom.backward = true;
  for (const MeasuredAttention& row : kernel_times(device, measurements, prior(), freedom).rows) {
    EXPECT_NEAR(row.overhead.base(), row.shape.pass == AttentionPass::forward ? 50e-6 : 15e-6, 3e-6);
  }
  for (AttentionMeasurement& row : measurements) row.states_conditions = true;
  measurements.front().shape.window = 256;  // no table is fitted to windows
  const AttentionRows own = kernel_times(device, measurements, prior(), freedom);
  EXPECT_EQ(own.rows.size(), measurements.size() - 1);
  EXPECT_TRUE(own.taken_off.empty());
  for (const MeasuredAttention& row : own.rows) EXPECT_EQ(row.overhead, Seconds(0));
}

TEST(AttentionFit, LeavesOutLengthsOrHeadsWhereLengthsAreFew) {
  std::vector<MeasuredAttention> rows;
  for (const AttentionShape& shape : shapes_of_training()) rows.push_back({shape, Seconds(1), Seconds(0)});
  const std::vector<std::int64_t> lengths = attention_families(rows);
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(lengths[i], rows[i].shape.seq_q);
  std::erase_if(rows, [](const MeasuredAttention& row) { return row.shape.seq_q > 2048; });
  const std::vector<std::int64_t> heads = attention_families(rows);
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(heads[i], 16 * rows[i].shape.batch);
}

TEST(AttentionFit, HeadsThatNoRowHasTakeWhatTheRuleSays) {
  const DeviceSpec device = made_device();
  std::vector<AttentionMeasurement> measurements;
  for (const AttentionShape& shape : shapes_of_training()) {
    AttentionMeasurement row;
    row.gpu = "made";
    row.kernel = "cudnn";
    row.shape = shape;
    row.time = attention_pieces(truth(), device, shape).total();
    measurements.push_back(row);
  }
  KernelRules rules;
  const auto narrow = [&] {
    return fit_attention_table(device, AttentionKernel::cudnn, measurements, rules)
        .value()
        .fit.parameters.narrow;
  };
  EXPECT_EQ(narrow(), 0.5);
  AttentionTable rule;
  rule.gpu = "made";
  rule.tables = {"cudnn"};
  rule.narrow = 1.0;
  rules.attention_tables = {rule};
  EXPECT_EQ(narrow(), 1.0);
  // Rows of narrow heads say it themselves.
  for (size_t i = 0; i < measurements.size(); i += 2) {
    AttentionMeasurement& row = measurements[i];
    row.shape.head_dim = row.shape.value_dim = 64;
    row.time = attention_pieces(truth(), device, row.shape).total();
  }
  EXPECT_NEAR(narrow(), 0.5, 0.05);
}

/// The bound: forward times of whole lengths that the fit has not seen, table by table.
TEST(AttentionFit, PredictsUnseenLengthsOfEveryShippedTable) {
  const KernelRules rules = shipped_kernel_rules();
  const MeasurementSet measurements =
      read_measurements({(data_root() / "calibration/data/attention.jsonl").string()},
                        preset_names("topologies/presets/gpus"), rules);
  int tables = 0;
  for (const std::string& gpu : kernel_profile_names()) {
    const DeviceSpec device = load_profile_named(gpu).device;
    for (const AttentionKernel kernel :
         {AttentionKernel::flash1, AttentionKernel::flash2, AttentionKernel::flash3, AttentionKernel::flash4,
          AttentionKernel::cudnn}) {
      const auto table = fit_attention_table(device, kernel, measurements.attention, rules);
      if (!table) continue;
      ++tables;
      EXPECT_LE(table->forward.median, 0.06) << gpu << " " << name_of(kernel);
      EXPECT_LE(table->forward.p95, 0.20) << gpu << " " << name_of(kernel);
    }
  }
  EXPECT_EQ(tables, 9);  // a100 flash2 and (PCIe) cudnn, h100 three, h200, b200 two, gb200
}

}  // namespace
}  // namespace orrery
