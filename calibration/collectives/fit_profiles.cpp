#include "calibration/collectives/fit_profiles.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "calibration/collectives/collective_profiles.hpp"
#include "calibration/collectives/domain_fit.hpp"
#include "calibration/collectives/fabric_fit.hpp"
#include "calibration/collectives/profile_json.hpp"
#include "calibration/least_squares/least_squares.hpp"
#include "sim/base/hash.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

constexpr double kMebibyte = 1024.0 * 1024.0;
/// Of the one GPU that crosses domains in the rows without any inside one: six NVLink2 of 25 GB/s (vendor).
constexpr double kVoltaScaleUp = 150e9;

/// Rows that are left out together.
using Group = std::tuple<std::string, std::string, int>;
Group group_of(const CollectiveRow& row) { return {row.source, row.gpu, row.ranks}; }

/// Log ratios by operation, of all rows and of those from 1 MiB on.
class ErrorTable {
 public:
  void add_fit(const CollectiveRow& row, double ratio) {
    of(row).all.push_back(ratio);
    if (row.bytes >= kMebibyte) of(row).long_ones.push_back(ratio);
  }
  void add_left_out(const CollectiveRow& row, double ratio) {
    if (row.bytes >= kMebibyte) of(row).left_out.push_back(ratio);
  }
  std::vector<OperationErrors> errors() const {
    std::vector<OperationErrors> list;
    for (const auto& [op, ratios] : ratios_) {
      list.push_back({op, errors_of(ratios.all), errors_of(ratios.long_ones), errors_of(ratios.left_out)});
    }
    return list;
  }
  /// Geometric mean over all operations from 1 MiB on.
  double error() const {
    std::vector<double> all;
    for (const auto& [op, ratios] : ratios_)
      all.insert(all.end(), ratios.long_ones.begin(), ratios.long_ones.end());
    return errors_of(all).geometric_mean;
  }

 private:
  struct Ratios {
    std::vector<double> all, long_ones, left_out;
  };
  Ratios& of(const CollectiveRow& row) { return ratios_[row.op]; }
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
    entry["fit_from_1_MiB"] = one(errors.training_sizes);
    entry["left_out_from_1_MiB"] = one(errors.left_out);
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

FittedProfile fit_protocol(NicProtocol protocol, const std::vector<AcrossRow>& rows,
                           const std::string& hash) {
  const FabricConstants fabric = fit_fabric(protocol, rows);
  ErrorTable table;
  std::set<std::string> sources;
  std::set<Group> groups;
  for (const AcrossRow& across : rows) {
    sources.insert(across.row.source);
    groups.insert(group_of(across.row));
    table.add_fit(across.row, across_log_ratios(fabric, std::span(&across, 1)).front());
  }
  for (const Group& group : groups) {
    std::vector<AcrossRow> others;
    std::copy_if(rows.begin(), rows.end(), std::back_inserter(others),
                 [&](const AcrossRow& across) { return group_of(across.row) != group; });
    const FabricConstants without = fit_fabric(protocol, others);
    for (const AcrossRow& across : rows) {
      if (group_of(across.row) != group) continue;
      table.add_left_out(across.row, across_log_ratios(without, std::span(&across, 1)).front());
    }
  }
  return profile_of("fabric-" + std::string(name_of(protocol)), fabric_json(fabric), table, sources,
                    rows.size(), hash);
}

}  // namespace

FittedProfile fit_domain_profile(const std::string& gpu, double scale_up_bandwidth,
                                 const std::vector<CollectiveRow>& rows, const std::string& hash) {
  return profile_gpu(fit_domain(gpu, scale_up_bandwidth, rows), rows, hash);
}

std::vector<FittedProfile> fit_collective_profiles(const std::filesystem::path& data_folder,
                                                   const std::filesystem::path& library_file) {
  const std::filesystem::path row_file = data_folder / "collectives.jsonl";
  const std::filesystem::path machine_file = data_folder / "collective_fabrics.json";
  const std::string hash =
      content_hash(read_text_file(row_file.string()) + read_text_file(machine_file.string()));
  const MeasuredMachines machines = read_measured_machines(machine_file);

  std::map<std::string, std::vector<CollectiveRow>> inside;
  std::vector<CollectiveRow> across;
  for (CollectiveRow& row : read_collective_rows(row_file)) {
    if (!reason_unused(row).empty()) continue;
    if (inside_one_domain(row, machines)) {
      inside[row.gpu].push_back(std::move(row));
    } else {
      across.push_back(std::move(row));
    }
  }

  std::vector<FittedProfile> profiles;
  std::map<std::string, DomainConstants> domains;
  for (const MeasuredGpu& gpu : machines.gpus) {
    domains[gpu.name] = fit_domain(gpu.name, gpu.scale_up_bandwidth, inside[gpu.name]);
  }
  for (const MeasuredGpu& gpu : machines.gpus) {
    if (!gpu.pairs_from.empty()) borrow_pairs(domains[gpu.name], domains[gpu.pairs_from]);
    profiles.push_back(profile_gpu(domains[gpu.name], inside[gpu.name], hash));
  }

  std::map<std::string, NcclModel> models;  // by GPU, for what a domain leaves to groups that cross it
  std::map<NicProtocol, std::vector<AcrossRow>> by_protocol;
  for (const CollectiveRow& row : across) {
    std::optional<GroupShape> shape = shape_across(row, machines);
    if (!shape) continue;
    auto model = models.find(row.gpu);
    if (model == models.end()) {
      CollectiveConstants constants;
      constants.library = load_library_constants(row.gpu, library_file);
      const auto domain = domains.find(profile_standing_for(row.gpu, library_file));
      if (domain != domains.end()) constants.domain = domain->second;
      model = models.emplace(row.gpu, NcclModel(constants)).first;
    }
    shape->scale_up_bandwidth =
        BytesPerSecond(std::max(model->second.constants().domain.scale_up_bandwidth, kVoltaScaleUp));
    shape->in_network_reduction = model->second.constants().library.nvls_channels > 0;
    const InnerRates inner = model->second.inner_rates(row.op, *shape);
    by_protocol[shape->protocol].push_back({row, *shape, inner, &model->second.constants().library});
  }
  for (const auto& [protocol, rows] : by_protocol) profiles.push_back(fit_protocol(protocol, rows, hash));
  return profiles;
}

}  // namespace orrery
