#pragma once

#include <gtest/gtest.h>

#include "sim/base/json_reader.hpp"

namespace orrery::test {

/// Expects every key that the contract gives a prediction (section 3.1).
inline void expect_prediction_keys(const Json& prediction) {
  for (const char* key : {"schema",
                          "name",
                          "engine",
                          "scope",
                          "tier",
                          "contended",
                          "gpus",
                          "step_time_s",
                          "step_time_interval_s",
                          "samples_per_s",
                          "tokens_per_s",
                          "tokens_per_s_per_gpu",
                          "model_flops_per_step",
                          "hardware_flops_per_step",
                          "model_tflops_per_gpu",
                          "hardware_tflops_per_gpu",
                          "mfu",
                          "hfu",
                          "breakdown_s",
                          "breakdown_evidence",
                          "communication",
                          "memory",
                          "plan",
                          "calibration",
                          "evidence",
                          "warnings",
                          "experiment",
                          "origins",
                          "run"}) {
    EXPECT_TRUE(prediction.contains(key)) << key;
  }
  for (const char* key : {"capacity_bytes", "peak_bytes", "fits", "parameters_bytes", "gradients_bytes",
                          "optimizer_bytes", "activations_bytes", "buffers_bytes", "per_stage_peak_bytes"}) {
    EXPECT_TRUE(prediction["memory"].contains(key)) << key;
  }
  EXPECT_EQ(prediction["schema"], "orrery.prediction/1");
}

}  // namespace orrery::test
