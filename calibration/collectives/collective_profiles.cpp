#include "calibration/collectives/collective_profiles.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "calibration/collectives/profile_json.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

template <size_t kCount>
std::array<double, kCount> numbers(const SpecReader& list) {
  std::array<double, kCount> values{};
  const std::vector<SpecReader> elements = list.elements();
  if (elements.size() != kCount) list.refuse("a list of " + std::to_string(kCount) + " numbers");
  for (size_t i = 0; i < std::min(kCount, elements.size()); ++i) values[i] = elements[i].number_above(0.0);
  return values;
}

int count(const SpecReader& value) { return static_cast<int>(value.integer(0, 1024)); }

bool starts_with(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

/// The entry of "gpus" with the first prefix that fits.
SpecReader gpu_entry(const SpecReader& root, std::string_view gpu) {
  const std::vector<SpecReader> entries = root.at("gpus").elements();
  for (const SpecReader& entry : entries) {
    if (starts_with(gpu, entry.at("prefix").text())) return entry;
  }
  root.at("gpus").refuse("a last entry with the empty prefix, for every other GPU");
  return root.at("gpus");
}

NicProtocol fitted_protocol(NicProtocol protocol) {
  return protocol == NicProtocol::omni_path ? NicProtocol::infiniband : protocol;
}

}  // namespace

LibraryConstants load_library_constants(std::string_view gpu, const std::filesystem::path& library_file) {
  const Json json = read_json_file(library_file.string());
  Problems problems(library_file.filename().string());
  const SpecReader root(json, "", problems);
  const std::string architecture = gpu_entry(root, gpu).at("architecture").text();
  LibraryConstants library;
  library.architecture = architecture;
  const SpecReader common = root.at("common");
  library.ring_base = numbers<3>(common.at("ring_base_s"));
  library.tree_base = numbers<3>(common.at("tree_base_s"));
  library.nvlink_ring_hop = numbers<3>(common.at("nvlink_ring_hop_s"));
  library.nvlink_tree_hop = numbers<3>(common.at("nvlink_tree_hop_s"));
  library.pci_ring_hop = numbers<3>(common.at("pci_ring_hop_s"));
  library.pci_tree_hop = numbers<3>(common.at("pci_tree_hop_s"));
  library.network_ring_hop = numbers<3>(common.at("network_ring_hop_s"));
  library.network_tree_hop = numbers<3>(common.at("network_tree_hop_s"));
  library.nvls_hop = common.at("nvls_hop_s").number_above(0.0);
  library.ring_share = numbers<3>(common.at("ring_share"));
  library.tree_pattern_share = common.at("tree_pattern_share").number_above(0.0);
  library.tree_ll_share = numbers<23>(common.at("tree_ll_share"));
  library.tree_ll128_share = numbers<23>(common.at("tree_ll128_share"));
  library.tree_simple_share = numbers<23>(common.at("tree_simple_share"));
  library.channel_buffer_bytes = numbers<3>(common.at("channel_buffer_bytes"));
  library.nvls_from_ranks = count(common.at("nvls_from_ranks"));
  library.nvls_from_bytes = common.at("nvls_from_bytes").number_above(0.0);
  library.ll_up_to_bytes = common.at("ll_up_to_bytes").number_above(0.0);
  library.ll128_up_to_bytes = common.at("ll128_up_to_bytes").number_above(0.0);
  bool found = false;
  for (const SpecReader& entry : root.at("architectures").elements()) {
    if (entry.at("architecture").text() != architecture) continue;
    found = true;
    if (entry.has("fabric_library")) library.fabric_library = entry.at("fabric_library").text();
    library.host_age = entry.at("host_age").number(-10.0, 10.0);
    library.usable_link_share = entry.at("usable_link_share").number_above(0.0);
    library.ll_limit = entry.at("ll_limit").number_above(0.0);
    library.ring_ll128_per_channel = entry.at("ring_ll128_per_channel").number_above(0.0);
    library.tree_per_channel = entry.at("tree_per_channel").number_above(0.0);
    library.tree_ll128_per_channel = entry.at("tree_ll128_per_channel").number_above(0.0);
    library.nvls_share = entry.at("nvls_share").number_above(0.0);
    library.pair_share = entry.at("pair_share").number_above(0.0);
    library.ring_channels = count(entry.at("ring_channels"));
    library.nvls_channels = count(entry.at("nvls_channels"));
    library.point_to_point_channels = count(entry.at("point_to_point_channels"));
  }
  if (!found) root.at("architectures").refuse_message("no entry for the architecture " + architecture);
  problems.throw_if_any();
  return library;
}

