#pragma once

#include <cublasLt.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/harness/cuda.hpp"
#include "kernels/harness/element.hpp"
#include "kernels/harness/program.hpp"
#include "kernels/harness/reference.hpp"
#include "kernels/products/gemm_case.hpp"

namespace orrery::kernels {

/// A cuBLASLt handle and the workspace that its algorithms may use.
class MatmulLibrary {
 public:
  MatmulLibrary();
  ~MatmulLibrary();
  MatmulLibrary(const MatmulLibrary&) = delete;
  MatmulLibrary& operator=(const MatmulLibrary&) = delete;

  cublasLtHandle_t handle() const { return handle_; }
  const DeviceBuffer& workspace() const { return workspace_; }
  /// "cuBLASLt 13.1.0"
  static std::string version();

 private:
  cublasLtHandle_t handle_ = nullptr;
  DeviceBuffer workspace_;
};

/// One dense product on the GPU: operands of random normal numbers, descriptors, and cuBLASLt's candidates.
///
/// Row-major C[m,n] = A[m,k] B[k,n] is cuBLAS's column-major D(n x m) = opA(n x k) opB(k x m); its first
/// operand is our B. fp8 has one scale an operand, mxfp8 and nvfp4 one a block of 32 or 16 in the layout of
/// BlockScales. Accumulation in fp32 throughout; fp8 with fast accumulation, as frameworks run the forward
/// pass.
class Product {
 public:
  /// @param slots  copies of all operands: cold_slots()
  Product(const MatmulLibrary& library, const GemmCase& shape, int slots, std::uint64_t seed,
          cudaStream_t stream);
  ~Product();
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  /// Bytes of one slot.
  static std::size_t footprint(const GemmCase& shape);

  /// Algorithms that cuBLASLt's heuristic offers, best guess first, at most 8; none if it cannot do this
  /// product.
  int algorithms() const { return static_cast<int>(candidates_.size()); }
  void choose(int algorithm) { chosen_ = algorithm; }
  /// Enqueues the product on slot's operands with the chosen algorithm.
  void launch(cudaStream_t stream, int slot);

  const GemmCase& shape() const { return shape_; }
  /// Compares the result of the chosen algorithm on slot 0 with sums in double of the very same operands,
  /// element by element. For shapes of some 10 million multiply-adds at most. @throws CheckFailed
  void check(cudaStream_t stream);

 private:
  struct Formats;
  void describe();
  void find_algorithms();
  void fill(std::uint64_t seed, cudaStream_t stream);
  void point_to_scales(int slot);
  std::vector<double> operand_values(std::size_t offset, bool transposed, std::size_t rows, Element element,
                                     std::size_t scale_offset) const;
  std::byte* slot_base(int slot) const { return arena_.at(static_cast<std::size_t>(slot) * stride_); }

  const MatmulLibrary& library_;
  GemmCase shape_;
  std::unique_ptr<Formats> formats_;
  cublasLtMatmulDesc_t operation_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, d_ = nullptr;
  std::vector<cublasLtMatmulAlgo_t> candidates_;
  int chosen_ = 0;
  int slots_ = 1;
  std::size_t b_offset_ = 0, d_offset_ = 0, a_scale_offset_ = 0, b_scale_offset_ = 0, stride_ = 0;
  DeviceBuffer arena_;
};

/// FLOP/s to plan with where a GPU's peak is not known: assumed, the order of a tensor core GPU since 2017.
inline constexpr double kUnknownPeak = 1e14;

/// Slots with which a product is timed: enough to be cold where it may be shorter than 20 us, else one.
int slots_for(const DeviceInfo& device, const GemmCase& shape);

/// Times the candidates briefly in the heuristic's order, for about so many seconds but at least two of them,
/// and chooses the fastest; answers how many were timed.
int choose_fastest(Session& session, Product& product, int slots, double seconds);

/// The reference checks of all precisions that this GPU has; says which it has not. @throws CheckFailed
void check_products(Session& session, const MatmulLibrary& library,
                    const std::vector<std::string>& precisions);

/// Those of the precisions for which the GPU has units; all where peaks.hpp does not know its architecture.
std::vector<std::string> precisions_of(const DeviceInfo& device, const std::vector<std::string>& wanted);

void blas_check(cublasStatus_t status, const std::source_location& place = std::source_location::current());

}  // namespace orrery::kernels
