#include "calibration/collectives/fit_profiles.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <tuple>
#include <utility>

#include "calibration/collectives/collective_profiles.hpp"
#include "calibration/collectives/domain_fit.hpp"
#include "calibration/collectives/fabric_fit.hpp"
#include "calibration/collectives/generation_fit.hpp"
#include "calibration/collectives/one_thread_fit.hpp"
#include "calibration/collectives/profile_json.hpp"
#include "calibration/collectives/set_up_effect.hpp"
#include "calibration/least_squares/least_squares.hpp"
#include "sim/base/hash.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

/// Of the one GPU that crosses domains in the rows without any inside one: six NVLink2 of 25 GB/s (vendor).
constexpr double kVoltaScaleUp = 150e9;

/// Of fits that only judge, which start from the fit of all rows: too wide and they stay near it (1e-4: 12.8
/// % across nodes, 1e-5: 13.4 %, 1e-7: 13.5 %).
constexpr double kLeftOutTolerance = 1e-5;

/// Rows that are left out together.
using Group = std::tuple<std::string, std::string, int>;
Group group_of(const CollectiveRow& row) { return {row.source, row.gpu, row.ranks}; }

bool is_scored(const CollectiveRow& row) {
  return row.bytes >= kLeastScoredBytes && row.bytes <= kMostScoredBytes;
}
/// Send-receives have their own errors in the profiles; the goals are about the other four.
bool is_of_the_goals(const CollectiveRow& row) {
  return is_scored(row) && row.op != CollectiveOp::send_receive;
}

/// Log ratios by operation, of all rows and of the sizes that are scored.
class ErrorTable {
 public:
  void add_fit(const CollectiveRow& row, double ratio) {
    ratios_[row.op].all.push_back(ratio);
    if (is_scored(row)) ratios_[row.op].scored.push_back(ratio);
  }
  void add_left_out(const CollectiveRow& row, double ratio) {
    if (is_scored(row)) ratios_[row.op].left_out.push_back(ratio);
  }
  std::vector<OperationErrors> errors() const {
    std::vector<OperationErrors> list;
    for (const auto& [op, ratios] : ratios_) {
      list.push_back({op, errors_of(ratios.all), errors_of(ratios.scored), errors_of(ratios.left_out)});
    }
    return list;
  }
  std::map<CollectiveOp, FitErrors> left_out() const {
    std::map<CollectiveOp, FitErrors> errors;
    for (const auto& [op, ratios] : ratios_) {
      if (!ratios.left_out.empty()) errors[op] = errors_of(ratios.left_out);
    }
    return errors;
  }
  /// Geometric mean over all operations and scored sizes, left out where a group can be.
  double error() const {
    std::vector<double> all;
    for (const auto& [op, ratios] : ratios_) {
      const std::vector<double>& some = ratios.left_out.empty() ? ratios.scored : ratios.left_out;
      all.insert(all.end(), some.begin(), some.end());
    }
    return errors_of(all).geometric_mean;
  }

 private:
  struct Ratios {
    std::vector<double> all, scored, left_out;
  };
  std::map<CollectiveOp, Ratios> ratios_;
};

Json errors_json(const std::vector<OperationErrors>& list) {
  Json json = Json::array();
  const auto one = [](const FitErrors& errors) {
    Json entry;
    entry["rows"] = errors.rows;
    entry["geometric_mean"] = rounded(errors.geometric_mean, 3);
    entry["root_mean_square"] = rounded(errors.root_mean_square, 3);
    entry["bias"] = rounded(errors.bias, 3);
    return entry;
  };
  for (const OperationErrors& errors : list) {
    Json entry;
    entry["op"] = name_of(errors.op);
    entry["fit"] = one(errors.fit);
    entry["fit_8_KiB_to_16_GiB"] = one(errors.scored_sizes);
    entry["left_out_8_KiB_to_16_GiB"] = one(errors.left_out);
    json.push_back(std::move(entry));
  }
  return json;
}