std::string fabric_library(const LibraryConstants& library) { return library.fabric_library; }

std::string fabric_profile_name(const std::string& library, NicProtocol protocol) {
  return "fabric-" + std::string(name_of(protocol)) + (library.empty() ? "" : "-" + library);
}

std::string profile_standing_for(std::string_view gpu, const std::filesystem::path& library_file) {
  const Json json = read_json_file(library_file.string());
  Problems problems(library_file.filename().string());
  const SpecReader root(json, "", problems);
  std::string profile = gpu_entry(root, gpu).at("profile").text();
  problems.throw_if_any();
  return profile;
}

CollectiveConstants load_collective_constants(std::string_view gpu, NicProtocol protocol,
                                              const std::filesystem::path& folder) {
  const std::filesystem::path library_file = folder / "nccl-library.json";
  CollectiveConstants constants;
  constants.library = load_library_constants(gpu, library_file);
  std::string sources;
  const std::string profile = profile_standing_for(gpu, library_file);
  if (!profile.empty()) {
    const ProfileOf<DomainConstants> domain = read_domain_profile(folder / (profile + ".json"));
    constants.domain = domain.constants;
    constants.domain.stands_in = profile != gpu;
    constants.domain_error = domain.error;
    sources = profile + " " + domain.hash;
  } else {
    sources = "NCCL's own formulas (" + constants.library.architecture + ")";
  }
  // A library of its own was measured on one protocol, which stands for the others.
  const std::string own = fabric_library(constants.library);
  const NicProtocol fitted = own.empty() ? fitted_protocol(protocol) : NicProtocol::roce;
  const std::string fabric_name = fabric_profile_name(own, fitted);
  const ProfileOf<FabricConstants> fabric = read_fabric_profile(folder / (fabric_name + ".json"));
  constants.fabric = fabric.constants;
  constants.fabric.protocol = protocol;
  constants.fabric.stands_in = fitted != protocol;
  constants.fabric_error = fabric.error;
  constants.profile_source = sources + ", " + fabric_name + " " + fabric.hash;
  return constants;
}

OneThreadConstants load_one_thread_constants() {
  const std::filesystem::path file = data_root() / "calibration/profiles/collectives/one-thread.json";
  const Json document = read_json_file(file.string());
  Problems problems(file.string());
  const SpecReader root(document, "", problems);
  root.only({"schema", "name", "rows", "hash", "sources", "constants"});
  root.at("schema").choice({"orrery.one_thread/2"});
  const OneThreadConstants constants = read_one_thread_profile(root);
  problems.throw_if_any();
  return constants;
}

void lay_over_domain(CollectiveConstants& constants, std::string_view gpu, const Json& section,
                     const std::string& file) {
  Problems problems(file);
  ProfileOf<DomainConstants> own = read_domain_profile(SpecReader(section, "/collectives", problems));
  problems.throw_if_any();
  if (own.constants.gpu != gpu) return;
  DomainConstants& domain = constants.domain;
  if (!domain.stands_in && domain.gpu == gpu) {
    for (const DomainCurve& curve : domain.curves) {
      const bool measured = std::any_of(
          own.constants.curves.begin(), own.constants.curves.end(),
          [&](const DomainCurve& other) { return other.op == curve.op && other.ranks == curve.ranks; });
      if (!measured) own.constants.curves.push_back(curve);
    }
  }
  domain = std::move(own.constants);
  constants.domain_error = std::max(constants.domain_error, own.error);
  constants.profile_source = fmt::format("{} {} over {}", file, own.hash, constants.profile_source);
}

CollectiveConstants load_collective_constants(std::string_view gpu, NicProtocol protocol) {
  return load_collective_constants(gpu, protocol, data_root() / "calibration/profiles/collectives");
}

}  // namespace orrery
