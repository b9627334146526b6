#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <source_location>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace orrery::kernels {

/// A call of CUDA or of one of its libraries failed. The message names the place in our code.
struct DeviceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] inline void fail_call(const std::string& what, const std::source_location& place) {
  const std::string path = place.file_name();
  throw DeviceError(path.substr(path.rfind('/') + 1) + ":" + std::to_string(place.line()) + ": " + what);
}

inline void cuda_check(cudaError_t status,
                       const std::source_location& place = std::source_location::current()) {
  if (status != cudaSuccess) fail_call(std::string("CUDA: ") + cudaGetErrorString(status), place);
}

/// Call it after a kernel launch: <<<>>> reports a bad configuration only here.
inline void launch_check(const std::source_location& place = std::source_location::current()) {
  cuda_check(cudaGetLastError(), place);
}

/// Waits for everything on the current device. Call it between a plain cudaMemcpy or cudaMemset and work on a
/// Stream: those use the default stream, for which our streams do not wait, and may return before they are
/// done.
inline void settle(const std::source_location& place = std::source_location::current()) {
  cuda_check(cudaDeviceSynchronize(), place);
}

/// Device memory of the current device, aligned to 256 bytes; freed at the end of its life.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(std::size_t bytes) : bytes_(bytes) {
    if (bytes > 0) cuda_check(cudaMalloc(&data_, bytes));
  }
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  ~DeviceBuffer() { cudaFree(data_); }

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  /// The address `offset` bytes in.
  std::byte* at(std::size_t offset) const { return static_cast<std::byte*>(data_) + offset; }
  /// Waits for the whole device, then copies all bytes to the host.
  std::vector<std::byte> to_host() const {
    std::vector<std::byte> host(bytes_);
    cuda_check(cudaDeviceSynchronize());
    if (bytes_ > 0) cuda_check(cudaMemcpy(host.data(), data_, bytes_, cudaMemcpyDeviceToHost));
    return host;
  }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Page-locked host memory.
class PinnedBuffer {
 public:
  explicit PinnedBuffer(std::size_t bytes) : bytes_(bytes) { cuda_check(cudaMallocHost(&data_, bytes)); }
  PinnedBuffer(const PinnedBuffer&) = delete;
  PinnedBuffer& operator=(const PinnedBuffer&) = delete;
  ~PinnedBuffer() { cudaFreeHost(data_); }
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// A stream that does not wait for the default one.
class Stream {
 public:
  Stream() { cuda_check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  /// @param priority  as cudaDeviceGetStreamPriorityRange gives them: lower numbers go first
  explicit Stream(int priority) {
    cuda_check(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, priority));
  }
  Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() {
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }
  cudaStream_t get() const { return stream_; }
  void wait() const { cuda_check(cudaStreamSynchronize(stream_)); }

 private:
  cudaStream_t stream_ = nullptr;
};

/// An event that keeps its time.
class Event {
 public:
  Event() { cuda_check(cudaEventCreate(&event_)); }
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() {
    if (event_ != nullptr) cudaEventDestroy(event_);
  }
  cudaEvent_t get() const { return event_; }
  void record(cudaStream_t stream) const { cuda_check(cudaEventRecord(event_, stream)); }
  void wait() const { cuda_check(cudaEventSynchronize(event_)); }
  /// Seconds on the GPU from an earlier event to this one; both must have happened.
  double seconds_since(const Event& earlier) const {
    float milliseconds = 0.0F;
    cuda_check(cudaEventElapsedTime(&milliseconds, earlier.event_, event_));
    return static_cast<double>(milliseconds) * 1e-3;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/// What `enqueue(stream)` puts on a stream, captured once and launched as one CUDA graph.
class Graph {
 public:
  template <typename Enqueue>
  Graph(cudaStream_t stream, Enqueue&& enqueue) {
    cuda_check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    cudaGraph_t graph = nullptr;
    try {
      enqueue(stream);
    } catch (...) {
      cudaStreamEndCapture(stream, &graph);  // leave the stream usable; the first error is the one to report
      if (graph != nullptr) cudaGraphDestroy(graph);
      throw;
    }
    cuda_check(cudaStreamEndCapture(stream, &graph));
    const cudaError_t status = cudaGraphInstantiateWithFlags(&graph_, graph, 0);
    cudaGraphDestroy(graph);
    cuda_check(status);
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  ~Graph() {
    if (graph_ != nullptr) cudaGraphExecDestroy(graph_);
  }
  void launch(cudaStream_t stream) const { cuda_check(cudaGraphLaunch(graph_, stream)); }

 private:
  cudaGraphExec_t graph_ = nullptr;
};

}  // namespace orrery::kernels