FittedProfile profile_of(const std::string& name, Json constants, const ErrorTable& table,
                         const std::set<std::string>& sources, size_t rows, const std::string& hash) {
  FittedProfile profile;
  profile.name = name;
  profile.errors = table.errors();
  profile.rows = static_cast<int>(rows);
  Json json;
  json["schema"] = "orrery.collectives/1";
  json["name"] = name;
  json["error"] = rounded(table.error(), 3);
  json["rows"] = rows;
  json["hash"] = hash;
  json["sources"] = sources;
  json["errors"] = errors_json(profile.errors);
  json["constants"] = std::move(constants);
  profile.text = json.dump(1) + "\n";
  return profile;
}

FittedProfile profile_gpu(const DomainConstants& domain, const std::vector<CollectiveRow>& rows,
                          const std::string& hash) {
  // One node of a user's own: each operation and number of ranks has its own curve.
  ErrorTable table;
  std::set<std::string> sources;
  std::set<Group> groups;
  const auto ratio_of = [](const DomainConstants& constants, const CollectiveRow& row) {
    return domain_log_ratios(constants, std::span(&row, 1));
  };
  for (const CollectiveRow& row : rows) {
    sources.insert(row.source);
    groups.insert(group_of(row));
    for (const double ratio : ratio_of(domain, row)) table.add_fit(row, ratio);
  }
  for (const Group& group : groups) {
    std::vector<CollectiveRow> others;
    std::copy_if(rows.begin(), rows.end(), std::back_inserter(others),
                 [&](const CollectiveRow& row) { return group_of(row) != group; });
    const DomainConstants without = fit_domain(domain.gpu, domain.scale_up_bandwidth, others);
    for (const CollectiveRow& row : rows) {
      if (group_of(row) != group) continue;
      for (const double ratio : ratio_of(without, row)) table.add_left_out(row, ratio);
    }
  }
  return profile_of(domain.gpu, domain_json(domain), table, sources, rows.size(), hash);
}

double log_ratio(const DomainConstants& domain, const CollectiveRow& row) {
  return domain_log_ratios(domain, std::span(&row, 1)).front();
}

/// Rows of one (source, GPU, ranks).
struct RowsOfGroup {
  std::vector<size_t> fitted;             ///< into the model's rows
  std::vector<CollectiveRow> one_thread;  ///< held up by launches: scored, not fitted
};

/// All rows of one operation on one kind of domain, with the groups that are left out together.
struct OperationInside {
  GenerationModel model;
  std::map<Group, RowsOfGroup> groups;

  OperationInside(CollectiveOp op, std::span<const CollectiveRow> rows, const MeasuredMachines& machines)
      : model(op, fitted_of(rows), machines) {
    for (size_t i = 0; i < model.rows().size(); ++i) groups[group_of(model.rows()[i])].fitted.push_back(i);
    for (const CollectiveRow& row : rows) {
      if (is_held_up_by_launches(row)) groups[group_of(row)].one_thread.push_back(row);
    }
  }

 private:
  static std::vector<CollectiveRow> fitted_of(std::span<const CollectiveRow> rows) {
    std::vector<CollectiveRow> fitted;
    std::copy_if(rows.begin(), rows.end(), std::back_inserter(fitted),
                 [](const CollectiveRow& row) { return !is_held_up_by_launches(row); });
    return fitted;
  }
};

