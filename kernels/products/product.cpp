#include "kernels/products/product.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/harness/device_data.hpp"
#include "kernels/products/block_scales.hpp"

namespace orrery::kernels {
namespace {

constexpr std::size_t kWorkspace = std::size_t{64}
                                   << 20;  // what cuBLASLt's Hopper and Blackwell kernels ask for
constexpr int kMostCandidates = 8;
constexpr std::size_t kAlignment = 256;

std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }
std::size_t count_of(std::int64_t a, std::int64_t b, std::int64_t batch) {
  return static_cast<std::size_t>(a) * static_cast<std::size_t>(b) * static_cast<std::size_t>(batch);
}

template <typename T>
void set(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  blas_check(cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof value));
}

}  // namespace

void blas_check(cublasStatus_t status, const std::source_location& place) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    fail_call(std::string("cuBLASLt: ") + cublasLtGetStatusString(status), place);
  }
}

/// Types and scales of one precision.
struct Product::Formats {
  Element input = Element::bf16, output = Element::bf16;
  cudaDataType_t input_type = CUDA_R_16BF, output_type = CUDA_R_16BF;
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  std::size_t block = 0;      ///< elements a scale factor; 0: none, or one for the operand (fp8)
  bool tensor_scale = false;  ///< fp8: one fp32 factor an operand
  float deviation = 1.0F;     ///< of the random operands

  explicit Formats(const GemmCase& shape) {
    const std::string& precision = shape.precision;
    if (precision == "fp32" || precision == "tf32") {
      input = Element::fp32;
      input_type = CUDA_R_32F;
      if (precision == "tf32") compute = CUBLAS_COMPUTE_32F_FAST_TF32;
    } else if (precision == "fp16") {
      input = Element::fp16;
      input_type = CUDA_R_16F;
    } else if (precision == "fp8" || precision == "mxfp8") {
      input = Element::e4m3;
      input_type = CUDA_R_8F_E4M3;
      tensor_scale = precision == "fp8";
      block = tensor_scale ? 0 : 32;
    } else if (precision == "nvfp4") {
      input = Element::e2m1;
      input_type = CUDA_R_4F_E2M1;
      block = 16;
      deviation = 2.0F;  // so that the whole range to 6 is used, as after scaling a block by its maximum
    }
    if (shape.output_bytes != 2 || input == Element::fp32) {
      output = Element::fp32;
      output_type = CUDA_R_32F;
    } else if (input == Element::fp16) {
      output = Element::fp16;
      output_type = CUDA_R_16F;
    }
  }
  bool accumulates(const GemmCase& shape) const { return shape.output_bytes == 8; }
  double scale_value(std::uint8_t bits) const { return block == 32 ? decode_ue8m0(bits) : decode_e4m3(bits); }
};

MatmulLibrary::MatmulLibrary() : workspace_(kWorkspace) { blas_check(cublasLtCreate(&handle_)); }
MatmulLibrary::~MatmulLibrary() { cublasLtDestroy(handle_); }

