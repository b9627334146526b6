// Copies: inside the device's memory, between pinned host memory and the device in both directions, and
// between two GPUs. `bytes` is what one copy moves; inside the device each byte is read and written.
// Reference: the bytes that arrive are those that were sent.
#include <cstring>
#include <optional>

#include "kernels/harness/device_data.hpp"
#include "kernels/harness/program.hpp"

namespace orrery::kernels {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

/// A second GPU that the first can reach directly, or nothing.
std::optional<int> peer_of(int device) {
  for (int other = 0; other < device_count(); ++other) {
    int reachable = 0;
    if (other == device) continue;
    cuda_check(cudaDeviceCanAccessPeer(&reachable, device, other));
    if (reachable != 0) return other;
  }
  return std::nullopt;
}

class Copy : public Program {
 public:
  std::string name() const override { return "copy"; }
  std::string summary() const override {
    return "times copies inside the GPU, from and to the host, and to a peer";
  }

  void check(Session& session) override {
    constexpr std::size_t kBytes = 5 * kMiB + 12;  // no multiple of a page or of a vector
    Buffers buffers(session, kBytes);
    for (const std::string& direction : directions(session)) {
      cuda_check(cudaMemset(buffers.target(direction), 0, kBytes));
      settle();
      enqueue(direction, buffers, kBytes, session.stream());
      cuda_check(cudaStreamSynchronize(session.stream()));
      std::vector<std::byte> sent(kBytes), arrived(kBytes);
      cuda_check(cudaMemcpy(sent.data(), buffers.source(direction), kBytes, cudaMemcpyDefault));
      cuda_check(cudaMemcpy(arrived.data(), buffers.target(direction), kBytes, cudaMemcpyDefault));
      if (sent != arrived) throw CheckFailed(direction + " copy: other bytes arrived than were sent");
    }
  }

  void measure(Session& session) override {
    const std::vector<std::size_t> sizes = {4096,      65536,     kMiB,       4 * kMiB,
                                            16 * kMiB, 64 * kMiB, 256 * kMiB, 1024 * kMiB};
    const auto all = directions(session);
    std::size_t remaining = sizes.size() * all.size();
    Buffers buffers(session, session.options().quick ? 64 * kMiB : sizes.back());
    for (const std::string& direction : all) {
      for (const std::size_t bytes : sizes) {
        if (!session.time_left()) return session.say("the budget is used up");
        if (bytes <= buffers.bytes) measure_one(session, direction, buffers, bytes, remaining);
        --remaining;
      }
    }
  }

 private:
  struct Buffers {
    Buffers(Session& session, std::size_t size)
        : bytes(size), host(size), first(size), second(size), peer_index(peer_of(session.device().index)) {
      // Random bytes, so that no link or memory compresses them.
      const std::uint64_t seed = session.seed();
      fill_bytes(first.as<std::uint8_t>(), bytes, seed, 0, 255, session.stream());
      fill_bytes(second.as<std::uint8_t>(), bytes, seed + 1, 0, 255, session.stream());
      cuda_check(cudaStreamSynchronize(session.stream()));
      cuda_check(cudaMemcpy(host.data(), second.data(), bytes, cudaMemcpyDeviceToHost));
      if (!peer_index) return;
      const cudaError_t enabled = cudaDeviceEnablePeerAccess(*peer_index, 0);
      if (enabled == cudaErrorPeerAccessAlreadyEnabled) {
        cudaGetLastError();  // a second Buffers of this process: nothing is wrong
      } else {
        cuda_check(enabled);
      }
      cuda_check(cudaSetDevice(*peer_index));
      peer = DeviceBuffer(bytes);
      cuda_check(cudaSetDevice(session.device().index));
    }
    void* source(const std::string& direction) const {
      return direction == "host_to_device" ? host.data() : first.data();
    }
    void* target(const std::string& direction) const {
      if (direction == "device_to_host") return host.data();
      return direction == "peer" ? peer.data() : second.data();
    }
    std::size_t bytes;
    PinnedBuffer host;
    DeviceBuffer first, second, peer;
    std::optional<int> peer_index;
  };

  static std::vector<std::string> directions(const Session& session) {
    std::vector<std::string> names = {"device", "host_to_device", "device_to_host"};
    if (peer_of(session.device().index)) names.emplace_back("peer");
    return names;
  }

  static void enqueue(const std::string& direction, const Buffers& buffers, std::size_t bytes,
                      cudaStream_t stream) {
    cuda_check(cudaMemcpyAsync(buffers.target(direction), buffers.source(direction), bytes, cudaMemcpyDefault,
                               stream));
  }

  static void measure_one(Session& session, const std::string& direction, const Buffers& buffers,
                          std::size_t bytes, std::size_t remaining) {
    const Measured measured =
        session.measure([&](cudaStream_t stream, int) { enqueue(direction, buffers, bytes, stream); },
                        session.timing(remaining));
    Record record = session.record("copy");
    record.set("direction", direction).set("bytes", bytes);
    const auto moved = static_cast<double>(bytes);
    Ceiling ceiling{moved, std::nullopt, false};  // the driver does not tell the rate of PCIe or NVLink
    if (direction == "device") ceiling = bytes_ceiling(session.device(), 2 * moved);
    session.write(std::move(record), direction + " " + bytes_text(moved), measured,
                  {"kernels/copy: cudaMemcpyAsync, pinned host memory",
                   "CUDA runtime " + session.device().cuda, "burst", ceiling});
  }
};

}  // namespace
}  // namespace orrery::kernels

int main(int argc, char** argv) {
  orrery::kernels::Copy program;
  return orrery::kernels::run_program(program, argc, argv);
}
