#include "calibration/collectives/collective_rows.hpp"

#include <algorithm>
#include <array>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

constexpr std::array kProtocols = {NicProtocol::infiniband, NicProtocol::roce, NicProtocol::ethernet,
                                   NicProtocol::slingshot,  NicProtocol::efa,  NicProtocol::omni_path};

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// Launches and starts show below this (is_held_up_by_launches).
constexpr double kHidden = 64.0 * 1024.0 * 1024.0;

std::string optional_text(const SpecReader& line, std::string_view key) {
  return line.has(key) ? line.at(key).text() : std::string();
}

}  // namespace

CollectiveRow collective_row(const SpecReader& line) {
  constexpr std::array<std::pair<std::string_view, CollectiveOp>, 7> kRowOps = {
      {{"all_reduce", CollectiveOp::all_reduce},
       {"reduce_scatter", CollectiveOp::reduce_scatter},
       {"all_gather", CollectiveOp::all_gather},
       {"broadcast", CollectiveOp::broadcast},
       {"all_to_all", CollectiveOp::all_to_all},
       {"send_receive", CollectiveOp::send_receive},
       {"send_recv", CollectiveOp::send_receive}}};
  CollectiveRow row;
  row.op = line.at("op").choice_of<CollectiveOp>(kRowOps);
  row.ranks = static_cast<int>(line.at("ranks").integer(1, 1 << 20));
  row.nodes = static_cast<int>(line.at("nodes").integer(1, 1 << 20));
  row.gpus_per_node = line.has("gpus_per_node")
                          ? static_cast<int>(line.at("gpus_per_node").integer(1, 1 << 10))
                          : std::max(1, row.ranks / row.nodes);
  if (line.has("gpus_per_thread"))
    row.gpus_per_thread = static_cast<int>(line.at("gpus_per_thread").integer(1, row.gpus_per_node));
  if (line.has("calls_in_a_row"))
    row.calls_in_a_row = static_cast<double>(line.at("calls_in_a_row").integer(1, 1 << 20));
  if (line.has("copies_payload")) row.copies_payload = line.at("copies_payload").boolean();
  row.bytes = line.at("bytes").number_above(0.0);
  row.seconds = line.at("time_s").number_above(0.0);
  row.gpu = line.at("gpu").text();
  row.fabric = optional_text(line, "fabric");
  row.tool = line.has("tool") ? line.at("tool").text() : "nccl-tests";
  row.library_version = optional_text(line, "nccl");
  row.source = line.at("source").text();
  row.algorithm = optional_text(line, "algorithm");
  row.note = optional_text(line, "note");
  row.thread_inferred = contains(row.note, "one thread for four GPUs, inferred");
  // Four pairs that exchange at once are four groups of two ranks.
  if (contains(row.note, "mutual pairs")) row.ranks = 2;
  return row;
}

CollectiveRows read_collective_rows(const std::filesystem::path& file) {
  CollectiveRows read;
  std::istringstream lines(read_text_file(file.string()));
  std::string text;
  for (int number = 1; std::getline(lines, text); ++number) {
    if (text.empty()) continue;
    const std::string place = file.filename().string() + ":" + std::to_string(number);
    const Json json = parse_json(text, place);
    Problems problems(place);
    const SpecReader line(json, "", problems);
    if (const std::string op = line.at("op").text(); op.starts_with("ep_")) {
      ++read.passed_over["expert exchange (" + op + ")"];
    } else if (!line.has("bytes")) {
      ++read.passed_over["no payload stated"];
    } else if (!line.has("time_s")) {
      ++read.passed_over["no time stated"];
    } else {
      read.rows.push_back(collective_row(line));
    }
    problems.throw_if_any();
  }
  return read;
}

MeasuredMachines read_measured_machines(const std::filesystem::path& file) {
  const Json json = read_json_file(file.string());
  Problems problems(file.filename().string());
  const SpecReader root(json, "", problems);
  root.only({"description", "one_domain", "payload_efficiency", "fabrics", "gpus"});
  std::array<std::string_view, kProtocols.size()> names;
  std::transform(kProtocols.begin(), kProtocols.end(), names.begin(),
                 [](NicProtocol p) { return name_of(p); });

  MeasuredMachines machines;
  for (const SpecReader& text : root.at("one_domain").elements()) machines.one_domain.push_back(text.text());
  for (const SpecReader& entry : root.at("fabrics").elements()) {
    entry.only({"fabric", "protocol", "nics_per_node", "nic_gigabits", "host_link", "gpus_per_node",
                "gpus_per_domain", "source"});
    MeasuredFabric fabric;
    fabric.text = entry.at("fabric").text();
    fabric.protocol = kProtocols[entry.at("protocol").choice(std::span<const std::string_view>(names))];
    fabric.nics_per_node = static_cast<int>(entry.at("nics_per_node").integer(1, 256));
    fabric.nic_rate = gigabits_per_second(entry.at("nic_gigabits").number_above(0.0)).base();
    if (entry.has("host_link")) fabric.host_link = entry.at("host_link").number_above(0.0);
    fabric.payload_efficiency =
        root.at("payload_efficiency").at(name_of(fabric.protocol)).at("value").number_above(0.0);
    fabric.gpus_per_node = static_cast<int>(entry.at("gpus_per_node").integer(1, 256));
    fabric.gpus_per_domain = static_cast<int>(entry.at("gpus_per_domain").integer(1, 4096));
    machines.fabrics.push_back(std::move(fabric));
  }
  for (const SpecReader& entry : root.at("gpus").elements()) {
    entry.only({"gpu", "scale_up_bandwidth", "generation", "gpus_per_domain", "gpus_per_host", "mesh_gpus",
                "in_network_reduction", "copy_bandwidth", "profile", "pairs_from", "source"});
    MeasuredGpu gpu;
    gpu.name = entry.at("gpu").text();
    gpu.scale_up_bandwidth = entry.at("scale_up_bandwidth").number_above(0.0);
    gpu.generation = entry.at("generation").text();
    gpu.gpus_per_domain = static_cast<int>(entry.at("gpus_per_domain").integer(2, 4096));
    if (entry.has("gpus_per_host"))
      gpu.gpus_per_host = static_cast<int>(entry.at("gpus_per_host").integer(1, 4096));
    if (entry.has("mesh_gpus")) gpu.mesh_gpus = static_cast<int>(entry.at("mesh_gpus").integer(2, 4096));
    if (entry.has("in_network_reduction"))
      gpu.in_network_reduction = entry.at("in_network_reduction").boolean();
    if (entry.has("copy_bandwidth")) gpu.copy_bandwidth = entry.at("copy_bandwidth").number_above(0.0);
    if (entry.has("profile")) gpu.profile = entry.at("profile").boolean();
    gpu.pairs_from = optional_text(entry, "pairs_from");
    machines.gpus.push_back(std::move(gpu));
  }
  problems.throw_if_any();
  return machines;
}