/// Domains of every GPU: the curves of its generation's numbers of ranks, and pairs of its own.
class InsideFit {
 public:
  InsideFit(std::vector<CollectiveRow> rows, const MeasuredMachines& machines) : machines_(machines) {
    std::map<std::pair<bool, CollectiveOp>, std::vector<CollectiveRow>> by_kind;
    for (CollectiveRow& row : rows) {
      const MeasuredGpu& gpu = machines.gpu(row.gpu);
      rows_of_[gpu.name].push_back(row);
      if (row.op == CollectiveOp::send_receive) continue;
      ranks_[{gpu.generation, row.op}].insert(row.ranks);
      by_kind[{gpu.mesh_gpus > 0, row.op}].push_back(std::move(row));
    }
    for (const auto& [kind, some] : by_kind)
      operations_.emplace(kind, OperationInside(kind.second, some, machines));
    find_rows_of_set_ups();
    for (const MeasuredGpu& gpu : machines.gpus) domains_[gpu.name] = domain_of(gpu);
    for (const MeasuredGpu& gpu : machines.gpus) {
      if (!gpu.pairs_from.empty()) borrow_pairs(domains_[gpu.name], domains_[gpu.pairs_from]);
    }
  }

  const std::map<std::string, DomainConstants>& domains() const { return domains_; }

  /// What the start of a call adds to a row's time (s) as it was timed.
  double start_in(const CollectiveRow& row) const {
    return time_in_a_row(0.0, lone_start(one_thread(), row.op), row.calls_in_a_row);
  }

  /// What a tool adds (s) to short calls inside domains: the median over its rows up to 1 MiB; 0 for
  /// nccl-tests and for tools that no such row has.
  double tool_start(const std::string& tool) const {
    constexpr double kShort = 1048576.0;
    std::vector<double> more;
    for (const auto& [kind, operation] : operations_) {
      const GenerationModel& model = operation.model;
      for (size_t i = 0; i < model.rows().size(); ++i) {
        const CollectiveRow& row = model.rows()[i];
        if (row.tool != tool || row.bytes > kShort || row.nodes > 1) continue;
        const double plain = model.time(model.weights(), machines_.gpu(row.gpu), row.ranks, row.bytes);
        more.push_back(plain * std::expm1(model.own_way(model.weights(), i)));
      }
    }
    if (more.empty()) return 0.0;
    const auto middle = more.begin() + static_cast<std::ptrdiff_t>(more.size() / 2);
    std::nth_element(more.begin(), middle, more.end());
    return std::max(0.0, *middle);
  }

  FittedProfile one_thread_profile(const std::string& hash) const {
    std::set<std::string> sources;
    for (const auto& [group, row] : one_thread_rows_) sources.insert(std::get<0>(group));
    for (const auto& [group, row] : lone_rows_) sources.insert(std::get<0>(group));
    FittedProfile profile;
    profile.name = "one-thread";
    profile.rows = static_cast<int>(one_thread_rows_.size() + lone_rows_.size());
    Json json;
    json["schema"] = "orrery.one_thread/2";
    json["name"] = profile.name;
    json["rows"] = profile.rows;
    json["hash"] = hash;
    json["sources"] = sources;
    json["constants"] = one_thread_json(one_thread());
    profile.text = json.dump(1) + "\n";
    return profile;
  }

  FittedProfile profile(const MeasuredGpu& gpu, const std::string& hash,
                        std::vector<ScoredRow>& scored) const {
    ErrorTable table;
    std::set<std::string> sources;
    const auto own = rows_of_.find(gpu.name);
    const std::vector<CollectiveRow> none;
    const std::vector<CollectiveRow>& rows = own == rows_of_.end() ? none : own->second;
    const DomainConstants& domain = domains_.at(gpu.name);
    const OneThreadConstants all = one_thread();
    for (const CollectiveRow& row : rows) {
      sources.insert(row.source);
      if (row.op == CollectiveOp::send_receive && !domain_covers(domain, row.op)) continue;
      if (row.op != CollectiveOp::send_receive && is_held_up_by_launches(row)) continue;
      table.add_fit(row, log_ratio_as_timed(domain, row, all));
    }
    for (const auto& [kind, operation] : operations_) {
      for (const auto& [group, members] : operation.groups) {
        if (std::get<1>(group) == gpu.name) leave_out(gpu, operation, group, members, table, scored);
      }
    }
    leave_out_pairs(gpu, rows, table);
    return profile_of(gpu.name, domain_json(domain), table, sources, rows.size(), hash);
  }

