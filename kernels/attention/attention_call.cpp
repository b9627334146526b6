#include "kernels/attention/attention_call.hpp"

#include <cmath>
#include <utility>
#include <vector>

#include "kernels/harness/device_data.hpp"
#include "kernels/harness/reference.hpp"

namespace orrery::kernels {

namespace {

constexpr std::size_t kZeroesAccumulator =
    90600;  // versions from here on clear the accumulator of dQ themselves

DeviceBuffer elements(Element element, std::int64_t count) {
  return DeviceBuffer(bytes_of(element, static_cast<std::size_t>(count)));
}

DeviceBuffer random_elements(Element element, std::int64_t count, std::uint64_t seed, cudaStream_t stream) {
  DeviceBuffer made = elements(element, count);
  fill_normal(made.data(), element, static_cast<std::size_t>(count), seed, stream);
  return made;
}

/// Round-offs of the 16-bit format in the array's root mean square that single elements may differ by.
/// Probabilities and their gradients are rounded before the second product: each output is a sum with
/// independent errors of about a third of a round-off of its size; sixteen is many standard deviations, and a
/// wrong mask, scale or head is wrong by a hundred and more.
constexpr double kRoundOffs = 16.0;

void compare(const std::string& what, const DeviceBuffer& actual, Element element,
             const DeviceBuffer& expected) {
  const std::size_t count = expected.bytes() / sizeof(float);
  const std::vector<double> wanted = host_values(expected.data(), Element::fp32, count);
  double square = 0.0;
  for (const double value : wanted) square += value * value;
  const double size = std::sqrt(square / static_cast<double>(count));
  require_close(what, host_values(actual.data(), element, count), wanted,
                {kRoundOffs * round_off(element) * size, 4.0 * round_off(element)});
}

}  // namespace

std::string known_fault(const AttentionCase& shape, std::size_t cudnn_version) {
  if (cudnn_version == 91000 || cudnn_version == 91001)
    return "16-bit attention has known faults in cuDNN 9.10.0 and 9.10.1";
  if (shape.backward && shape.seq_length % 128 != 0 && cudnn_version <= 91500) {
    return "the backward needs cuDNN above 9.15 for lengths that are no multiple of 128";
  }
  return {};
}

AttentionCall::AttentionCall(const CudnnHandle& handle, const AttentionCase& shape, AttentionLayout layout,
                             std::uint64_t seed, cudaStream_t stream)
    : handle_(handle), shape_(shape), layout_(layout), seed_(seed) {
  shape_.backward = false;
  const AttentionSizes n = attention_sizes(shape);
  handle_.use(stream);
  q_ = random_elements(shape.element, n.q, seed, stream);
  k_ = random_elements(shape.element, n.k, seed + 1, stream);
  v_ = random_elements(shape.element, n.v, seed + 2, stream);
  o_ = elements(shape.element, n.o);
  statistics_ = elements(Element::fp32, n.rows);
  make_forward();
  if (shape.backward) become_backward(stream);
}

void AttentionCall::become_backward(cudaStream_t stream) {
  const AttentionSizes n = attention_sizes(shape_);
  launch(stream);
  cuda_check(cudaStreamSynchronize(stream));  // before the forward's workspace and plan go
  output_gradient_ = random_elements(shape_.element, n.o, seed_ + 3, stream);
  q_gradient_ = elements(shape_.element, n.q);
  k_gradient_ = elements(shape_.element, n.k);
  v_gradient_ = elements(shape_.element, n.v);
  row_sums_ = elements(Element::fp32, n.rows);
  q_accumulator_ = elements(Element::fp32, n.q);
  make_backward();
  shape_.backward = true;
}

void AttentionCall::make_forward() {
  AttentionGraph made = attention_forward_graph(shape_, layout_);
  plan_.emplace(std::move(made.graph), DeviceTarget::of(handle_.get()));
  workspace_ = DeviceBuffer(plan_->workspace_bytes());
  plan_->bind({{made.q, q_.data()},
               {made.k, k_.data()},
               {made.v, v_.data()},
               {made.o, o_.data()},
               {made.statistics, statistics_.data()}},
              workspace_.data());
}

void AttentionCall::make_backward() {
  AttentionGraph made = attention_backward_graph(shape_, layout_);
  plan_.emplace(std::move(made.graph), DeviceTarget::of(handle_.get()));
  workspace_ = DeviceBuffer(plan_->workspace_bytes());
  plan_->bind({{made.q, q_.data()},
               {made.k, k_.data()},
               {made.v, v_.data()},
               {made.o, o_.data()},
               {made.statistics, statistics_.data()},
               {made.output_gradient, output_gradient_.data()},
               {made.q_gradient, q_gradient_.data()},
               {made.k_gradient, k_gradient_.data()},
               {made.v_gradient, v_gradient_.data()},
               {made.row_sums, row_sums_.data()},
               {made.q_accumulator, q_accumulator_.data()}},
              workspace_.data());
}

void AttentionCall::launch(cudaStream_t stream) {
  handle_.use(stream);
  if (q_accumulator_.bytes() > 0 && cudnnGetVersion() < kZeroesAccumulator) {
    cuda_check(cudaMemsetAsync(q_accumulator_.data(), 0, q_accumulator_.bytes(), stream));
  }
  plan_->execute(handle_.get());
}

void AttentionCall::check(cudaStream_t stream) {
  launch(stream);
  const AttentionReference reference(shape_);
  run_attention_reference(shape_, layout_, {q_.data(), k_.data(), v_.data(), output_gradient_.data()},
                          reference, stream);
  cuda_check(cudaStreamSynchronize(stream));
  compare("O", o_, shape_.element, reference.o);
  const auto rows = static_cast<std::size_t>(attention_sizes(shape_).rows);
  // fp32 on both sides; scores of size 1 whose fp32 sums and exponentials differ in order and form.
  require_close("statistics", host_values(statistics_.data(), Element::fp32, rows),
                host_values(reference.statistics.data(), Element::fp32, rows), {1e-3, 1e-4});
  if (!shape_.backward) return;
  compare("dQ", q_gradient_, shape_.element, reference.q_gradient);
  compare("dK", k_gradient_, shape_.element, reference.k_gradient);
  compare("dV", v_gradient_, shape_.element, reference.v_gradient);
}

}  // namespace orrery::kernels
