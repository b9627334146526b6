// Grouped matrix products (the experts of a mixture) through cuBLAS: `batch` products that share n and k and
// have rows of their own, m on average. 2 batch m n k FLOPs. Reference: sums in double of the same operands.
#include <cublas_v2.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "kernels/harness/device_data.hpp"
#include "kernels/harness/program.hpp"
#include "kernels/products/gemm_case.hpp"

namespace orrery::kernels {
namespace {

constexpr std::size_t kWorkspace = std::size_t{64} << 20;
constexpr double kLargestShareOfMemory = 0.8;

void blas_check(cublasStatus_t status, const std::source_location& place = std::source_location::current()) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    fail_call(std::string("cuBLAS: ") + cublasGetStatusString(status), place);
  }
}

struct Formats {
  Element element;
  cudaDataType_t type;
  cublasComputeType_t compute;
};

Formats formats_of(const std::string& precision) {
  if (precision == "fp16") return {Element::fp16, CUDA_R_16F, CUBLAS_COMPUTE_32F};
  if (precision == "tf32") return {Element::fp32, CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32};
  if (precision == "fp32") return {Element::fp32, CUDA_R_32F, CUBLAS_COMPUTE_32F};
  return {Element::bf16, CUDA_R_16BF, CUBLAS_COMPUTE_32F};
}

/// Precisions and results that cublasGemmGroupedBatchedEx takes: result in the operands' type.
bool expressible(const GemmCase& shape) {
  const auto& names = {"bf16", "fp16", "tf32", "fp32"};
  return std::find(names.begin(), names.end(), shape.precision) != names.end() &&
         shape.output_bytes == default_output_bytes(shape.precision) && shape.layout != "nt";
}

class Handle {
 public:
  Handle() : workspace_(kWorkspace) {
    blas_check(cublasCreate(&handle_));
    blas_check(cublasSetWorkspace(handle_, workspace_.data(), workspace_.bytes()));
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { cublasDestroy(handle_); }
  cublasHandle_t get() const { return handle_; }
  void use(cudaStream_t stream) {
    blas_check(cublasSetStream(handle_, stream));
    blas_check(
        cublasSetWorkspace(handle_, workspace_.data(), workspace_.bytes()));  // setting a stream undoes it
  }
  std::string version() const {
    int version = 0;
    blas_check(cublasGetVersion(handle_, &version));
    return "cuBLAS " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
           std::to_string(version % 100);
  }

 private:
  DeviceBuffer workspace_;
  cublasHandle_t handle_ = nullptr;
};

/// The groups of one case with operands on the GPU. Row-major C_g[rows, n] = A_g[rows, k] B_g[k, n] is
/// cuBLAS's column-major n x rows product with our B first.
class GroupedProduct {
 public:
  GroupedProduct(const GemmCase& shape, std::vector<std::int64_t> rows, std::uint64_t seed,
                 cudaStream_t stream)
      : shape_(shape), formats_(formats_of(shape.precision)), rows_(std::move(rows)) {
    const auto total = static_cast<std::size_t>(shape.batch * shape.m);
    const auto n = static_cast<std::size_t>(shape.n), k = static_cast<std::size_t>(shape.k);
    const auto groups = static_cast<std::size_t>(shape.batch);
    weights_ = DeviceBuffer(bytes_of(formats_.element, groups * n * k));
    inputs_ = DeviceBuffer(bytes_of(formats_.element, total * k));
    outputs_ = DeviceBuffer(bytes_of(formats_.element, total * n));
    fill_normal(weights_.data(), formats_.element, groups * n * k, seed, stream);
    fill_normal(inputs_.data(), formats_.element, total * k, seed + 1, stream);
    fill_normal(outputs_.data(), formats_.element, total * n, seed + 2, stream);
    std::vector<void*> a, b, c;
    std::size_t first = 0;
    for (std::size_t group = 0; group < groups; ++group) {
      const auto rows_here = static_cast<std::size_t>(rows_[group]);
      if (rows_here > 0) {
        a.push_back(weights_.at(bytes_of(formats_.element, group * n * k)));
        b.push_back(inputs_.at(bytes_of(formats_.element, first * k)));
        c.push_back(outputs_.at(bytes_of(formats_.element, first * n)));
        columns_.push_back(static_cast<int>(rows_here));
      }
      first += rows_here;
    }
    pointers_ = DeviceBuffer(3 * a.size() * sizeof(void*));
    copy_pointers(a, 0);
    copy_pointers(b, 1);
    copy_pointers(c, 2);
    settle();
    describe();
  }

