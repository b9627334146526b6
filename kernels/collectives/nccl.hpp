#pragma once

#include <nccl.h>

#include <source_location>
#include <string>

#include "kernels/harness/cuda.hpp"

namespace orrery::kernels {

inline void nccl_check(ncclResult_t status,
                       const std::source_location& place = std::source_location::current()) {
  if (status != ncclSuccess) {
    fail_call(std::string("NCCL: ") + ncclGetErrorString(status) + ": " + ncclGetLastError(nullptr), place);
  }
}

/// "NCCL 2.28.9": of the library that is loaded. Its number is 22809.
inline std::string nccl_version() {
  int version = 0;
  nccl_check(ncclGetVersion(&version));
  return "NCCL " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

}  // namespace orrery::kernels