std::string MatmulLibrary::version() {
  const std::size_t version = cublasLtGetVersion();  // 130100: 13.1.0
  return "cuBLASLt " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

std::size_t Product::footprint(const GemmCase& shape) {
  const Formats formats(shape);
  const std::size_t operands = aligned(bytes_of(formats.input, count_of(shape.n, shape.k, shape.batch))) +
                               aligned(bytes_of(formats.input, count_of(shape.m, shape.k, shape.batch)));
  return operands + aligned(bytes_of(formats.output, count_of(shape.m, shape.n, shape.batch)));
}

Product::Product(const MatmulLibrary& library, const GemmCase& shape, int slots, std::uint64_t seed,
                 cudaStream_t stream)
    : library_(library), shape_(shape), formats_(std::make_unique<Formats>(shape)), slots_(slots) {
  const std::size_t block = formats_->block;
  const auto inner = static_cast<std::size_t>(shape.k);
  b_offset_ = aligned(bytes_of(formats_->input, count_of(shape.n, shape.k, shape.batch)));
  d_offset_ = b_offset_ + aligned(bytes_of(formats_->input, count_of(shape.m, shape.k, shape.batch)));
  a_scale_offset_ = d_offset_ + aligned(bytes_of(formats_->output, count_of(shape.m, shape.n, shape.batch)));
  b_scale_offset_ = stride_ = a_scale_offset_;
  if (block > 0) {
    b_scale_offset_ += aligned(BlockScales(static_cast<std::size_t>(shape.n), inner, block).bytes());
    stride_ = b_scale_offset_ + aligned(BlockScales(static_cast<std::size_t>(shape.m), inner, block).bytes());
  } else if (formats_->tensor_scale) {
    b_scale_offset_ += kAlignment;
    stride_ = b_scale_offset_ + kAlignment;
  }
  // Block scales are laid out for one matrix; cuBLASLt's rules for batches of them are not used here.
  const bool expressible = block == 0 || shape.batch == 1;
  arena_ = DeviceBuffer(stride_ * static_cast<std::size_t>(slots));
  fill(seed, stream);
  describe();
  if (expressible) find_algorithms();
}

Product::~Product() {
  if (d_ != nullptr) cublasLtMatrixLayoutDestroy(d_);
  if (b_ != nullptr) cublasLtMatrixLayoutDestroy(b_);
  if (a_ != nullptr) cublasLtMatrixLayoutDestroy(a_);
  if (operation_ != nullptr) cublasLtMatmulDescDestroy(operation_);
}

void Product::fill(std::uint64_t seed, cudaStream_t stream) {
  const Formats& formats = *formats_;
  const std::size_t a_count = count_of(shape_.n, shape_.k, shape_.batch);
  const std::size_t b_count = count_of(shape_.m, shape_.k, shape_.batch);
  const std::size_t d_count = count_of(shape_.m, shape_.n, shape_.batch);
  const float scales[2] = {0.5F, 2.0F};  // exact, and their product is 1
  for (int slot = 0; slot < slots_; ++slot) {
    std::byte* base = slot_base(slot);
    const std::uint64_t key = seed * 1'000'003 + static_cast<std::uint64_t>(slot) * 4;
    fill_normal(base, formats.input, a_count, key, stream, formats.deviation);
    fill_normal(base + b_offset_, formats.input, b_count, key + 1, stream, formats.deviation);
    fill_normal(base + d_offset_, formats.output, d_count, key + 2, stream);
    if (formats.block > 0) {
      // mxfp8: 2^-1 to 2^1. nvfp4: e4m3 from 0.5 (0x30) to 2 (0x40).
      const std::uint8_t lowest = formats.block == 32 ? 126 : 0x30,
                         highest = formats.block == 32 ? 128 : 0x40;
      fill_bytes(reinterpret_cast<std::uint8_t*>(base + a_scale_offset_), stride_ - a_scale_offset_, key + 3,
                 lowest, highest, stream);
    } else if (formats.tensor_scale) {
      cuda_check(cudaMemcpyAsync(base + a_scale_offset_, &scales[0], 4, cudaMemcpyHostToDevice, stream));
      cuda_check(cudaMemcpyAsync(base + b_scale_offset_, &scales[1], 4, cudaMemcpyHostToDevice, stream));
    }
  }
  cuda_check(cudaStreamSynchronize(stream));
}

void Product::describe() {
  const Formats& formats = *formats_;
  const bool a_transposed = shape_.layout[0] == 't', b_transposed = shape_.layout[1] == 't';
  const auto n = static_cast<std::uint64_t>(shape_.n), m = static_cast<std::uint64_t>(shape_.m),
             k = static_cast<std::uint64_t>(shape_.k);
  blas_check(cublasLtMatmulDescCreate(&operation_, formats.compute, CUDA_R_32F));
  set(operation_, CUBLASLT_MATMUL_DESC_TRANSA, a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(operation_, CUBLASLT_MATMUL_DESC_TRANSB, b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (formats.tensor_scale) set(operation_, CUBLASLT_MATMUL_DESC_FAST_ACCUM, std::int8_t{1});
  if (formats.block > 0) {
    const std::int32_t mode = formats.block == 32 ? CUBLASLT_MATMUL_MATRIX_SCALE_VEC32_UE8M0
                                                  : CUBLASLT_MATMUL_MATRIX_SCALE_VEC16_UE4M3;
    set(operation_, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, mode);
    set(operation_, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, mode);
  }
  point_to_scales(0);
  const auto layout = [](cublasLtMatrixLayout_t* out, cudaDataType_t type, std::uint64_t rows,
                         std::uint64_t columns) {
    blas_check(cublasLtMatrixLayoutCreate(out, type, rows, columns, static_cast<std::int64_t>(rows)));
  };
  layout(&a_, formats.input_type, a_transposed ? k : n, a_transposed ? n : k);
  layout(&b_, formats.input_type, b_transposed ? m : k, b_transposed ? k : m);
  layout(&d_, formats.output_type, n, m);
  if (shape_.batch == 1) return;
  const auto batch = static_cast<std::int32_t>(shape_.batch);
  const auto stack = [&](cublasLtMatrixLayout_t matrix, std::int64_t elements) {
    blas_check(
        cublasLtMatrixLayoutSetAttribute(matrix, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof batch));
    blas_check(cublasLtMatrixLayoutSetAttribute(matrix, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                                &elements, sizeof elements));
  };
  stack(a_, shape_.n * shape_.k);
  stack(b_, shape_.m * shape_.k);
  stack(d_, shape_.m * shape_.n);
}

void Product::point_to_scales(int slot) {
  if (formats_->block == 0 && !formats_->tensor_scale) return;
  const void* a_scale = slot_base(slot) + a_scale_offset_;
  const void* b_scale = slot_base(slot) + b_scale_offset_;
  set(operation_, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, a_scale);
  set(operation_, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, b_scale);
}

void Product::find_algorithms() {
  cublasLtMatmulPreference_t preference = nullptr;
  blas_check(cublasLtMatmulPreferenceCreate(&preference));
  const std::size_t workspace = library_.workspace().bytes();
  blas_check(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                  &workspace, sizeof workspace));
  cublasLtMatmulHeuristicResult_t results[kMostCandidates] = {};
  int found = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(library_.handle(), operation_, a_, b_, d_, d_,
                                                               preference, kMostCandidates, results, &found);
  cublasLtMatmulPreferenceDestroy(preference);
  // These mean that the library has no kernel for these formats on this GPU.
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE ||
      status == CUBLAS_STATUS_ARCH_MISMATCH) {
    return;
  }
  blas_check(status);
  for (int i = 0; i < found; ++i)
    if (results[i].state == CUBLAS_STATUS_SUCCESS) candidates_.push_back(results[i].algo);
}

void Product::launch(cudaStream_t stream, int slot) {
  const float alpha = 1.0F;
  const float beta = formats_->accumulates(shape_) ? 1.0F : 0.0F;
  point_to_scales(slot);
  std::byte* base = slot_base(slot);
  std::byte* result = base + d_offset_;
  blas_check(cublasLtMatmul(library_.handle(), operation_, &alpha, base, a_, base + b_offset_, b_, &beta,
                            result, d_, result, d_, &candidates_[static_cast<std::size_t>(chosen_)],
                            library_.workspace().data(), library_.workspace().bytes(), stream));
}

/// Operand of slot 0 as rows x k doubles, scales applied, each matrix of a batch after the other.
/// @param inner_first  k runs fastest in memory
std::vector<double> Product::operand_values(std::size_t offset, bool inner_first, std::size_t rows,
                                            Element element, std::size_t scale_offset) const {
  const auto inner = static_cast<std::size_t>(shape_.k);
  const auto batch = static_cast<std::size_t>(shape_.batch);
  const std::vector<double> stored = host_values(slot_base(0) + offset, element, rows * inner * batch);
  std::vector<std::byte> scales(stride_ - a_scale_offset_);
  if (!scales.empty()) {
    cuda_check(
        cudaMemcpy(scales.data(), slot_base(0) + a_scale_offset_, scales.size(), cudaMemcpyDeviceToHost));
  }
  const std::size_t first_scale = scale_offset - a_scale_offset_;
  const std::size_t block = formats_->block;
  const BlockScales layout(rows, inner, block > 0 ? block : 1);
  std::vector<double> values(stored.size());
  for (std::size_t matrix = 0; matrix < batch; ++matrix) {
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t l = 0; l < inner; ++l) {
        const std::size_t place = matrix * rows * inner + (inner_first ? row * inner + l : l * rows + row);
        double value = stored[place];
        if (block > 0) {
          const std::size_t scale = first_scale + layout.offset(row, l / block);
          value *= formats_->scale_value(std::to_integer<std::uint8_t>(scales[scale]));
        } else if (formats_->tensor_scale) {
          value *= decode_element(Element::fp32, scales.data() + first_scale, 0);
        }
        values[(matrix * rows + row) * inner + l] = value;
      }
    }
  }
  return values;
}