  cublasStatus_t launch(const Handle& handle) const {
    const std::size_t groups = columns_.size();
    auto* pointers = pointers_.as<void*>();
    return cublasGemmGroupedBatchedEx(handle.get(), a_operations_.data(), b_operations_.data(), n_.data(),
                                      columns_.data(), k_.data(), alpha_.data(), pointers, formats_.type,
                                      a_leading_.data(), pointers + groups, formats_.type, k_.data(),
                                      beta_.data(), pointers + 2 * groups, formats_.type, n_.data(),
                                      static_cast<int>(groups), sizes_.data(), formats_.compute);
  }

  void check(const Handle& handle) const {
    blas_check(launch(handle));
    const auto n = static_cast<std::size_t>(shape_.n), k = static_cast<std::size_t>(shape_.k);
    const auto total = static_cast<std::size_t>(shape_.batch * shape_.m);
    const auto weights =
        host_values(weights_.data(), formats_.element, static_cast<std::size_t>(shape_.batch) * n * k);
    const auto inputs = host_values(inputs_.data(), formats_.element, total * k);
    const auto actual = host_values(outputs_.data(), formats_.element, total * n);
    std::vector<double> expected;
    expected.reserve(total * n);
    std::size_t row = 0;
    for (std::size_t group = 0; group < rows_.size(); ++group) {
      for (std::int64_t r = 0; r < rows_[group]; ++r, ++row) {
        for (std::size_t i = 0; i < n; ++i) {
          double sum = 0.0;
          for (std::size_t l = 0; l < k; ++l) {
            const std::size_t weight = shape_.layout == "tn" ? i * k + l : l * n + i;
            sum += weights[group * n * k + weight] * inputs[row * k + l];
          }
          expected.push_back(sum);
        }
      }
    }
    Tolerance tolerance = product_tolerance(formats_.element, k, 0x1p-22);
    if (shape_.precision == "tf32") {  // inputs cut to 10 bits, as in products/product.cpp
      tolerance.absolute += 6 * 0x1p-9 * std::sqrt(static_cast<double>(k));
      tolerance.relative += 0x1p-9;
    }
    require_close("grouped product " + shape_.title(), actual, expected, tolerance);
  }

  const std::vector<std::int64_t>& rows() const { return rows_; }

 private:
  void copy_pointers(const std::vector<void*>& addresses, std::size_t place) const {
    const std::size_t bytes = addresses.size() * sizeof(void*);
    cuda_check(cudaMemcpy(pointers_.at(place * bytes), addresses.data(), bytes, cudaMemcpyHostToDevice));
  }
  void describe() {
    const std::size_t groups = columns_.size();
    const bool transposed = shape_.layout == "tn";
    a_operations_.assign(groups, transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    b_operations_.assign(groups, CUBLAS_OP_N);
    n_.assign(groups, static_cast<int>(shape_.n));
    k_.assign(groups, static_cast<int>(shape_.k));
    a_leading_ = transposed ? k_ : n_;
    sizes_.assign(groups, 1);
    alpha_.assign(groups, 1.0F);
    beta_.assign(groups, 0.0F);
  }

  GemmCase shape_;
  Formats formats_;
  std::vector<std::int64_t> rows_;
  DeviceBuffer weights_, inputs_, outputs_, pointers_;
  std::vector<cublasOperation_t> a_operations_, b_operations_;
  std::vector<int> columns_, n_, k_, a_leading_, sizes_;
  std::vector<float> alpha_, beta_;
};

/// Experts of published mixtures, (n, k) of both products, and the local experts and mean rows that expert
/// parallelism leaves a GPU.
std::vector<GemmCase> grouped_grid(const std::vector<std::string>& precisions, bool quick) {
  static constexpr std::int64_t kExperts[][2] = {
      {28672, 4096}, {4096, 14336},  // 8 wide experts (hidden 4,096)
      {4096, 7168},  {7168, 2048},   // 256 narrow ones (hidden 7,168)
      {3072, 4096},  {4096, 1536},   // 128 (hidden 4,096)
      {1536, 2048},  {2048, 768},    // 128 (hidden 2,048)
  };
  std::vector<GemmCase> cases;
  for (const std::int64_t rows : {64, 256, 1024, 4096}) {
    for (const std::int64_t groups : {8, 16, 32}) {
      for (const auto& [n, k] : kExperts) {
        for (const std::string& precision : precisions) {
          for (const char* layout : {"tn", "nn"}) {
            cases.push_back({rows, n, k, groups, precision, default_output_bytes(precision), layout, true});
          }
        }
      }
    }
  }
  if (quick) cases.resize(std::min<std::size_t>(cases.size(), 4));
  return cases;
}

class GroupedGemm : public Program {
 public:
  std::string name() const override { return "grouped_gemm"; }
  std::string summary() const override { return "times grouped matrix products (experts) through cuBLAS"; }

