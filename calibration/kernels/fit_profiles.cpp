#include "calibration/kernels/fit_profiles.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "calibration/kernels/fit_memory.hpp"
#include "calibration/kernels/fit_power.hpp"
#include "calibration/kernels/log_error_fit.hpp"
#include "calibration/kernels/profile_tables.hpp"
#include "calibration/kernels/sustained.hpp"
#include "sim/base/quantile.hpp"

namespace orrery {
namespace {

constexpr std::array kAttentionKernels = {AttentionKernel::flash1, AttentionKernel::flash2,
                                          AttentionKernel::flash3, AttentionKernel::flash4,
                                          AttentionKernel::cudnn};

const DeviceSpec& device_named(const std::vector<DeviceSpec>& devices, const std::string& gpu) {
  const auto found = std::find_if(devices.begin(), devices.end(),
                                  [&](const DeviceSpec& other) { return other.name == gpu; });
  if (found == devices.end()) throw std::invalid_argument("no device is named " + gpu);
  return *found;
}

/// Fits tables when they are asked for, each once.
class TableFits {
 public:
  explicit TableFits(const FitInputs& inputs) : inputs_(inputs) {}

  /// @param sustained  loops of minutes alone; else bursts, a compiler's table or, without either, such loops
  const FittedProducts* products(const std::string& gpu, Precision precision, bool sustained = false) {
    static constexpr std::array kAny = {Campaign::burst, Campaign::compiler, Campaign::sustained};
    static constexpr std::array kLoops = {Campaign::sustained};
    const auto key = std::tuple(gpu, precision, sustained);
    const auto known = products_.find(key);
    if (known != products_.end()) return known->second ? &*known->second : nullptr;
    const bool wants_bf16 = is_quantized(precision);
    const FittedProducts* bf16 = wants_bf16 ? products(gpu, Precision::bf16) : nullptr;
    note(fmt::format("{} {}products in {}", gpu, sustained ? "sustained " : "", name_of(precision)));
    // Lines that state their conditions come with bursts of the same shapes: those few teach the sustained
    // factor (sustained.hpp), a table of their own they are not.
    std::vector<GemmMeasurement> rows = inputs_.measurements.gemm;
    if (sustained) std::erase_if(rows, [](const GemmMeasurement& row) { return row.states_conditions; });
    auto& slot = products_[key];
    slot = fit_products(device_named(inputs_.devices, gpu), precision, rows,
                        sustained ? std::span<const Campaign>(kLoops) : kAny,
                        bf16 != nullptr ? &bf16->fit : nullptr);
    if (slot && sustained) slot->error.op = "gemm sustained";
    return slot ? &*slot : nullptr;
  }

  const FittedAttention* attention(const std::string& gpu, AttentionKernel kernel) {
    const auto key = std::pair(gpu, kernel);
    const auto known = attention_.find(key);
    if (known != attention_.end()) return known->second ? &*known->second : nullptr;
    note(fmt::format("{} attention {}", gpu, name_of(kernel)));
    auto& slot = attention_[key];
    slot = fit_attention_table(device_named(inputs_.devices, gpu), kernel, inputs_.measurements.attention,
                               inputs_.rules);
    return slot ? &*slot : nullptr;
  }

  /// The shipped profile of another GPU, null without one.
  const KernelProfile* shipped(const std::string& gpu) {
    if (!inputs_.shipped) return nullptr;
    const auto known = shipped_.find(gpu);
    auto& slot = known != shipped_.end() ? known->second : shipped_[gpu] = inputs_.shipped(gpu);
    return slot ? &*slot : nullptr;
  }

 private:
  void note(const std::string& what) const {
    if (inputs_.progress) inputs_.progress(what);
  }

  const FitInputs& inputs_;
  std::map<std::tuple<std::string, Precision, bool>, std::optional<FittedProducts>> products_;
  std::map<std::pair<std::string, AttentionKernel>, std::optional<FittedAttention>> attention_;
  std::map<std::string, std::optional<KernelProfile>> shipped_;
};

Evidence best_of(ProfileFit fit) {
  return fit == ProfileFit::own         ? Evidence::measured
         : fit == ProfileFit::same_chip ? Evidence::extrapolated
                                        : Evidence::assumed;
}

/// Puts one profile together.
class ProfileFitter {
 public:
  ProfileFitter(const std::string& gpu, const FitInputs& inputs)
      : inputs_(inputs),
        device_(device_named(inputs.devices, gpu)),
        fits_(inputs),
        factors_(inputs.measurements.gemm, inputs.devices, inputs.rules,
                 [this](const std::string& other, Precision precision) {
                   const FittedProducts* own = fits_.products(other, precision);
                   return own != nullptr ? &own->fit : nullptr;
                 }) {}