void Product::check(cudaStream_t stream) {
  const auto n = static_cast<std::size_t>(shape_.n), m = static_cast<std::size_t>(shape_.m),
             k = static_cast<std::size_t>(shape_.k), batch = static_cast<std::size_t>(shape_.batch);
  // Transposed A and plain B have k fastest: cuBLAS stores columns.
  const std::vector<double> a =
      operand_values(0, shape_.layout[0] == 't', n, formats_->input, a_scale_offset_);
  const std::vector<double> b =
      operand_values(b_offset_, shape_.layout[1] == 'n', m, formats_->input, b_scale_offset_);
  const void* result = slot_base(0) + d_offset_;
  std::vector<double> expected(batch * m * n, 0.0);
  if (formats_->accumulates(shape_)) expected = host_values(result, formats_->output, batch * m * n);
  for (std::size_t matrix = 0; matrix < batch; ++matrix) {
    for (std::size_t j = 0; j < m; ++j) {
      for (std::size_t i = 0; i < n; ++i) {
        const double* left = &a[(matrix * n + i) * k];
        const double* right = &b[(matrix * m + j) * k];
        double sum = 0.0;
        for (std::size_t l = 0; l < k; ++l) sum += left[l] * right[l];
        expected[(matrix * m + j) * n + i] += sum;
      }
    }
  }
  launch(stream, 0);
  cuda_check(cudaStreamSynchronize(stream));
  const std::vector<double> actual = host_values(result, formats_->output, batch * m * n);

  // Products of the tensor cores are exact; their sums keep fewer bits than fp32 does: Hopper's fp8 units
  // about 13 (with fast accumulation), the others 22 or more. tf32 also cuts both inputs to 10 bits: each
  // product is off by 2^-9 at most, the sum by six deviations of sqrt(k) such errors.
  double accumulator = 0x1p-22;
  if (shape_.precision == "fp32") accumulator = 0x1p-24;
  if (formats_->input == Element::e4m3) accumulator = 0x1p-13;
  // Scaled operands have a root mean square of up to 1.4 (mxfp8) or 2.6 (nvfp4): their products and sums
  // scale.
  double size = 1.0;
  if (shape_.precision == "mxfp8") size = 2.0;
  if (shape_.precision == "nvfp4") size = 7.0;
  Tolerance tolerance = product_tolerance(formats_->output, k, accumulator);
  tolerance.absolute *= size;
  if (shape_.precision == "tf32") {
    tolerance.absolute += 6 * 0x1p-9 * std::sqrt(static_cast<double>(k));
    tolerance.relative += 0x1p-9;
  }
  require_close("product " + shape_.title(), actual, expected, tolerance);
}