 private:
  static bool domain_covers(const DomainConstants& domain, CollectiveOp op) {
    return std::any_of(domain.curves.begin(), domain.curves.end(),
                       [&](const DomainCurve& curve) { return curve.op == op; });
  }

  DomainConstants empty_domain(const MeasuredGpu& gpu) const {
    DomainConstants domain;
    domain.gpu = gpu.name;
    domain.scale_up_bandwidth = gpu.scale_up_bandwidth;
    domain.mesh_gpus = gpu.mesh_gpus;
    return domain;
  }

  DomainConstants domain_of(const MeasuredGpu& gpu) const {
    DomainConstants domain = empty_domain(gpu);
    for (const auto& [kind, operation] : operations_) {
      if (kind.first != (gpu.mesh_gpus > 0)) continue;
      const auto ranks = ranks_.find({gpu.generation, kind.second});
      if (ranks == ranks_.end()) continue;
      for (const int n : ranks->second) {
        if (n > gpu.gpus_per_domain) continue;
        domain.curves.push_back(finished_curve(gpu, operation.model, n));
      }
    }
    std::vector<CollectiveRow> pairs;
    if (const auto own = rows_of_.find(gpu.name); own != rows_of_.end()) {
      std::copy_if(own->second.begin(), own->second.end(), std::back_inserter(pairs),
                   [](const CollectiveRow& row) { return row.op == CollectiveOp::send_receive; });
    }
    for (DomainCurve& curve : fit_domain(gpu.name, gpu.scale_up_bandwidth, pairs).curves)
      domain.curves.push_back(std::move(curve));
    return domain;
  }

  /// The curve with what it rests on: its own rows, or those of its generation, between which it is drawn.
  DomainCurve finished_curve(const MeasuredGpu& gpu, const GenerationModel& model, int ranks) const {
    DomainCurve curve = model.curve(model.weights(), gpu, ranks);
    std::set<double> own;
    std::set<double> siblings;
    for (const CollectiveRow& row : model.rows()) {
      if (machines_.gpu(row.gpu).generation != gpu.generation) continue;
      siblings.insert(row.bytes);
      if (row.ranks == ranks && row.gpu == gpu.name) own.insert(row.bytes);
    }
    curve.of_siblings = own.size() < 4;
    const std::set<double>& sizes = curve.of_siblings ? siblings : own;
    curve.least_bytes = *sizes.begin();
    curve.most_bytes = *sizes.rbegin();
    double squares = 0.0;
    constexpr int kSizes = 6;  // 1 MiB to 1 GiB, what training sends
    for (int i = 0; i < kSizes; ++i) {
      const double one = model.spread(gpu, ranks, std::ldexp(1.0, 20 + 2 * i));
      squares += one * one / kSizes;
    }
    curve.relative_spread = rounded(std::sqrt(squares), 2);
    return curve;
  }

  void leave_out(const MeasuredGpu& gpu, const OperationInside& operation, const Group& group,
                 const RowsOfGroup& members, ErrorTable& table, std::vector<ScoredRow>& scored) const {
    const GenerationModel& model = operation.model;
    const GenerationModel::Weights without =
        members.fitted.empty() ? model.weights() : model.weights_without(members.fitted);
    DomainConstants alone = empty_domain(gpu);
    alone.curves = {model.curve(without, gpu, std::get<2>(group))};
    const auto score = [&](const CollectiveRow& row, double fit, double left_out, double stated,
                           double tool) {
      if (!is_scored(row)) return;
      const std::string place = gpu.mesh_gpus > 0 ? "one node (mesh)"
                                : row.nodes > 1   ? "NVL72 domain"
                                                  : "one node";
      scored.push_back({row, place, fit, left_out, stated, tool});
    };
    const OneThreadConstants all = one_thread();
    const OneThreadConstants others = one_thread(group);
    for (const size_t member : members.fitted) {
      const CollectiveRow& row = model.rows()[member];
      const double ratio = log_ratio_as_timed(alone, row, others);
      // The start is part of what the tool's own way holds.
      const double own = model.own_way(without, member) - (ratio - log_ratio(alone, row));
      table.add_left_out(row, ratio);
      score(row, log_ratio_as_timed(domains_.at(gpu.name), row, all), ratio, ratio, own);
    }
    for (const CollectiveRow& row : members.one_thread) {
      const double left_out = one_thread_log_ratio(alone, row, others);
      score(row, one_thread_log_ratio(domains_.at(gpu.name), row, all), left_out,
            row.thread_inferred ? log_ratio(alone, row) : left_out, 0.0);
    }
  }