  FittedKernelProfile fit() {
    profile_.gpu = device_.name;
    profile_.device = device_;
    add_products();
    add_attention();
    add_memory();
    add_sustained();
    add_power();
    add_information();
    const bool takes_from_base =
        std::any_of(result_.tables.begin(), result_.tables.end(),
                    [](const TableReport& table) { return table.origin == TableOrigin::base; });
    if (takes_from_base)
      profile_.sources.push_back(fmt::format("{} ({})", inputs_.base_name, inputs_.base->profile.hash));
    return std::move(result_);
  }

 private:
  void report(std::string op, std::string_view subset, TableOrigin origin, Evidence evidence,
              const Source& source, FitError error = {}, HeldOut held_out = {}) {
    result_.tables.push_back({std::move(op), std::string(subset), origin, evidence, source.text,
                              std::move(error), std::move(held_out)});
  }

  /// What the base says of itself: its own name, and how far it is from this GPU.
  template <typename Fit>
  void mark_as_base(Fit& fit) const {
    fit.evidence = weaker(fit.evidence, best_of(inputs_.base->fit));
    if (inputs_.base->fit != ProfileFit::own) fit.covariance = {};
    fit.source = base_source(fit.source, fit.evidence);
  }

  Source base_source(const Source& source, Evidence evidence) const {
    constexpr std::string_view kAssumed = "assumed: ";
    const std::string text =
        source.text.starts_with(kAssumed) ? source.text.substr(kAssumed.size()) : source.text;
    return {
        fmt::format("{}from {}: {}", evidence == Evidence::assumed ? kAssumed : "", inputs_.base_name, text)};
  }

  /// The errors that the base has for a table go with it; of all tables of an op without a subset.
  void take_errors(std::string_view op, std::string_view subset) {
    for (const FitError& error : inputs_.base->profile.errors) {
      if (error.op.starts_with(op) && (subset.empty() || error.subset == subset))
        profile_.errors.push_back(error);
    }
  }

  void add_sources(const std::set<std::string>& sources) {
    for (const std::string& source : sources) {
      if (std::find(profile_.sources.begin(), profile_.sources.end(), source) == profile_.sources.end())
        profile_.sources.push_back(source);
    }
  }

  void add_products() {
    for (size_t i = 0; i < device_.peak.size(); ++i) {
      const auto precision = static_cast<Precision>(i);
      if (!device_.peak[i]) continue;
      if (const FittedProducts* own = fits_.products(device_.name, precision)) {
        add_own_products(*own);
        const FittedProducts* loops =
            own->fit.measured_sustained ? nullptr : fits_.products(device_.name, precision, true);
        if (loops != nullptr) add_own_products(*loops);
      } else if (inputs_.base) {
        for (const GemmFit& base : inputs_.base->profile.gemm) {
          if (base.precision == precision) add_base_products(base);
        }
        take_errors("gemm", name_of(precision));
      }
    }
  }

  void add_own_products(const FittedProducts& own) {
    profile_.gemm.push_back(own.fit);
    profile_.errors.push_back(own.error);
    add_sources(own.sources);
    report(own.error.op, name_of(own.fit.precision), TableOrigin::rows, own.fit.evidence, own.fit.source,
           own.error, inputs_.held_out ? hold_out(device_, own, inputs_.seed) : HeldOut{});
  }

  void add_base_products(const GemmFit& base) {
    GemmFit fit = base;
    if (inputs_.base->fit != ProfileFit::own) fit.shapes.clear();  // times of another GPU
    mark_as_base(fit);
    report("gemm", inputs_.base->profile.table_name(base), TableOrigin::base, fit.evidence, fit.source);
    profile_.gemm.push_back(std::move(fit));
  }

  /// A kernel of a GPU by its rows, else by a rule, else (a lender's) by its shipped profile.
  std::optional<AttentionFit> lender(const std::string& gpu, AttentionKernel kernel, int depth) {
    if (const FittedAttention* own = fits_.attention(gpu, kernel)) return own->fit;
    if (auto lent = lent_attention(gpu, kernel, depth + 1)) return lent;
    const KernelProfile* shipped = fits_.shipped(gpu);
    const AttentionFit* fit = shipped != nullptr ? shipped->attention_for(kernel) : nullptr;
    if (fit == nullptr) return std::nullopt;
    AttentionFit result = *fit;
    result.source.text = fmt::format("the shipped profile {}: {}", gpu, result.source.text);
    return result;
  }