int slots_for(const DeviceInfo& device, const GemmCase& shape) {
  const double at_peak = shape.flops() / peak_flops(device, shape.precision).value_or(kUnknownPeak);
  return at_peak < 20e-6 ? cold_slots(device, Product::footprint(shape)) : 1;
}

int choose_fastest(Session& session, Product& product, int slots, double seconds) {
  TimingOptions brief;
  brief.warmup = 1;
  brief.repeats = brief.most_repeats = 5;
  brief.seconds = 0.0;
  brief.limit_s = seconds / 4;
  brief.slots = slots;
  const double begin = steady_seconds();
  double fastest = std::numeric_limits<double>::infinity();
  int best = 0, timed = 0;
  for (int i = 0; i < product.algorithms(); ++i) {
    if (timed >= 2 && steady_seconds() - begin > seconds) break;
    product.choose(i);
    const Measured measured =
        session.measure([&](cudaStream_t stream, int slot) { product.launch(stream, slot); }, brief);
    ++timed;
    if (!measured.samples_s.empty() && measured.median_s() < fastest) {
      fastest = measured.median_s();
      best = i;
    }
  }
  product.choose(best);
  return timed;
}

std::vector<std::string> precisions_of(const DeviceInfo& device, const std::vector<std::string>& wanted) {
  // Of an architecture that peaks.hpp does not know, cuBLASLt itself says what it has.
  if (!peak_flops(device, "fp32")) return wanted;
  std::vector<std::string> present;
  for (const std::string& precision : wanted)
    if (peak_flops(device, precision)) present.push_back(precision);
  return present;
}

void check_products(Session& session, const MatmulLibrary& library,
                    const std::vector<std::string>& precisions) {
  for (const std::string& precision : precisions) {
    std::vector<GemmCase> cases;
    const int output = default_output_bytes(precision);
    // No square, no multiple of a tile: a swapped dimension or a wrong scale layout shows.
    cases.push_back({160, 288, 512, 1, precision, output, "tn", false});
    cases.push_back({160, 288, 512, 1, precision, 8, "tn", false});
    if (operand_bits(precision) >= 16) {
      cases.push_back({160, 288, 512, 1, precision, output, "nn", false});
      cases.push_back({160, 288, 512, 1, precision, 8, "nt", false});
      cases.push_back({96, 64, 128, 3, precision, output, "tn", false});
    }
    for (const GemmCase& shape : cases) {
      Product product(library, shape, 1, session.seed(), session.stream());
      if (product.algorithms() == 0) {
        session.say("product " + shape.title() + ": cuBLASLt has no kernel for it on this GPU");
        continue;
      }
      product.check(session.stream());
    }
  }
}

}  // namespace orrery::kernels