  static double one_thread_log_ratio(const DomainConstants& domain, const CollectiveRow& row,
                                     const OneThreadConstants& constants) {
    const double predicted = row.seconds * std::exp(log_ratio(domain, row));
    const double launch = launch_time(constants, row.op, row.bytes);
    return std::log(time_of_one_thread(predicted, row.gpus_per_thread, launch) / row.seconds);
  }

  static double log_ratio_as_timed(const DomainConstants& domain, const CollectiveRow& row,
                                   const OneThreadConstants& constants) {
    const double predicted = row.seconds * std::exp(log_ratio(domain, row));
    const double start = lone_start(constants, row.op);
    return std::log(time_in_a_row(predicted, start, row.calls_in_a_row) / row.seconds);
  }

  /// What one thread takes to launch the calls of its GPUs, and what lone calls take more, from all rows or
  /// without those of a group.
  OneThreadConstants one_thread(const std::optional<Group>& without = std::nullopt) const {
    const auto others = [&](const auto& grouped, auto& rows) {
      for (const auto& [group, row] : grouped) {
        if (group != without) rows.push_back(row);
      }
    };
    std::vector<OneThreadRow> rows;
    std::vector<LoneRow> lone;
    others(one_thread_rows_, rows);
    others(lone_rows_, lone);
    return fit_one_thread(rows, lone);
  }
  void find_rows_of_set_ups() {
    for (const auto& [kind, operation] : operations_) {
      for (const auto& [group, members] : operation.groups) {
        for (const CollectiveRow& row : members.one_thread) {
          const double alone =
              operation.model.time(operation.model.weights(), machines_.gpu(row.gpu), row.ranks, row.bytes);
          one_thread_rows_.push_back({group, {row.op, row.bytes, row.seconds, alone, row.gpus_per_thread}});
        }
        for (const size_t member : members.fitted) {
          const CollectiveRow& row = operation.model.rows()[member];
          if (row.calls_in_a_row >= kCallsInARow) continue;
          const double alone =
              operation.model.time(operation.model.weights(), machines_.gpu(row.gpu), row.ranks, row.bytes);
          lone_rows_.push_back({group, {row.op, row.bytes, row.seconds, alone, row.calls_in_a_row}});
        }
      }
    }
  }

  void leave_out_pairs(const MeasuredGpu& gpu, const std::vector<CollectiveRow>& rows,
                       ErrorTable& table) const {
    std::map<Group, std::vector<CollectiveRow>> groups;
    for (const CollectiveRow& row : rows) {
      if (row.op == CollectiveOp::send_receive) groups[group_of(row)].push_back(row);
    }
    for (const auto& [group, members] : groups) {
      std::vector<CollectiveRow> others;
      for (const CollectiveRow& row : rows) {
        if (row.op == CollectiveOp::send_receive && group_of(row) != group) others.push_back(row);
      }
      const DomainConstants without = fit_domain(gpu.name, gpu.scale_up_bandwidth, others);
      for (const CollectiveRow& row : members) {
        for (const double ratio : domain_log_ratios(without, std::span(&row, 1)))
          table.add_left_out(row, ratio);
      }
    }
  }

