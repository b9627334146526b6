#include "kernels/products/kernel_name.hpp"

#ifdef ORRERY_HAS_CUPTI
#include <cupti.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <vector>
#endif

namespace orrery::kernels {

#ifdef ORRERY_HAS_CUPTI
namespace {

#if CUPTI_API_VERSION >= 130000
using KernelActivity = CUpti_ActivityKernel10;
#else
using KernelActivity = CUpti_ActivityKernel9;
#endif

constexpr std::size_t kBufferBytes = std::size_t{256} << 10;

/// CUPTI hands its buffers back from a thread of its own.
struct Collected {
  std::mutex mutex;
  std::vector<std::string> names;
};
Collected& collected() {
  static Collected instance;
  return instance;
}

void CUPTIAPI give_buffer(std::uint8_t** buffer, std::size_t* size, std::size_t* most_records) {
  *buffer = static_cast<std::uint8_t*>(std::aligned_alloc(8, kBufferBytes));
  *size = *buffer == nullptr ? 0 : kBufferBytes;
  *most_records = 0;  // as many as fit
}

void CUPTIAPI take_buffer(CUcontext, std::uint32_t, std::uint8_t* buffer, std::size_t, std::size_t valid) {
  CUpti_Activity* record = nullptr;
  while (valid > 0 && cuptiActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS) {
    if (record->kind != CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) continue;
    const auto* kernel = reinterpret_cast<const KernelActivity*>(record);
    const std::lock_guard<std::mutex> lock(collected().mutex);
    collected().names.emplace_back(kernel->name == nullptr ? "" : kernel->name);
  }
  std::free(buffer);
}

bool succeeded(CUptiResult status, const char* call) {
  if (status == CUPTI_SUCCESS) return true;
  const char* text = nullptr;
  cuptiGetResultString(status, &text);
  std::fprintf(stderr, "no kernel_name in the lines: %s: %s\n", call, text == nullptr ? "unknown" : text);
  return false;
}

}  // namespace

std::optional<std::string> kernel_names(const std::function<void()>& work) {
  static bool usable =
      succeeded(cuptiActivityRegisterCallbacks(give_buffer, take_buffer), "cuptiActivityRegisterCallbacks");
  if (!usable) return std::nullopt;
  usable = succeeded(cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL), "cuptiActivityEnable");
  if (!usable) return std::nullopt;
  {
    const std::lock_guard<std::mutex> lock(collected().mutex);
    collected().names.clear();
  }
  work();
  usable = succeeded(cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED), "cuptiActivityFlushAll");
  cuptiActivityDisable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
  const std::lock_guard<std::mutex> lock(collected().mutex);
  std::string joined;
  for (const std::string& name : collected().names) joined += (joined.empty() ? "" : " + ") + name;
  if (!usable || joined.empty()) return std::nullopt;
  return joined;
}
#else
std::optional<std::string> kernel_names(const std::function<void()>& work) {
  static_cast<void>(work);
  return std::nullopt;
}
#endif

}  // namespace orrery::kernels
