#include "reports/answers/kernel_line.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <span>

#include "calibration/kernels/kernel_profile.hpp"
#include "sim/workload/memory_operators.hpp"

namespace orrery {
namespace {

constexpr std::int64_t kLongest = std::int64_t{1} << 31;   // of a dimension: what BLAS libraries count in
constexpr std::int64_t kMostRows = std::int64_t{1} << 40;  // parameters of an optimizer count as rows
constexpr std::int64_t kMostBytes = std::int64_t{1} << 50;
constexpr std::int64_t kMostLaunches = 1 << 20;
constexpr std::int64_t kMostNanoseconds = std::int64_t{1} << 50;
constexpr size_t kLongestName = 200;

enum class Key {
  op,
  name,
  count,
  m,
  n,
  k,
  batch,
  precision,
  output_bytes,
  layout,
  grouped,
  includes_quantize,
  seq_length,
  kv_seq_length,
  heads,
  kv_heads,
  head_dim,
  value_dim,
  causal,
  window,
  pass,
  kernel,
  bytes,
  kind,
  launches,
  sm_ns,
  rows,
  columns,
  top_k
};  // clang-format off
constexpr std::array<std::string_view, 29> kKeyNames = {
    "op", "name", "count", "m", "n", "k", "batch", "precision", "output_bytes", "layout", "grouped",
    "includes_quantize", "seq_length", "kv_seq_length", "heads", "kv_heads", "head_dim", "value_dim", "causal",
    "window", "pass", "kernel", "bytes", "kind", "launches", "sm_ns", "rows", "columns", "top_k"};
// clang-format on
static_assert(kKeyNames.size() == static_cast<size_t>(Key::top_k) + 1);

using KeySet = std::uint32_t;
template <typename... Keys>
constexpr KeySet keys(Keys... each) {
  return (0U | ... | (1U << static_cast<unsigned>(each)));
}
constexpr KeySet kCommonKeys = keys(Key::op, Key::name, Key::count);
constexpr KeySet kGemmKeys =
    kCommonKeys | keys(Key::m, Key::n, Key::k, Key::batch, Key::precision, Key::output_bytes, Key::layout,
                       Key::grouped, Key::includes_quantize);
constexpr KeySet kAttentionKeys =
    kCommonKeys | keys(Key::batch, Key::seq_length, Key::kv_seq_length, Key::heads, Key::kv_heads,
                       Key::head_dim, Key::value_dim, Key::causal, Key::window, Key::pass, Key::precision,
                       Key::kernel);
constexpr KeySet kMemoryKeys = kCommonKeys | keys(Key::bytes, Key::kind, Key::launches, Key::sm_ns);
constexpr KeySet kNamedKeys = kCommonKeys | keys(Key::rows, Key::columns, Key::pass, Key::precision);

constexpr std::array<std::string_view, 2> kPasses = {"forward", "backward"};
constexpr std::array<std::string_view, 3> kLayouts = {"tn", "nn", "nt"};
const std::array<std::string_view, 6>& attention_kernel_names() {
  static const std::array<std::string_view, 6> kNames = [] {
    std::array<std::string_view, 6> names;
    for (size_t i = 0; i < names.size(); ++i) names[i] = name_of(static_cast<AttentionKernel>(i));
    return names;
  }();
  return kNames;
}

std::vector<std::string> texts(std::span<const std::string_view> names) {
  return {names.begin(), names.end()};
}

/// The members of a line by key, and what is wrong with them.
class Fields {
 public:
  Fields(const std::vector<FlatMember>& members, const std::string& file, KernelProblems& problems)
      : members_(members), file_(file), problems_(problems) {
    for (const FlatMember& member : members_) {
      for (size_t i = 0; i < kKeyNames.size(); ++i) {
        if (kKeyNames[i] != member.key) continue;
        slots_[i] = &member;
        break;
      }
    }
  }

  bool sound() const { return sound_; }
  const FlatMember* find(Key key) const { return slots_[static_cast<size_t>(key)]; }

  void refuse(Key key, const std::string& expected, bool number_expected = false) {
    const FlatMember* member = find(key);
    add({file_, pointer(key), member != nullptr ? member->shown(number_expected) : "nothing", expected, ""});
  }
  /// Records every member that is not among the allowed keys.
  void only(KeySet allowed) {
    for (const FlatMember& member : members_) {
      bool known = false;
      for (size_t i = 0; i < kKeyNames.size() && !known; ++i) {
        known = (allowed >> i & 1U) != 0 && kKeyNames[i] == member.key;
      }
      if (known) continue;
      std::vector<std::string> names;
      for (size_t i = 0; i < kKeyNames.size(); ++i) {
        if ((allowed >> i & 1U) != 0) names.emplace_back(kKeyNames[i]);
      }
      const std::string key(member.key);
      add({file_, "/" + pointer_token(key), "an unknown key", one_of(names, key), ""});
    }
  }

