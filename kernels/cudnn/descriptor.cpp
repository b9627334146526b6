#include "kernels/cudnn/descriptor.hpp"

#include <array>
#include <utility>

namespace orrery::kernels {

namespace {

constexpr std::size_t kLongestAnswer = 300;

std::string answer(cudnnStatus_t status, const std::string& call) {
  std::array<char, 2048> last{};
  cudnnGetLastErrorString(last.data(), last.size());
  std::string text =
      "cuDNN " + cudnn_version_text() + " answered " + cudnnGetErrorString(status) + " to " + call;
  // The library's text is a trace of its own source lines: the first ones say why.
  if (last.front() != '\0') text += ": " + std::string(last.data()).substr(0, kLongestAnswer);
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  return text;
}

}  // namespace

CudnnError::CudnnError(cudnnStatus_t status, const std::string& call)
    : std::runtime_error(answer(status, call)), status_(status) {}

void require_cudnn(cudnnStatus_t status, const std::string& call) {
  if (status != CUDNN_STATUS_SUCCESS) throw CudnnError(status, call);
}

std::string cudnn_version_text() {
  const auto version =
      static_cast<unsigned long long>(cudnnGetVersion());  // major * 10000 + minor * 100 + patch
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

Descriptor::Descriptor(cudnnBackendDescriptorType_t type, const std::string& name) : name_(name) {
  require_cudnn(cudnnBackendCreateDescriptor(type, &descriptor_), "create " + name);
}

Descriptor::Descriptor(Descriptor&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, nullptr)), name_(std::move(other.name_)) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(name_, other.name_);
  return *this;
}

Descriptor::~Descriptor() {
  if (descriptor_ != nullptr) cudnnBackendDestroyDescriptor(descriptor_);
}

void Descriptor::set_raw(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type,
                         std::int64_t count, const void* values) {
  const cudnnStatus_t status = cudnnBackendSetAttribute(descriptor_, attribute, type, count, values);
  if (status == CUDNN_STATUS_SUCCESS) return;  // the text below costs more than the call
  throw CudnnError(status, "attribute " + std::to_string(attribute) + " of " + name_);
}

void Descriptor::set(cudnnBackendAttributeName_t attribute, std::int64_t value) {
  set_raw(attribute, CUDNN_TYPE_INT64, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t attribute, bool value) {
  set_raw(attribute, CUDNN_TYPE_BOOLEAN, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t attribute, cudnnDataType_t value) {
  set_raw(attribute, CUDNN_TYPE_DATA_TYPE, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t attribute, cudnnPointwiseMode_t value) {
  set_raw(attribute, CUDNN_TYPE_POINTWISE_MODE, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t attribute, cudnnReduceTensorOp_t value) {
  set_raw(attribute, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t attribute, cudnnBackendHeurMode_t value) {
  set_raw(attribute, CUDNN_TYPE_HEUR_MODE, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t attribute, cudnnHandle_t value) {
  set_raw(attribute, CUDNN_TYPE_HANDLE, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t attribute, const Descriptor& value) {
  set_raw(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.descriptor_);
}
void Descriptor::set(cudnnBackendAttributeName_t attribute, const std::string& value) {
  set_raw(attribute, CUDNN_TYPE_CHAR, static_cast<std::int64_t>(value.size()), value.data());
}
void Descriptor::set(cudnnBackendAttributeName_t attribute, const std::vector<std::int64_t>& values) {
  if (values.empty()) return;
  set_raw(attribute, CUDNN_TYPE_INT64, static_cast<std::int64_t>(values.size()), values.data());
}
void Descriptor::set_descriptors(cudnnBackendAttributeName_t attribute,
                                 const std::vector<cudnnBackendDescriptor_t>& values) {
  if (values.empty()) return;
  set_raw(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<std::int64_t>(values.size()), values.data());
}
void Descriptor::set_pointers(cudnnBackendAttributeName_t attribute, const std::vector<void*>& values) {
  if (values.empty()) return;
  set_raw(attribute, CUDNN_TYPE_VOID_PTR, static_cast<std::int64_t>(values.size()), values.data());
}

std::int64_t Descriptor::integer(cudnnBackendAttributeName_t attribute) const {
  std::int64_t value = 0;
  std::int64_t count = 0;
  require_cudnn(cudnnBackendGetAttribute(descriptor_, attribute, CUDNN_TYPE_INT64, 1, &count, &value),
                "read attribute " + std::to_string(attribute) + " of " + name_);
  return value;
}

std::vector<Descriptor> Descriptor::descriptors(cudnnBackendAttributeName_t attribute,
                                                cudnnBackendDescriptorType_t type, std::int64_t limit) const {
  std::int64_t available = 0;
  const std::string call = "read attribute " + std::to_string(attribute) + " of " + name_;
  require_cudnn(
      cudnnBackendGetAttribute(descriptor_, attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &available, nullptr),
      call);
  const std::int64_t asked = available < limit ? available : limit;
  std::vector<Descriptor> found;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (std::int64_t i = 0; i < asked; ++i) {
    found.emplace_back(type, name_ + " result " + std::to_string(i));
    raw.push_back(found.back().get());
  }
  if (found.empty()) return found;
  std::int64_t returned = 0;
  require_cudnn(cudnnBackendGetAttribute(descriptor_, attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, asked,
                                         &returned, raw.data()),
                call);
  found.erase(found.begin() + (returned < asked ? returned : asked), found.end());
  return found;
}

void Descriptor::finalize() { require_cudnn(cudnnBackendFinalize(descriptor_), "finalize " + name_); }

cudnnStatus_t Descriptor::try_finalize() { return cudnnBackendFinalize(descriptor_); }

}  // namespace orrery::kernels
