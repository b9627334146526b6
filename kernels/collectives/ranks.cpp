#include "kernels/collectives/ranks.hpp"

#include <algorithm>
#include <barrier>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "kernels/collectives/columns.hpp"
#include "kernels/harness/board.hpp"
#include "kernels/harness/device_data.hpp"
#include "kernels/harness/random.hpp"
#include "kernels/harness/reference.hpp"

namespace orrery::kernels {

/// Made and freed with its GPU current.
struct Ranks::Rank {
  Rank(int rank, std::size_t bytes) : index(rank), send(bytes), receive(bytes) {}
  int index;
  Stream stream;
  DeviceBuffer send, receive;
  ncclComm_t communicator = nullptr;
};

namespace {

constexpr std::uint32_t kValues = 256;  // sums of up to 65,536 ranks stay below 2^24

/// What rank `rank` sends as element `element` in the check.
float value_of(std::uint64_t seed, int rank, std::size_t element) {
  return static_cast<float>(integer_at(seed + static_cast<std::uint64_t>(rank), element, kValues));
}

}  // namespace

template <typename Work>
void Ranks::on_all(Work&& work) {
  std::vector<std::thread> threads;
  for (const auto& rank : ranks_) {
    threads.emplace_back([&work, &rank] {
      try {
        cuda_check(cudaSetDevice(rank->index));
        work(*rank);
      } catch (const std::exception& error) {
        std::fprintf(stderr, "collectives: rank %d: %s\n", rank->index, error.what());
        std::_Exit(1);  // the other ranks wait for this one for ever; finished lines are on disk
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

Ranks::Ranks(int count, std::size_t bytes, std::uint64_t seed) {
  std::vector<int> devices;
  for (int index = 0; index < count; ++index) {
    cuda_check(cudaSetDevice(index));
    ranks_.push_back(std::make_unique<Rank>(index, bytes));
    devices.push_back(index);
  }
  std::vector<ncclComm_t> communicators(devices.size());
  nccl_check(ncclCommInitAll(communicators.data(), count, devices.data()));
  for (std::size_t i = 0; i < communicators.size(); ++i) ranks_[i]->communicator = communicators[i];
  fill(seed);
}

Ranks::~Ranks() {
  for (const auto& rank : ranks_) {
    cudaSetDevice(rank->index);
    ncclCommDestroy(rank->communicator);
  }
}

void Ranks::fill(std::uint64_t seed) {
  on_all([&](Rank& rank) {
    const auto key = seed + static_cast<std::uint64_t>(rank.index);
    fill_normal(rank.send.data(), Element::fp32, rank.send.bytes() / 4, key, rank.stream.get());
    fill_normal(rank.receive.data(), Element::fp32, rank.receive.bytes() / 4, key, rank.stream.get());
    rank.stream.wait();
  });
}

void Ranks::enqueue(const CollectiveCall& call, Rank& rank) const {
  const std::size_t count = call.elements;
  const auto ranks = static_cast<std::size_t>(this->count()), own = static_cast<std::size_t>(rank.index);
  auto* send = rank.send.as<float>();
  auto* receive = rank.receive.as<float>();
  const auto communicator = rank.communicator;
  const auto stream = rank.stream.get();
  // In place: one buffer; a rank's own part lies where it belongs in the whole.
  if (call.op == "all_reduce") {
    nccl_check(ncclAllReduce(call.in_place ? receive : send, receive, count, ncclFloat, ncclSum, communicator,
                             stream));
  } else if (call.op == "reduce_scatter") {
    nccl_check(ncclReduceScatter(send, call.in_place ? send + own * count : receive, count, ncclFloat,
                                 ncclSum, communicator, stream));
  } else if (call.op == "all_gather") {
    nccl_check(ncclAllGather(call.in_place ? receive + own * count : send, receive, count, ncclFloat,
                             communicator, stream));
  } else if (call.op == "broadcast") {
    nccl_check(
        ncclBroadcast(call.in_place ? receive : send, receive, count, ncclFloat, 0, communicator, stream));
  } else {
    nccl_check(ncclGroupStart());
    if (call.op == "all_to_all") {
      for (std::size_t peer = 0; peer < ranks; ++peer) {
        const int to = static_cast<int>(peer);
        nccl_check(ncclSend(send + peer * count, count, ncclFloat, to, communicator, stream));
        nccl_check(ncclRecv(receive + peer * count, count, ncclFloat, to, communicator, stream));
      }
    } else {  // send_recv: to the next rank, from the one before
      const int next = static_cast<int>((own + 1) % ranks),
                before = static_cast<int>((own + ranks - 1) % ranks);
      nccl_check(ncclSend(send, count, ncclFloat, next, communicator, stream));
      nccl_check(ncclRecv(receive, count, ncclFloat, before, communicator, stream));
    }
    nccl_check(ncclGroupEnd());
  }
}

std::vector<double> Ranks::time(const CollectiveCall& call, int launches, int samples) {
  const auto sample_count = static_cast<std::size_t>(samples);
  std::vector<std::vector<double>> times(ranks_.size(), std::vector<double>(sample_count));
  std::barrier start(static_cast<std::ptrdiff_t>(ranks_.size()));
  on_all([&](Rank& rank) {
    for (int i = 0; i < 2; ++i) enqueue(call, rank);
    rank.stream.wait();
    for (std::size_t sample = 0; sample < sample_count; ++sample) {
      start.arrive_and_wait();
      const double begin = steady_seconds();
      for (int i = 0; i < launches; ++i) enqueue(call, rank);
      rank.stream.wait();
      times[static_cast<std::size_t>(rank.index)][sample] = (steady_seconds() - begin) / launches;
    }
  });
  std::vector<double> slowest(sample_count, 0.0);
  for (const auto& rank : times)
    for (std::size_t sample = 0; sample < sample_count; ++sample)
      slowest[sample] = std::max(slowest[sample], rank[sample]);
  return slowest;
}

void Ranks::check(const CollectiveCall& call, std::uint64_t seed) {
  const std::size_t count = call.elements;
  const int ranks = this->count();
  const auto parts = static_cast<std::size_t>(splits_buffer(call.op) ? ranks : 1);
  const bool gathers = call.op == "all_gather";
  const std::size_t sent = gathers ? count : count * parts;
  const std::size_t received = call.op == "reduce_scatter" ? count : count * parts;
  on_all([&](Rank& rank) {
    std::vector<float> values(sent);
    for (std::size_t i = 0; i < sent; ++i) values[i] = value_of(seed, rank.index, i);
    cuda_check(cudaMemset(rank.receive.data(), 0xff, received * 4));  // NaN: what is not written shows
    float* place = rank.send.as<float>();
    if (call.in_place && call.op != "reduce_scatter") place = rank.receive.as<float>();
    if (call.in_place && gathers) place += static_cast<std::size_t>(rank.index) * count;
    cuda_check(cudaMemcpy(place, values.data(), sent * 4, cudaMemcpyHostToDevice));
    settle();
    enqueue(call, rank);
    rank.stream.wait();
  });
  for (const auto& rank : ranks_) {
    const auto own = static_cast<std::size_t>(rank->index);
    cuda_check(cudaSetDevice(rank->index));
    const float* result = rank->receive.as<float>();
    if (call.in_place && call.op == "reduce_scatter") result = rank->send.as<float>() + own * count;
    const std::vector<double> actual = host_values(result, Element::fp32, received);
    std::vector<double> expected(received, 0.0);
    for (std::size_t i = 0; i < received; ++i) {
      if (call.op == "all_reduce" || call.op == "reduce_scatter") {
        const std::size_t element = call.op == "all_reduce" ? i : own * count + i;
        for (int from = 0; from < ranks; ++from)
          expected[i] += static_cast<double>(value_of(seed, from, element));
      } else if (call.op == "broadcast") {
        expected[i] = static_cast<double>(value_of(seed, 0, i));
      } else if (call.op == "send_recv") {
        expected[i] = static_cast<double>(value_of(seed, (rank->index + ranks - 1) % ranks, i));
      } else {
        const std::size_t element = gathers ? i % count : own * count + i % count;
        expected[i] = static_cast<double>(value_of(seed, static_cast<int>(i / count), element));
      }
    }
    require_close(call.op + (call.in_place ? " in place" : "") + " of " + std::to_string(count) +
                      " elements, rank " + std::to_string(rank->index),
                  actual, expected, {});
  }
}

}  // namespace orrery::kernels