  std::int64_t integer(Key key, std::int64_t least, std::int64_t most,
                       std::optional<std::int64_t> left_out = std::nullopt) {
    const FlatMember* member = find(key);
    if (member == nullptr && left_out) return *left_out;
    const bool sound = member != nullptr && member->kind == FlatMember::Kind::integer &&
                       member->integer >= least && member->integer <= most;
    if (sound) return member->integer;
    refuse(key, fmt::format("an integer in [{}, {}]", least, most), true);
    return least;
  }
  std::int64_t length(Key key, std::optional<std::int64_t> left_out = std::nullopt) {
    return integer(key, 1, kLongest, left_out);
  }
  bool boolean(Key key, bool left_out) {
    const FlatMember* member = find(key);
    if (member == nullptr) return left_out;
    if (member->kind == FlatMember::Kind::boolean) return member->boolean;
    refuse(key, "true or false");
    return left_out;
  }
  /// Index of the text among the names.
  size_t choice(Key key, std::span<const std::string_view> names, size_t left_out) {
    const FlatMember* member = find(key);
    if (member == nullptr) return left_out;
    if (member->kind == FlatMember::Kind::text) {
      const auto found = std::find(names.begin(), names.end(), member->text);
      if (found != names.end()) return static_cast<size_t>(found - names.begin());
    }
    refuse(key, one_of(texts(names), member->kind == FlatMember::Kind::text ? member->text : ""));
    return left_out;
  }
  AttentionPass pass(AttentionPass left_out) {
    return static_cast<AttentionPass>(choice(Key::pass, kPasses, static_cast<size_t>(left_out)));
  }
  /// A precision that the device has matrix units for.
  Precision product_precision(const DeviceSpec& device) {
    const FlatMember* member = find(Key::precision);
    const auto precision = static_cast<Precision>(
        choice(Key::precision, precision_names(), static_cast<size_t>(Precision::bf16)));
    const bool named =
        member == nullptr || (member->kind == FlatMember::Kind::text && member->text == name_of(precision));
    if (!named || device.peak_for(precision)) return precision;
    std::vector<std::string> names;
    for (size_t i = 0; i < device.peak.size(); ++i) {
      if (device.peak[i]) names.emplace_back(precision_names()[i]);
    }
    add({file_, pointer(Key::precision), fmt::format("\"{}\"", name_of(precision)),
         fmt::format("a precision that {} has matrix units for: {}", device.name, list_names(names)), ""});
    return precision;
  }

 private:
  static std::string pointer(Key key) { return "/" + std::string(kKeyNames[static_cast<size_t>(key)]); }
  void add(InputProblem problem) {
    sound_ = false;
    problems_.add(std::move(problem));
  }

