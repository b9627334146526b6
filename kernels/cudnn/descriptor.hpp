#pragma once

#include <cudnn.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace orrery::kernels {

/// What cuDNN answered when it refused a call: the status, the call and its last error text.
class CudnnError : public std::runtime_error {
 public:
  CudnnError(cudnnStatus_t status, const std::string& call);
  cudnnStatus_t status() const { return status_; }

 private:
  cudnnStatus_t status_;
};

/// @throws CudnnError unless the status is success
void require_cudnn(cudnnStatus_t status, const std::string& call);

/// "9.19.0": the version of the library that is loaded, not of the header.
std::string cudnn_version_text();

/// One descriptor of cuDNN's backend API, destroyed with the object.
///
/// Every setter names the attribute in its error, so that a refusal says which property cuDNN did not take.
/// Lists are given as vectors; an empty list is not set at all (cuDNN takes no attribute of length zero).
class Descriptor {
 public:
  Descriptor(cudnnBackendDescriptorType_t type, const std::string& name);
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor();

  cudnnBackendDescriptor_t get() const { return descriptor_; }

  void set(cudnnBackendAttributeName_t attribute, std::int64_t value);
  void set(cudnnBackendAttributeName_t attribute, bool value);
  void set(cudnnBackendAttributeName_t attribute, cudnnDataType_t value);
  void set(cudnnBackendAttributeName_t attribute, cudnnPointwiseMode_t value);
  void set(cudnnBackendAttributeName_t attribute, cudnnReduceTensorOp_t value);
  void set(cudnnBackendAttributeName_t attribute, cudnnBackendHeurMode_t value);
  void set(cudnnBackendAttributeName_t attribute, cudnnHandle_t value);
  void set(cudnnBackendAttributeName_t attribute, const Descriptor& value);
  void set(cudnnBackendAttributeName_t attribute, const std::string& value);
  void set(cudnnBackendAttributeName_t attribute, const std::vector<std::int64_t>& values);
  void set_descriptors(cudnnBackendAttributeName_t attribute,
                       const std::vector<cudnnBackendDescriptor_t>& values);
  void set_pointers(cudnnBackendAttributeName_t attribute, const std::vector<void*>& values);

  std::int64_t integer(cudnnBackendAttributeName_t attribute) const;

  /// Descriptors that cuDNN makes (engine configurations of a heuristic), at most `limit`, in its order.
  std::vector<Descriptor> descriptors(cudnnBackendAttributeName_t attribute,
                                      cudnnBackendDescriptorType_t type, std::int64_t limit) const;

  void finalize();
  /// As finalize(), but gives the status back: a plan that an engine does not support is no error yet.
  cudnnStatus_t try_finalize();

 private:
  void set_raw(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type, std::int64_t count,
               const void* values);

  cudnnBackendDescriptor_t descriptor_ = nullptr;
  std::string name_;
};

}  // namespace orrery::kernels