  const MeasuredMachines& machines_;
  std::map<std::string, std::vector<CollectiveRow>> rows_of_;
  std::map<std::pair<std::string, CollectiveOp>, std::set<int>> ranks_;
  std::map<std::pair<bool, CollectiveOp>, OperationInside> operations_;
  std::map<std::string, DomainConstants> domains_;
  std::vector<std::pair<Group, OneThreadRow>> one_thread_rows_;
  std::vector<std::pair<Group, LoneRow>> lone_rows_;
};

/// Rows that one profile is fitted on: a library (AMD's has its own constants) and a protocol.
using FabricKey = std::pair<std::string, NicProtocol>;

/// Rows across domains by library and protocol, each with what its GPU's domain leaves to it.
std::map<FabricKey, std::vector<AcrossRow>> across_by_fabric(const std::vector<CollectiveRow>& rows,
                                                             const MeasuredMachines& machines,
                                                             const InsideFit& inside,
                                                             std::map<std::string, NcclModel>& models,
                                                             const std::filesystem::path& library_file,
                                                             std::map<std::string, int>& excepted) {
  std::map<FabricKey, std::vector<AcrossRow>> by_fabric;
  for (const CollectiveRow& row : rows) {
    std::optional<GroupShape> shape = shape_across(row, machines);
    if (!shape) {
      if (is_of_the_goals(row)) ++excepted["fabric whose NICs are not known"];
      continue;
    }
    auto model = models.find(row.gpu);
    if (model == models.end()) {
      CollectiveConstants constants;
      constants.library = load_library_constants(row.gpu, library_file);
      const auto domain = inside.domains().find(profile_standing_for(row.gpu, library_file));
      if (domain != inside.domains().end()) constants.domain = domain->second;
      model = models.emplace(row.gpu, NcclModel(constants)).first;
    }
    shape->scale_up_bandwidth =
        BytesPerSecond(std::max(model->second.constants().domain.scale_up_bandwidth, kVoltaScaleUp));
    shape->in_network_reduction = model->second.constants().library.nvls_channels > 0;
    const InnerRates inner = model->second.inner_rates(row.op, *shape);
    const LibraryConstants& library = model->second.constants().library;
    AcrossRow across{row, *shape, inner, &library, inside.start_in(row)};
    across.row.seconds -= across.start;
    if (!(across.row.seconds > 0.0))
      throw std::invalid_argument("a call of " + row.gpu + " took less than its start: " + row.source);
    by_fabric[{fabric_library(library), shape->protocol}].push_back(std::move(across));
  }
  return by_fabric;
}

/// Rows of one kind of set-up that is scored but not fitted.
struct UnusualRow {
  const AcrossRow* across;
  std::string set_up;
  SetUpRow usual;
};

/// Protocols of one library, fitted together.
class AcrossFit {
 public:
  using Rows = std::map<FabricKey, std::vector<AcrossRow>>;

  /// @param rows has every (library, protocol)
  AcrossFit(std::string library, std::vector<NicProtocol> protocols, const Rows& rows,
            const FabricConstants& prior)
      : library_(std::move(library)), protocols_(std::move(protocols)), prior_(prior) {
    for (const NicProtocol protocol : protocols_) {
      const std::vector<AcrossRow>& own = rows.at({library_, protocol});
      rows_.insert(rows_.end(), own.begin(), own.end());
    }
    fabrics_ =
        fit_fabrics(protocols_, rows_, prior_, std::vector<FabricConstants>(protocols_.size(), prior_));
  }

  const std::vector<FabricConstants>& fabrics() const { return fabrics_; }