  void add_options(Options& options) override {
    options.text("--shapes", &shapes_file_, "FILE.jsonl", "kernel lines; those with \"grouped\" are taken");
    options.choices("--precisions", &precisions_, {"bf16", "fp16", "tf32", "fp32"},
                    "of the grid, default bf16");
    options.number("--unevenness", &unevenness_, 0, 100,
                   "spread of the groups' shares: 1 + X u, u uniform (default 1; 0: chance alone)");
  }

  void prepare() override {
    if (shapes_file_.empty()) return;
    std::size_t other_lines = 0;
    for (const GemmCase& shape : read_gemm_file(shapes_file_, &other_lines))
      if (shape.grouped) from_file_.push_back(shape);
    if (from_file_.empty())
      throw OptionError("grouped_gemm: --shapes: " + shapes_file_ + " has no grouped product");
  }

  void check(Session& session) override {
    handle_ = std::make_unique<Handle>();
    handle_->use(session.stream());
    for (const char* precision : {"bf16", "fp16", "tf32", "fp32"}) {
      for (const char* layout : {"tn", "nn"}) {
        const GemmCase shape{40, 96, 128, 5, precision, default_output_bytes(precision), layout, true};
        const GroupedProduct product(shape, uneven_rows(shape.batch, shape.m, 2.0, session.seed()),
                                     session.seed(), session.stream());
        if (product.launch(*handle_) == CUBLAS_STATUS_NOT_SUPPORTED) {
          session.say(shape.title() + ": cuBLAS has no kernel for it on this GPU");
          continue;
        }
        product.check(*handle_);
      }
    }
  }

  void measure(Session& session) override {
    const auto cases = from_file_.empty() ? grouped_grid(precisions_, session.options().quick) : from_file_;
    for (std::size_t i = 0; i < cases.size(); ++i) {
      if (!session.time_left()) {
        session.say(std::to_string(cases.size() - i) + " products left out: the budget is used up");
        return;
      }
      measure_one(session, cases[i], cases.size() - i);
    }
  }

 private:
  void measure_one(Session& session, const GemmCase& shape, std::size_t remaining) {
    if (!expressible(shape)) {
      session.say(shape.title() + ": left out, cuBLAS groups no such products");
      return;
    }
    if (shape.bytes() > kLargestShareOfMemory * static_cast<double>(session.device().memory_bytes)) {
      session.say(shape.title() + ": left out, needs " + bytes_text(shape.bytes()));
      return;
    }
    const GroupedProduct product(shape, uneven_rows(shape.batch, shape.m, unevenness_, session.seed()),
                                 session.seed(), session.stream());
    if (product.launch(*handle_) == CUBLAS_STATUS_NOT_SUPPORTED) {
      session.say(shape.title() + ": left out, cuBLAS has no kernel for it on this GPU");
      return;
    }
    // The call copies its arguments to the GPU itself, so it is timed as the frameworks call it: by events.
    const Measured measured = session.measure(
        [&](cudaStream_t, int) { blas_check(product.launch(*handle_)); }, session.timing(remaining));
    Record record = session.record("gemm");
    shape.write(&record);
    record.set("includes_quantize", false);
    record.set("group_rows", std::vector<double>(product.rows().begin(), product.rows().end()));
    session.write(std::move(record), shape.title(), measured,
                  {"kernels/grouped_gemm: cublasGemmGroupedBatchedEx, uneven groups", handle_->version(),
                   "burst", flops_ceiling(session.device(), shape.precision, shape.flops())});
  }

  std::string shapes_file_;
  std::vector<std::string> precisions_ = {"bf16"};
  double unevenness_ = 1.0;
  std::vector<GemmCase> from_file_;
  std::unique_ptr<Handle> handle_;
};

}  // namespace
}  // namespace orrery::kernels

int main(int argc, char** argv) {
  orrery::kernels::GroupedGemm program;
  return orrery::kernels::run_program(program, argc, argv);
}