  const std::vector<FlatMember>& members_;
  const std::string& file_;
  KernelProblems& problems_;
  std::array<const FlatMember*, kKeyNames.size()> slots_{};
  bool sound_ = true;
};

void read_gemm(Fields& fields, const DeviceSpec& device, KernelLine& kernel) {
  fields.only(kGemmKeys);
  GemmShape shape;
  shape.m = fields.length(Key::m);
  shape.n = fields.length(Key::n);
  shape.k = fields.length(Key::k);
  shape.batch = fields.length(Key::batch, 1);
  shape.precision = fields.product_precision(device);
  const std::int64_t width = operand_bytes(shape.precision) < 4.0 ? 2 : 4;
  shape.output_bytes = static_cast<double>(fields.integer(Key::output_bytes, 1, 16, width));
  fields.choice(Key::layout, kLayouts, 0);  // the profiles hold one time for all layouts
  shape.grouped = fields.boolean(Key::grouped, false);
  shape.quantized_inputs = fields.boolean(Key::includes_quantize, false) || !is_quantized(shape.precision);
  kernel.op = {"gemm", shape};
}

void read_attention(Fields& fields, const DeviceSpec& device, KernelLine& kernel) {
  fields.only(kAttentionKeys);
  AttentionShape shape;
  shape.batch = fields.length(Key::batch);
  shape.seq_q = fields.length(Key::seq_length);
  shape.seq_kv = fields.length(Key::kv_seq_length, shape.seq_q);
  shape.heads = fields.length(Key::heads);
  shape.kv_heads = fields.length(Key::kv_heads, shape.heads);
  shape.head_dim = fields.length(Key::head_dim);
  shape.value_dim = fields.length(Key::value_dim, shape.head_dim);
  shape.causal = fields.boolean(Key::causal, true);
  shape.window = fields.integer(Key::window, 0, kLongest, 0);
  shape.pass = fields.pass(AttentionPass::forward);
  shape.kernel = static_cast<AttentionKernel>(
      fields.choice(Key::kernel, attention_kernel_names(), static_cast<size_t>(AttentionKernel::cudnn)));
  shape.precision = fields.product_precision(device);
  if (fields.sound() && shape.heads % shape.kv_heads != 0) {
    fields.refuse(Key::kv_heads, fmt::format("a divisor of heads {}", shape.heads), true);
  }
  kernel.op = {"attention", shape};
}

void read_memory(Fields& fields, KernelLine& kernel) {
  fields.only(kMemoryKeys);
  MemoryShape shape;
  shape.traffic = Bytes(static_cast<double>(fields.integer(Key::bytes, 1, kMostBytes)));
  shape.kind = static_cast<MemoryKind>(fields.choice(Key::kind, memory_kind_names(), 0));
  shape.launches = static_cast<int>(fields.integer(Key::launches, 1, kMostLaunches, 1));
  shape.sm_time = Seconds(static_cast<double>(fields.integer(Key::sm_ns, 0, kMostNanoseconds, 0)) * 1e-9);
  kernel.op = {"memory", shape};
}

void read_named(Fields& fields, const MemoryOperator& op, KernelLine& kernel) {
  fields.only(op.copies ? kNamedKeys | keys(Key::top_k) : kNamedKeys);
  const bool has_forward = op.forward.launches > 0, has_backward = op.backward.launches > 0;
  kernel.rows = fields.integer(Key::rows, 1, kMostRows);
  kernel.columns =
      fields.integer(Key::columns, 1, kLongest, op.flat ? std::optional<std::int64_t>(1) : std::nullopt);
  const std::int64_t copies = op.copies ? fields.length(Key::top_k, 1) : 1;
  kernel.pass = fields.pass(has_forward ? AttentionPass::forward : AttentionPass::backward);
  const bool exists = kernel.pass == AttentionPass::forward ? has_forward : has_backward;
  if (!exists) fields.refuse(Key::pass, fmt::format("\"{}\"", kPasses[has_forward ? 0 : 1]));
  const auto precision = static_cast<Precision>(
      fields.choice(Key::precision, precision_names(), static_cast<size_t>(Precision::bf16)));
  if (!fields.sound()) return;
  kernel.op = {op.name, memory_operator_shape(op, kernel.pass, kernel.rows, kernel.columns,
                                              activation_bytes(precision), copies)};
}

void read_common(Fields& fields, KernelLine& kernel) {
  kernel.name = {};
  kernel.count.reset();
  if (const FlatMember* name = fields.find(Key::name)) {
    if (name->kind == FlatMember::Kind::text && name->text.size() <= kLongestName) {
      kernel.name = name->text;
    } else {
      fields.refuse(Key::name, fmt::format("a text of at most {} bytes", kLongestName));
    }
  }
  if (fields.find(Key::count) != nullptr) {
    kernel.count = fields.integer(Key::count, 1, std::numeric_limits<std::int64_t>::max());
  }
}

}  // namespace

void KernelProblems::add(InputProblem problem) {
  ++count_;
  if (first_.size() < kMostListed) first_.push_back(std::move(problem));
}

void KernelProblems::throw_if_any(const std::string& file) const {
  if (empty()) return;
  std::vector<InputProblem> problems = first_;
  const std::int64_t more = count_ - static_cast<std::int64_t>(first_.size());
  if (more > 0) problems.push_back({file, "", "", "", fmt::format("and {} more problems like these", more)});
  throw InputError(std::move(problems));
}

std::vector<std::string> kernel_op_names() {
  std::vector<std::string> names = {"gemm", "attention", "memory"};
  for (std::string& name : memory_operator_names()) names.push_back(std::move(name));
  return names;
}

KernelReader::KernelReader(const DeviceSpec& device) : device_(device) {}

bool KernelReader::read(std::string_view line, const std::string& file, KernelLine& kernel,
                        KernelProblems& problems) {
  try {
    line_.parse(line, file);
  } catch (const InputError& error) {
    for (const InputProblem& problem : error.problems()) problems.add(problem);
    return false;
  }
  Fields fields(line_.members(), file, problems);
  const FlatMember* op = fields.find(Key::op);
  const std::string_view name =
      op != nullptr && op->kind == FlatMember::Kind::text ? op->text : std::string_view();
  kernel.rows = kernel.columns = 0;
  kernel.pass = AttentionPass::forward;
  if (name == "gemm") {
    read_gemm(fields, device_, kernel);
  } else if (name == "attention") {
    read_attention(fields, device_, kernel);
  } else if (name == "memory") {
    read_memory(fields, kernel);
  } else if (const MemoryOperator* memory = memory_operator_named(name)) {
    read_named(fields, *memory, kernel);
  } else {
    fields.refuse(Key::op, one_of(kernel_op_names(), name, 60));
    return false;
  }
  read_common(fields, kernel);
  kernel.members = line_.inside();
  kernel.gives_precision = fields.find(Key::precision) != nullptr;
  return fields.sound();
}

}  // namespace orrery