  /// Profiles, and every row with its group left out. The effect of an unusual row's set-up is learned from
  /// the other groups that have it; what its tool adds, from the rows inside domains.
  void score(const Rows& unusual, const InsideFit& inside, const std::string& hash, CollectiveFits& fits) {
    std::map<Group, std::vector<const AcrossRow*>> groups;
    for (const AcrossRow& across : rows_) groups[group_of(across.row)].push_back(&across);
    std::map<NicProtocol, ErrorTable> tables;
    std::map<NicProtocol, std::set<std::string>> sources;
    for (const auto& [group, members] : groups) {
      std::vector<AcrossRow> others;
      std::copy_if(rows_.begin(), rows_.end(), std::back_inserter(others),
                   [&left = group](const AcrossRow& across) { return group_of(across.row) != left; });
      const std::vector<FabricConstants> without =
          fit_fabrics(protocols_, others, prior_, fabrics_, kLeftOutTolerance);
      for (const AcrossRow* across : members) {
        const size_t which = index_of(*across);
        const double alone = ratio(without[which], *across);
        const double fit = as_timed(ratio(fabrics_[which], *across), *across);
        const double left_out = as_timed(alone, *across);
        ErrorTable& table = tables[across->shape.protocol];
        table.add_fit(across->row, fit);
        table.add_left_out(across->row, left_out);
        sources[across->shape.protocol].insert(across->row.source);
        if (!is_of_the_goals(across->row)) continue;
        const double predicted = across->row.seconds * std::exp(alone);
        const double more = std::max(0.0, inside.tool_start(across->row.tool) - across->start);
        fits.scored.push_back({across->row, place(across->shape.protocol), fit, left_out, left_out,
                               std::log1p(more / (predicted + across->start))});
      }
    }
    score_unusual(unusual, fits);
    for (size_t i = 0; i < protocols_.size(); ++i) {
      const NicProtocol protocol = protocols_[i];
      std::vector<AcrossRow> own;
      std::copy_if(rows_.begin(), rows_.end(), std::back_inserter(own),
                   [&](const AcrossRow& across) { return across.shape.protocol == protocol; });
      FabricConstants fabric = fabrics_[i];
      add_hulls(fabric, own, tables[protocol].left_out());
      fits.profiles.push_back(profile_of(fabric_profile_name(library_, protocol), fabric_json(fabric),
                                         tables[protocol], sources[protocol], own.size(), hash));
    }
  }

 private:
  static double ratio(const FabricConstants& fabric, const AcrossRow& across) {
    return across_log_ratios(fabric, std::span(&across, 1)).front();
  }
  /// The same of what was measured, with the start that its call held.
  static double as_timed(double log_ratio, const AcrossRow& across) {
    const double seconds = across.row.seconds;
    return std::log((seconds * std::exp(log_ratio) + across.start) / (seconds + across.start));
  }
  size_t index_of(const AcrossRow& across) const {
    const auto found = std::find(protocols_.begin(), protocols_.end(), across.shape.protocol);
    return static_cast<size_t>(found - protocols_.begin());
  }
  std::string place(NicProtocol protocol) const {
    return library_.empty() ? std::string(name_of(protocol))
                            : fmt::format("{} ({})", name_of(protocol), library_);
  }

  void score_unusual(const Rows& unusual, CollectiveFits& fits) const {
    std::vector<UnusualRow> rows;
    std::map<Group, int> counts;
    for (const NicProtocol protocol : protocols_) {
      const auto found = unusual.find({library_, protocol});
      if (found == unusual.end()) continue;
      for (const AcrossRow& across : found->second) {
        const LibraryTime usual = fabric_time(fabrics_[index_of(across)], *across.library, across.row.op,
                                              across.row.bytes, across.shape, across.inner);
        ++counts[group_of(across.row)];
        rows.push_back({&across,
                        reason_not_fitted(across.row),
                        {std::log(usual.total / across.row.seconds), usual.transfer / usual.total, 1.0}});
      }
    }
    for (UnusualRow& row : rows)
      row.usual.weight = std::min(1.0, std::sqrt(kIndependentRows / counts[group_of(row.across->row)]));
    std::map<std::pair<std::string, Group>, SetUpEffect> effects;
    for (const UnusualRow& row : rows) {
      const Group group = group_of(row.across->row);
      if (!effects.contains({row.set_up, group})) {
        std::vector<SetUpRow> others;
        for (const UnusualRow& other : rows) {
          if (other.set_up == row.set_up && group_of(other.across->row) != group)
            others.push_back(other.usual);
        }
        effects[{row.set_up, group}] = fit_set_up(others);
      }
      if (!is_of_the_goals(row.across->row)) continue;
      const double bare = row.usual.log_ratio;
      // The links of a set-up that the fabric describes are in the prediction already.
      const double more =
          row.set_up == kNotAligned ? 0.0 : effects[{row.set_up, group}].log_effect(row.usual.transfer_share);
      fits.scored.push_back({row.across->row,
                             fmt::format("{} ({})", place(row.across->shape.protocol), row.set_up), bare,
                             bare, bare, more});
    }
  }

