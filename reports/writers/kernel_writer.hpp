#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "reports/answers/kernel.hpp"

namespace orrery {

/// Writes kernel answers one by one, so that a million of them need no more room than one. Each function
/// appends to the text; a document is head, every answer, tail.
class KernelWriter {
 public:
  virtual ~KernelWriter() = default;
  virtual void head(std::string& text) = 0;
  virtual void answer(const KernelLine& kernel, const KernelAnswer& answer, std::string& text) = 0;
  virtual void tail(std::string& text) = 0;
};

/// What the answers of a document have in common.
struct KernelDocument {
  std::string gpu, profile, source, hash;
  Tier tier = Tier::measured;
  bool sustained = true;
  double error = 0.0;  ///< cross-validated median error of the profile; 0: unknown
};
KernelDocument kernel_document(const CostModel& model, const KernelOptions& options);

/// orrery.kernel/1: the profile, then one object a kernel: the line's own members in their order, and
/// {"time_s", "interval_s", "tflops" (of products and attention), "bandwidth_bytes_per_s", "bound",
/// "evidence", "power_w", "power_evidence", "energy_j"}. Numbers in their shortest form that reads back.
class KernelJsonWriter final : public KernelWriter {
 public:
  explicit KernelJsonWriter(KernelDocument document) : document_(std::move(document)) {}
  void head(std::string& text) override;
  void answer(const KernelLine& kernel, const KernelAnswer& answer, std::string& text) override;
  void tail(std::string& text) override;

 private:
  KernelDocument document_;
  bool first_ = true;
};

/// name,count,op,shape,time_s,interval_low_s,interval_high_s,tflops,bandwidth_bytes_per_s,bound,evidence,
/// power_w,power_evidence,energy_j
class KernelCsvWriter final : public KernelWriter {
 public:
  void head(std::string& text) override;
  void answer(const KernelLine& kernel, const KernelAnswer& answer, std::string& text) override;
  void tail(std::string& text) override;
};

/// A table for people in columns of fixed width, the profile before it and what the kinds of evidence mean
/// behind it.
class KernelTextWriter final : public KernelWriter {
 public:
  explicit KernelTextWriter(KernelDocument document) : document_(std::move(document)) {}
  void head(std::string& text) override;
  void answer(const KernelLine& kernel, const KernelAnswer& answer, std::string& text) override;
  void tail(std::string& text) override;

 private:
  KernelDocument document_;
  std::array<std::int64_t, 5> by_evidence_{};        ///< kernels by Evidence
  std::array<std::int64_t, 5> by_power_evidence_{};  ///< the same of their power
};

/// "4096 x 14336 x 4096 bf16", "forward cudnn 2 x 4096, 32 heads (8 of keys) of 128, causal, bf16", "100 MB
/// norm", "forward 8192 x 4096".
std::string kernel_shape_text(const KernelLine& kernel);

}  // namespace orrery