  std::optional<AttentionFit> lent_attention(const std::string& gpu, AttentionKernel kernel, int depth = 0) {
    constexpr int kDeepest = 4;  // rules that name one another in a circle lend nothing
    if (depth > kDeepest) return std::nullopt;
    for (const LentAttention& rule : inputs_.rules.attention_lent) {
      if (rule.gpu != gpu || rule.kernel != kernel) continue;
      if (const auto fit = lender(rule.from_gpu, rule.from_kernel, depth)) {
        AttentionFit lent = lend_attention(rule, *fit, device_named(inputs_.devices, rule.from_gpu),
                                           device_named(inputs_.devices, gpu));
        if (lent.measured_sustained && rule.from_gpu != gpu) take_own_clock(lent, rule.from_gpu, gpu);
        return lent;
      }
    }
    return std::nullopt;
  }

  /// Rows under load hold the lender's clock; the borrower's stands in its place.
  void take_own_clock(AttentionFit& lent, const std::string& from, const std::string& gpu) {
    const double theirs = sustained_clock(from), own = sustained_clock(gpu);
    lent.parameters.efficiency = six_digits(lent.parameters.efficiency * own / theirs);
    lent.source.text =
        fmt::format("{}; at {}'s sustained clock, {:.3f} of a burst's, instead of {}'s, {:.3f}",
                    lent.source.text, gpu, own, from, theirs);
  }

  double sustained_clock(const std::string& gpu) {
    KernelProfile named;
    named.gpu = gpu;
    named.device = device_named(inputs_.devices, gpu);
    if (const auto factor = factors_.factor_of(named, Precision::bf16)) return factor->factor;
    const KernelProfile* shipped = fits_.shipped(gpu);
    const SustainedFactor* known = shipped != nullptr ? shipped->sustained_for(Precision::bf16) : nullptr;
    return known != nullptr ? known->factor : 1.0;
  }

  void add_attention() {
    for (const AttentionKernel kernel : kAttentionKernels) {
      if (const FittedAttention* own = fits_.attention(device_.name, kernel)) {
        add_own_attention(*own);
      } else if (auto lent = lent_attention(device_.name, kernel)) {
        report("attention", name_of(kernel), TableOrigin::lent, lent->evidence, lent->source);
        profile_.attention.push_back(std::move(*lent));
      } else if (const AttentionFit* base =
                     inputs_.base ? inputs_.base->profile.attention_for(kernel) : nullptr) {
        AttentionFit fit = *base;
        if (inputs_.base->fit != ProfileFit::own) fit.shapes.clear();
        mark_as_base(fit);
        take_errors("attention", name_of(kernel));
        report("attention", name_of(kernel), TableOrigin::base, fit.evidence, fit.source);
        profile_.attention.push_back(std::move(fit));
      }
    }
  }

  void add_own_attention(const FittedAttention& own) {
    const auto add = [&](const FitError& error, AttentionPass pass) {
      if (error.rows == 0) return;
      profile_.errors.push_back(error);
      report(error.op, error.subset, TableOrigin::rows, own.fit.evidence, own.fit.source, error,
             inputs_.held_out ? hold_out(device_, own, pass, inputs_.seed) : HeldOut{});
    };
    add(own.forward, AttentionPass::forward);
    add(own.backward, AttentionPass::backward);
    add_sources(own.sources);
    profile_.attention.push_back(own.fit);
  }

  /// Published shares of the architecture, or the base where that is on firmer ground.
  MemoryFit memory_without_rows(TableOrigin& origin) const {
    MemoryFit shares =
        fit_memory_shares(device_, inputs_.devices, inputs_.measurements.memory, inputs_.rules.memory);
    origin = shares.evidence == Evidence::interpolated   ? TableOrigin::rows
             : shares.evidence == Evidence::extrapolated ? TableOrigin::lent
                                                         : TableOrigin::assumed;
    if (!inputs_.base) return shares;
    MemoryFit fit = inputs_.base->profile.memory;
    mark_as_base(fit);
    if (shares.evidence <= fit.evidence) return shares;
    if (inputs_.base->fit != ProfileFit::own) fit.ranges.clear();
    origin = TableOrigin::base;
    return fit;
  }

