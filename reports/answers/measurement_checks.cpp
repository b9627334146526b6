#include "reports/answers/measurement_checks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "calibration/collectives/collective_rows.hpp"
#include "calibration/kernels/fit_memory.hpp"
#include "calibration/kernels/profile_tables.hpp"

namespace orrery {
namespace {

constexpr double kBeyondThePeak = 1.5;        // peaks are those of the boost clock
constexpr double kBeyondTheBandwidth = 10.0;  // of the memory; assumed: more than caches reach
constexpr double kBeyondTheLinks = 1.5;       // assumed: links have no boost clock, but rates are rounded

const DeviceSpec* device_named(const std::vector<DeviceSpec>& devices, const std::string& name) {
  const auto found = std::find_if(devices.begin(), devices.end(),
                                  [&name](const DeviceSpec& one) { return one.name == name; });
  return found == devices.end() ? nullptr : &*found;
}

void refuse(const std::string& place, Seconds found, double least, const std::string& why,
            std::vector<InputProblem>& problems) {
  problems.push_back({place, "/time_s", fmt::format("{}", found.base()),
                      fmt::format("seconds, about {:.2g} or more: {}", least, why), ""});
}

/// Names under which an attention row of the GPU can enter a table.
std::set<std::string> attention_names(const std::string& gpu, const KernelRules& rules) {
  std::set<std::string> names;
  for (const AttentionKernel kernel :
       {AttentionKernel::flash1, AttentionKernel::flash2, AttentionKernel::flash3, AttentionKernel::flash4,
        AttentionKernel::cudnn})
    names.emplace(name_of(kernel));
  for (const AttentionTable& rule : rules.attention_tables) {
    if (rule.gpu == gpu) names.insert(rule.tables.begin(), rule.tables.end());
  }
  return names;
}

bool has_rows(const std::vector<TableReport>& tables, std::string_view op, std::string_view subset) {
  return std::any_of(tables.begin(), tables.end(), [&](const TableReport& table) {
    return table.origin == TableOrigin::rows && table.op.starts_with(op) &&
           (subset.empty() || table.subset == subset);
  });
}

}  // namespace

void refuse_impossible_times(const MeasurementSet& set, const std::vector<DeviceSpec>& devices) {
  std::vector<InputProblem> problems;
  const auto check_work = [&](const MeasurementOrigin& row, Precision precision, Flops work, Seconds time,
                              const std::string& what) {
    const DeviceSpec* device = device_named(devices, row.gpu);
    const auto peak = device == nullptr ? std::nullopt : device->peak_for(precision);
    if (!peak) return;
    const double least = work.base() / peak->base();
    if (time.base() * kBeyondThePeak < least)
      refuse(row.place, time, least, fmt::format("{} takes that at the peak of {}", what, row.gpu), problems);
  };
  for (const GemmMeasurement& row : set.gemm)
    check_work(row, row.shape.precision, row.shape.flops(), row.time, "the product");
  for (const AttentionMeasurement& row : set.attention)
    check_work(row, row.shape.precision, attention_flops(row.shape), row.time,
               fmt::format("the call of {} heads (`heads`; 2048 / head size where it is left out)",
                           row.shape.heads));
  for (const MemoryMeasurement& row : set.memory) {
    const DeviceSpec* device = device_named(devices, row.gpu);
    if (device == nullptr || row.share) continue;
    const double least = (row.shape.traffic / device->memory_bandwidth).base();
    if (row.time.base() * kBeyondTheBandwidth < least)
      refuse(row.place, row.time, least, "its bytes take that at the bandwidth of " + row.gpu, problems);
  }
  if (!problems.empty()) throw InputError(std::move(problems));
}

void refuse_impossible_collectives(const MeasurementSet& set, const std::string& gpu, double nvlink) {
  std::vector<InputProblem> problems;
  for (const MeasurementLine& line : set.collectives) {
    Problems ignored(line.place);
    const CollectiveRow row = collective_row(SpecReader(line.json, "", ignored));
    if (row.gpu != gpu || row.nodes != 1 || row.ranks < 2 || nvlink <= 0.0) continue;
    // What every rank takes in at least, where switches reduce too.
    const bool keeps_its_own = row.op == CollectiveOp::all_gather || row.op == CollectiveOp::reduce_scatter ||
                               row.op == CollectiveOp::all_to_all;
    const double share = keeps_its_own ? (row.ranks - 1.0) / row.ranks : 1.0;
    const double least = share * row.bytes / nvlink;
    if (row.seconds * kBeyondTheLinks < least)
      refuse(line.place, Seconds(row.seconds), least, "its payload takes that over the NVLinks of " + gpu,
             problems);
  }
  if (!problems.empty()) throw InputError(std::move(problems));
}

std::vector<std::string> rows_in_no_table(const MeasurementSet& set, const DeviceSpec& device,
                                          const KernelRules& rules, const std::vector<TableReport>& tables) {
  std::map<std::string, int> unused;  // by what they are and why
  for (const GemmMeasurement& row : set.gemm) {
    if (row.gpu != device.name) continue;
    const std::string what = fmt::format("products in {}", name_of(row.shape.precision));
    if (!device.peak_for(row.shape.precision)) {
      ++unused[fmt::format("{}: {} has no matrix units for it", what, device.name)];
    } else if (row.campaign == Campaign::kernel) {
      ++unused[what + ": neither conditions (burst or sustained) nor a method that is known"];
    } else if (row.campaign != Campaign::peak_search && row.campaign != Campaign::random_loop &&
               !has_rows(tables, "gemm", name_of(row.shape.precision))) {
      ++unused[fmt::format("{}: a table needs {} of one kind", what, kFewestTableRows)];
    }
  }
  const std::set<std::string> names = attention_names(device.name, rules);
  for (const AttentionMeasurement& row : set.attention) {
    if (row.gpu != device.name) continue;
    if (names.count(row.kernel) == 0) {
      ++unused[fmt::format("attention of kernel {}: tables of {} take {}", row.kernel, device.name,
                           fmt::join(names, ", "))];
    } else if (attention_kernel_named(row.kernel) && !has_rows(tables, "attention", row.kernel)) {
      ++unused[fmt::format("attention of kernel {}: a table needs {}", row.kernel, kFewestTableRows)];
    }
  }
  for (const MemoryMeasurement& row : set.memory) {
    if (row.gpu == device.name && !row.share && !has_rows(tables, "memory", name_of(row.shape.kind)))
      ++unused[fmt::format("memory-bound kernels: a table needs {}", kFewestMemoryRows)];
  }
  std::vector<std::string> texts;
  texts.reserve(unused.size());
  for (const auto& [what, count] : unused)
    texts.push_back(fmt::format("{} line{} read, not fitted: {}", count, count == 1 ? "" : "s", what));
  return texts;
}

}  // namespace orrery