const MeasuredGpu& MeasuredMachines::gpu(std::string_view name) const {
  const auto found =
      std::find_if(gpus.begin(), gpus.end(), [&](const MeasuredGpu& g) { return g.name == name; });
  if (found == gpus.end()) throw std::invalid_argument("no measured GPU is called " + std::string(name));
  return *found;
}

std::string reason_unused(const CollectiveRow& row) {
  constexpr double kMebibyte = 1024.0 * 1024.0;
  if (row.note.starts_with("same table as")) return "printed in another source too";
  if (contains(row.fabric, "degraded") || contains(row.note, "degraded")) return "degraded set-up";
  if (contains(row.note, "forced") || contains(row.algorithm, "forced") ||
      contains(row.algorithm, "NCCL_ALGO") || contains(row.algorithm, "MIN_CTAS") ||
      contains(row.algorithm, "NVLS off)") || contains(row.algorithm, "TREE_THRESHOLD") ||
      contains(row.note, "before tuning")) {
    return "forced settings";
  }
  if (contains(row.note, "smallest time over all sizes")) return "floor without a size";
  if (contains(row.note, "has XLA start-up")) return "start-up of the tool";
  if (contains(row.note, "one way i->i+n/2")) return "half of the ranks send";
  if (contains(row.note, "slower small-message host") && row.bytes < 16.0 * kMebibyte) return "slow host";
  if (contains(row.algorithm, "SHARP") || contains(row.fabric, "SHARP")) return "in-network reduction";
  if (contains(row.gpu, "unspecified") || row.gpu == "see note") return "hardware not named";
  if (row.gpu == "l40s") return "not credible";
  if (contains(row.note, "op uncertain")) return "operation uncertain";
  return {};
}

std::string reason_not_fitted(const CollectiveRow& row) {
  if (contains(row.note, "aws-ofi 1.7.3") || contains(row.note, "older NCCL and plugin"))
    return "outdated plugin";
  if (row.fabric.starts_with("EFA") && row.library_version.starts_with("2.9.")) return "outdated plugin";
  // Their GPUs do not reach their NICs through a switch of their own (host_link of collective_fabrics.json).
  if (contains(row.source, "google/dranet")) return std::string(kNotAligned);
  return {};
}

bool is_held_up_by_launches(const CollectiveRow& row) {
  return row.gpus_per_thread > 1 && row.bytes < kHidden;
}

bool holds_its_start(const CollectiveRow& row) {
  return row.calls_in_a_row < kCallsInARow && row.bytes < kHidden;
}

void take_copy_out(CollectiveRow& row, const MeasuredMachines& machines) {
  if (!row.copies_payload) return;
  const double bandwidth = machines.gpu(row.gpu).copy_bandwidth;
  if (!(bandwidth > 0.0)) throw std::invalid_argument("how fast a " + row.gpu + " copies is not known");
  row.seconds -= 2.0 * row.bytes / bandwidth;
  if (!(row.seconds > 0.0))
    throw std::invalid_argument("a call of a " + row.gpu +
                                " took less than the copy of its payload: " + row.source);
}

bool inside_one_domain(const CollectiveRow& row, const MeasuredMachines& machines) {
  return row.nodes == 1 || std::find(machines.one_domain.begin(), machines.one_domain.end(), row.fabric) !=
                               machines.one_domain.end();
}

std::optional<GroupShape> shape_across(const CollectiveRow& row, const MeasuredMachines& machines) {
  const auto fabric = std::find_if(machines.fabrics.begin(), machines.fabrics.end(),
                                   [&](const MeasuredFabric& f) { return f.text == row.fabric; });
  if (fabric == machines.fabrics.end()) return std::nullopt;
  GroupShape shape;
  shape.ranks = row.ranks;
  shape.nodes = row.nodes;
  shape.ranks_per_domain = fabric->gpus_per_domain > fabric->gpus_per_node
                               ? std::min(fabric->gpus_per_domain, row.ranks)
                               : std::max(1, row.ranks / row.nodes);
  shape.domains = (row.ranks + shape.ranks_per_domain - 1) / shape.ranks_per_domain;
  shape.scale_up = ScaleUpKind::nvswitch;
  shape.protocol = fabric->protocol;
  shape.nic_bandwidth = BytesPerSecond(fabric->nic_rate);
  double rate = fabric->nic_rate * fabric->nics_per_node / fabric->gpus_per_node;
  if (fabric->host_link > 0.0) rate = std::min(rate, fabric->host_link);
  shape.scale_out_per_rank = BytesPerSecond(rate * fabric->payload_efficiency);
  return shape;
}

}  // namespace orrery