  void add_memory() {
    TableOrigin origin = TableOrigin::rows;
    const MemoryFit otherwise = memory_without_rows(origin);
    auto own =
        fit_memory_rows(device_, inputs_.measurements.memory, inputs_.rules.memory, otherwise, inputs_.seed);
    profile_.memory = own ? own->fit : otherwise;
    if (!own) {
      if (origin == TableOrigin::base) take_errors("memory", "");
      report("memory", "all", origin, profile_.memory.evidence, profile_.memory.source);
      return;
    }
    for (FittedMemoryKind& kind : own->kinds) {
      if (kind.error.rows > 0) profile_.errors.push_back(kind.error);
      report("memory", name_of(kind.kind), TableOrigin::rows, own->fit.evidence, own->fit.source, kind.error,
             inputs_.held_out ? std::move(kind.held_out) : HeldOut{});
    }
    std::set<std::string> sources;
    for (const MemoryMeasurement& row : inputs_.measurements.memory) {
      if (row.gpu == device_.name && !row.share) sources.insert(row.source);
    }
    add_sources(sources);
  }

  void add_sustained() {
    for (const GemmFit& fit : profile_.gemm) {
      if (profile_.gemm_for(fit.precision) != &fit) continue;  // the second table of a precision
      auto factor = factors_.factor_of(profile_, fit.precision);
      TableOrigin origin =
          factor && factor->evidence == Evidence::measured ? TableOrigin::rows : TableOrigin::lent;
      const SustainedFactor* base =
          !factor && inputs_.base ? inputs_.base->profile.sustained_for(fit.precision) : nullptr;
      if (base != nullptr) {
        factor = *base;
        factor->evidence = weaker(factor->evidence, best_of(inputs_.base->fit));
        factor->source = base_source(factor->source, factor->evidence);
        origin = TableOrigin::base;
      } else if (!factor) {
        factor = SustainedFactors::unknown(fit.precision);
        origin = TableOrigin::assumed;
      }
      report("sustained", name_of(fit.precision), origin, factor->evidence, factor->source);
      profile_.sustained.push_back(std::move(*factor));
    }
  }

  void add_power() {
    profile_.power = fit_power(device_, inputs_.measurements);
    if (profile_.power) {
      report("power", "all", TableOrigin::rows, profile_.power->evidence, profile_.power->source);
    } else if (inputs_.base && inputs_.base->fit == ProfileFit::own && inputs_.base->profile.power) {
      profile_.power = inputs_.base->profile.power;
      mark_as_base(*profile_.power);
      report("power", "all", TableOrigin::base, profile_.power->evidence, profile_.power->source);
    }
  }

  void add_information() {
    add_overlap();
    std::map<std::string, std::vector<double>> launches;
    for (const LaunchMeasurement& row : inputs_.measurements.launch) {
      if (row.gpu == device_.name) launches[row.mode].push_back(row.time.base());
    }
    for (const auto& [mode, times] : launches) {
      profile_.launch.push_back({mode, Seconds(*quantile(times, 0.5)), static_cast<int>(times.size())});
    }
    std::map<std::string, CopyFigure> copies;
    for (const CopyMeasurement& row : inputs_.measurements.copy) {
      if (row.gpu != device_.name) continue;
      CopyFigure& figure = copies[row.direction];
      figure.direction = row.direction;
      figure.rate = max(figure.rate, row.bytes / row.time);
      ++figure.rows;
    }
    for (const auto& [direction, figure] : copies) profile_.copy.push_back(figure);
    if (!inputs_.base || inputs_.base->fit != ProfileFit::own) return;
    const KernelProfile& base = inputs_.base->profile;
    if (profile_.overlap.empty()) profile_.overlap = base.overlap;
    if (profile_.launch.empty()) profile_.launch = base.launch;
    if (profile_.copy.empty()) profile_.copy = base.copy;
    profile_.collectives = base.collectives;
  }

  void add_overlap() {
    std::map<std::tuple<Precision, std::string, int>, std::vector<double>> slowdowns;
    for (const OverlapMeasurement& row : inputs_.measurements.overlap) {
      if (row.gpu == device_.name)
        slowdowns[{row.shape.precision, row.beside, row.blocks}].push_back(row.time / row.alone);
    }
    for (const auto& [key, values] : slowdowns) {
      profile_.overlap.push_back({std::get<0>(key), std::get<1>(key), std::get<2>(key),
                                  *quantile(values, 0.5), static_cast<int>(values.size())});
    }
  }

  const FitInputs& inputs_;
  const DeviceSpec& device_;
  TableFits fits_;
  SustainedFactors factors_;
  FittedKernelProfile result_;
  KernelProfile& profile_ = result_.profile;
};

}  // namespace

std::string_view name_of(TableOrigin origin) {
  constexpr std::array<std::string_view, 4> kNames = {"rows", "lent", "base", "assumed"};
  return kNames.at(static_cast<size_t>(origin));
}

FittedKernelProfile fit_profile(const std::string& gpu, const FitInputs& inputs) {
  return ProfileFitter(gpu, inputs).fit();
}

}  // namespace orrery