  std::string library_;
  std::vector<NicProtocol> protocols_;
  FabricConstants prior_;
  std::vector<AcrossRow> rows_;
  std::vector<FabricConstants> fabrics_;
};

}  // namespace

FittedProfile fit_domain_profile(const std::string& gpu, double scale_up_bandwidth,
                                 const std::vector<CollectiveRow>& rows, const std::string& hash) {
  return profile_gpu(fit_domain(gpu, scale_up_bandwidth, rows), rows, hash);
}

CollectiveFits fit_collective_profiles(const std::filesystem::path& data_folder,
                                       const std::filesystem::path& library_file) {
  const std::filesystem::path row_file = data_folder / "collectives.jsonl";
  const std::filesystem::path machine_file = data_folder / "collective_fabrics.json";
  const std::string hash =
      content_hash(read_text_file(row_file.string()) + read_text_file(machine_file.string()));
  const MeasuredMachines machines = read_measured_machines(machine_file);

  CollectiveFits fits;
  CollectiveRows read = read_collective_rows(row_file);
  fits.excepted = read.passed_over;
  std::vector<CollectiveRow> inside;
  std::vector<CollectiveRow> across;
  std::vector<CollectiveRow> unusual_rows;
  for (CollectiveRow& row : read.rows) {
    take_copy_out(row, machines);
    const std::string reason = reason_unused(row);
    if (!reason.empty()) {
      if (is_of_the_goals(row)) ++fits.excepted[reason];
    } else if (inside_one_domain(row, machines)) {
      inside.push_back(std::move(row));
    } else if (!reason_not_fitted(row).empty()) {
      unusual_rows.push_back(std::move(row));
    } else {
      across.push_back(std::move(row));
    }
  }
  const InsideFit domains(std::move(inside), machines);
  for (const MeasuredGpu& gpu : machines.gpus) {
    FittedProfile profile = domains.profile(gpu, hash, fits.scored);
    if (gpu.profile) fits.profiles.push_back(std::move(profile));
  }
  fits.profiles.push_back(domains.one_thread_profile(hash));
  std::map<std::string, NcclModel> models;  // by GPU, for what a domain leaves to groups that cross it
  const auto by_fabric = across_by_fabric(across, machines, domains, models, library_file, fits.excepted);
  const auto unusual = across_by_fabric(unusual_rows, machines, domains, models, library_file, fits.excepted);
  // The protocols of the goals teach one another; the others start from what InfiniBand's rows, the most,
  // taught.
  const std::vector<NicProtocol> together = {NicProtocol::infiniband, NicProtocol::roce, NicProtocol::efa};
  AcrossFit goals("", together, by_fabric, assumed_fabric(together.front()));
  goals.score(unusual, domains, hash, fits);
  for (const auto& [fabric, rows] : by_fabric) {
    const auto& [library, protocol] = fabric;
    if (library.empty() && std::find(together.begin(), together.end(), protocol) != together.end()) continue;
    AcrossFit(library, {protocol}, by_fabric, goals.fabrics().front()).score(unusual, domains, hash, fits);
  }
  return fits;
}

}  // namespace orrery
