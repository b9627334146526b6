#include "calibration/libraries/tuner_files.hpp"

#include <charconv>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "sim/base/data_files.hpp"
#include "sim/base/json_edit.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

constexpr double kMicrosecond = 1e-6;
constexpr double kGigabyte = 1e9;
constexpr double kMost = 1e6;  // no latency in us, speed in GB/s or count of the file is larger

std::filesystem::path tuner_file() {
  return data_root() / "calibration/profiles/collectives/nccl-tuner.json";
}

struct Version {
  int major = 0, minor = 0;
  auto operator<=>(const Version&) const = default;  // NOLINT(modernize-use-nullptr)
};

/// "2.21", "2.21.5", "2.21.5-1".
std::optional<Version> parse_version(std::string_view text) {
  Version version;
  const char* end = text.data() + text.size();
  auto [next, error] = std::from_chars(text.data(), end, version.major);
  if (error != std::errc() || next == end || *next != '.') return std::nullopt;
  const auto [last, second] = std::from_chars(next + 1, end, version.minor);
  if (second != std::errc() || version.major < 0 || version.minor < 0) return std::nullopt;
  for (const char* at = last; at != end; ++at) {
    const bool digit = *at >= '0' && *at <= '9';
    if (!digit && *at != '.' && *at != '-') return std::nullopt;
  }
  if (last != end && (*last == '-' || last + 1 == end)) return std::nullopt;
  return version;
}

/// Numbers of a list of known length, times a factor.
template <size_t n>
std::array<double, n> numbers(const SpecReader& reader, double factor = 1.0) {
  std::array<double, n> values{};
  const std::vector<SpecReader> elements = reader.elements();
  if (reader.is_list() && elements.size() != n) reader.refuse("a list of " + std::to_string(n) + " numbers");
  for (size_t i = 0; i < std::min(n, elements.size()); ++i)
    values[i] = factor * elements[i].number(0.0, kMost);
  return values;
}

std::vector<double> speeds(const SpecReader& reader) {
  std::vector<double> values;
  for (const SpecReader& element : reader.elements()) {
    const double speed = kGigabyte * element.number_above(0.0);
    if (!values.empty() && speed >= values.back()) element.refuse("a speed below the one before it", true);
    values.push_back(speed);
  }
  if (values.empty() && reader.is_list()) reader.refuse("at least one speed");
  return values;
}

double microseconds_of(const SpecReader& reader) { return kMicrosecond * reader.number(0.0, kMost); }
double gigabytes_per_second(const SpecReader& reader) { return kGigabyte * reader.number(0.0, kMost); }
int count_of(const SpecReader& reader) { return static_cast<int>(reader.integer(0, 1 << 20)); }

void read_hops(const SpecReader& reader, TunerConstants::Hops& hops) {
  reader.only({"tree", "ring", "collnet_direct", "collnet_chain", "nvls", "nvls_tree"});
  const auto place = [&](TunerAlgorithm algorithm) -> PerProtocol& {
    return hops[static_cast<size_t>(algorithm)];
  };
  place(TunerAlgorithm::tree) = numbers<3>(reader.at("tree"), kMicrosecond);
  place(TunerAlgorithm::ring) = numbers<3>(reader.at("ring"), kMicrosecond);
  for (const TunerAlgorithm algorithm : {TunerAlgorithm::collnet_direct, TunerAlgorithm::collnet_chain,
                                         TunerAlgorithm::nvls, TunerAlgorithm::nvls_tree}) {
    if (reader.has(name_of(algorithm))) place(algorithm)[2] = microseconds_of(reader.at(name_of(algorithm)));
  }
}

void read_base(const SpecReader& reader, TunerConstants& constants) {
  reader.only({"tree", "ring"});
  constants.tree_base = numbers<3>(reader.at("tree"), kMicrosecond);
  constants.ring_base = numbers<3>(reader.at("ring"), kMicrosecond);
}

void read_architecture(const SpecReader& reader, TunerConstants& constants) {
  reader.only({"usable_link_share", "graph_channels", "intra_speeds", "inter_speeds", "ll_limit",
               "ring_ll128_per_channel", "tree_ll128_per_channel", "tree_per_channel", "nvls_channels",
               "nvls_channels_across", "long_ring_latency_factor", "symmetric", "nvls_efficiency",
               "nvls_tree_per_channel"});
  constants.usable_link_share = reader.at("usable_link_share").number_above(0.0);
  constants.graph_channels = count_of(reader.at("graph_channels"));
  constants.intra_speeds = speeds(reader.at("intra_speeds"));
  constants.inter_speeds = speeds(reader.at("inter_speeds"));
  constants.ll_limit = gigabytes_per_second(reader.at("ll_limit"));
  constants.ring_ll128_per_channel = gigabytes_per_second(reader.at("ring_ll128_per_channel"));
  constants.tree_ll128_per_channel = numbers<3>(reader.at("tree_ll128_per_channel"), kGigabyte);
  constants.tree_per_channel = numbers<3>(reader.at("tree_per_channel"), kGigabyte);
  constants.nvls_channels = count_of(reader.at("nvls_channels"));
  constants.nvls_channels_across = count_of(reader.at("nvls_channels_across"));
  constants.long_ring_latency_factor = reader.at("long_ring_latency_factor").number(1.0, 10.0);
  if (reader.has("nvls_efficiency"))
    constants.nvls_efficiency = reader.at("nvls_efficiency").number_above(0.0);
  if (reader.has("nvls_tree_per_channel")) {
    constants.nvls_tree_per_channel = numbers<2>(reader.at("nvls_tree_per_channel"), kGigabyte);
  }
  if (!reader.has("symmetric")) return;
  const SpecReader kernels = reader.at("symmetric");
  kernels.only({"ll_base_us", "base_us", "per_sm", "peak_reduce", "peak_gather"});
  constants.symmetric = {microseconds_of(kernels.at("ll_base_us")), microseconds_of(kernels.at("base_us")),
                         gigabytes_per_second(kernels.at("per_sm")),
                         gigabytes_per_second(kernels.at("peak_reduce")),
                         gigabytes_per_second(kernels.at("peak_gather"))};
}

void read_by_vendor(const SpecReader& reader, TunerConstants& constants) {
  const SpecReader overhead = reader.at("network_overhead_us");
  overhead.only({"intel", "amd"});
  constants.network_overhead = {microseconds_of(overhead.at("intel")), microseconds_of(overhead.at("amd"))};
  const SpecReader across = reader.at("ll_limit_across");
  across.only({"intel", "amd"});
  constants.ll_limit_across = {numbers<2>(across.at("intel"), kGigabyte),
                               numbers<2>(across.at("amd"), kGigabyte)};
}

void read_constants(const SpecReader& reader, std::string_view architecture, TunerConstants& constants) {
  reader.only({"base_us", "pat_base_us", "hop_us", "network_overhead_us", "ring_ll_share", "ll_limit_across",
               "pat", "pat_share", "nvls_model", "symmetric", "tree_share", "threads", "bytes_per_thread",
               "duplication", "most_channels", "pair_ll_bytes_per_channel", "pair_channels",
               "architectures"});
  read_base(reader.at("base_us"), constants);
  constants.pat_base = microseconds_of(reader.at("pat_base_us"));
  const SpecReader hops = reader.at("hop_us");
  hops.only({"nvlink", "pci", "network"});
  read_hops(hops.at("nvlink"), constants.nvlink_hop);
  read_hops(hops.at("pci"), constants.pci_hop);
  read_hops(hops.at("network"), constants.network_hop);
  read_by_vendor(reader, constants);
  const SpecReader ll = reader.at("ring_ll_share");
  ll.only({"one_node_gather", "else"});
  constants.ring_ll_share_one_node = ll.at("one_node_gather").number_above(0.0);
  constants.ring_ll_share = ll.at("else").number_above(0.0);
  constants.offers_pat = reader.at("pat").boolean();
  constants.pat_share = reader.at("pat_share").number_above(0.0);
  constants.nvls_by_efficiency = reader.at("nvls_model").choice({"share", "efficiency"}) == 1;
  constants.offers_symmetric = reader.at("symmetric").boolean();
  constants.offers_nvls = true;
  constants.offers_collnet = true;
  const SpecReader share = reader.at("tree_share");
  share.only({"ll", "ll128", "simple"});
  constants.tree_share = {numbers<23>(share.at("ll")), numbers<23>(share.at("ll128")),
                          numbers<23>(share.at("simple"))};
  const std::array<double, 3> threads = numbers<3>(reader.at("threads"));
  for (size_t i = 0; i < threads.size(); ++i) constants.threads[i] = static_cast<int>(threads[i]);
  constants.bytes_per_thread = numbers<3>(reader.at("bytes_per_thread"));
  constants.duplication = count_of(reader.at("duplication"));
  constants.most_channels = count_of(reader.at("most_channels"));
  constants.pair_ll_bytes_per_channel = reader.at("pair_ll_bytes_per_channel").number(0.0, 1e12);
  constants.pair_channels = count_of(reader.at("pair_channels"));
  const SpecReader architectures = reader.at("architectures");
  if (architectures.is_object() && !architectures.has(architecture)) {
    std::vector<std::string> known;
    for (const auto& [name, values] : architectures.members()) known.push_back(name);
    reader.problems().add(architectures.pointer(), "no \"" + std::string(architecture) + "\"",
                          one_of(known, architecture));
    return;
  }
  read_architecture(architectures.at(architecture), constants);
}

std::vector<TunerConstants::Corner> corners(const SpecReader& reader) {
  std::vector<TunerConstants::Corner> read;
  for (const SpecReader& element : reader.elements()) {
    element.only({"ranks", "bytes"});
    read.push_back({element.at("ranks").number(2.0, kMost), element.at("bytes").number_above(0.0)});
  }
  if (read.empty() && reader.is_list()) reader.refuse("at least one corner");
  return read;
}

void read_regions(const SpecReader& reader, TunerConstants& constants) {
  reader.only({"source", "tree_ll_up_to_bytes", "tree_ll128_up_to", "nvls_tree_from"});
  reader.at("source").text();
  constants.region_tree_ll_up_to = reader.at("tree_ll_up_to_bytes").number_above(0.0);
  constants.region_tree_ll128_up_to = corners(reader.at("tree_ll128_up_to"));
  constants.region_nvls_tree_from = corners(reader.at("nvls_tree_from"));
}

SpecReader root_of(const Json& document, Problems& problems) {
  SpecReader root(document, "", problems);
  root.only({"schema", "description", "default_version", "versions", "ofi_regions", "rccl"});
  root.at("schema").choice({"orrery.nccl_tuner/1"});
  return root;
}

}  // namespace

TunerConstants load_nccl_tuner(std::string_view version, std::string_view architecture,
                               const std::filesystem::path& file) {
  const Json document = read_json_file(file.string());
  Problems problems(file.string());
  const SpecReader root = root_of(document, problems);
  const std::string wanted = version.empty() ? root.at("default_version").text() : std::string(version);
  const std::optional<Version> asked = parse_version(wanted);
  TunerConstants constants;
  constants.library = "nccl";
  constants.architecture = architecture;
  Json merged = Json::object();
  std::string first, last;
  for (const SpecReader& entry : root.at("versions").elements()) {
    entry.only({"from", "source", "constants"});
    const std::string from = entry.at("from").text();
    const std::optional<Version> since = parse_version(from);
    if (!since) entry.at("from").refuse("a version such as \"2.21\"");
    if (first.empty()) first = from;
    last = from;
    if (!asked || !since || *asked < *since) continue;
    constants.version = from;
    constants.source = entry.at("source").text();
    merge_members(merged, entry.at("constants").json());
  }
  problems.throw_if_any();
  const bool too_new = asked && *asked > parse_version(last).value_or(Version{});
  if (constants.version.empty() || too_new) {
    throw InputError(InputProblem{"NCCL's version", "", "\"" + wanted + "\"",
                                  "a version from " + first + " to " + last + ", such as \"" +
                                      (too_new ? last : first) + "\" or \"2.27.3\"",
                                  ""});
  }
  read_constants(SpecReader(merged, "/constants", problems), architecture, constants);
  read_regions(root.at("ofi_regions"), constants);
  problems.throw_if_any();
  return constants;
}

TunerConstants load_nccl_tuner(std::string_view version, std::string_view architecture) {
  return load_nccl_tuner(version, architecture, tuner_file());
}

TunerConstants load_rccl_tuner(const std::filesystem::path& file) {
  const Json document = read_json_file(file.string());
  Problems problems(file.string());
  const SpecReader reader = root_of(document, problems).at("rccl");
  reader.only({"source", "base_us", "hop_us", "bandwidth_share", "tree_share_beyond_two_nodes",
               "usable_link_share", "channels", "ll128"});
  TunerConstants constants;
  constants.library = "rccl";
  constants.version = "0cbce2a";
  constants.fixed_shares = true;
  constants.source = reader.at("source").text();
  read_base(reader.at("base_us"), constants);
  const SpecReader hops = reader.at("hop_us");
  hops.only({"xgmi", "network"});
  read_hops(hops.at("xgmi"), constants.nvlink_hop);
  constants.pci_hop = constants.nvlink_hop;
  read_hops(hops.at("network"), constants.network_hop);
  const SpecReader share = reader.at("bandwidth_share");
  share.only({"tree", "ring"});
  constants.ring_share = numbers<3>(share.at("ring"));
  constants.tree_share_two_nodes = numbers<3>(share.at("tree"));
  constants.tree_share_beyond = numbers<3>(reader.at("tree_share_beyond_two_nodes"));
  constants.usable_link_share = reader.at("usable_link_share").number_above(0.0);
  constants.offers_ll128 = reader.at("ll128").boolean();
  constants.graph_channels = std::max(1, count_of(reader.at("channels")));
  constants.pair_channels = constants.graph_channels;
  constants.threads = {256, 256, 256};
  constants.bytes_per_thread = {8, 8, 64};
  constants.pair_ll_bytes_per_channel = 16384;
  constants.ll_limit = 1e15;  // RCCL's shares are the limit
  constants.ll_limit_across = {{{1e15, 1e15}, {1e15, 1e15}}};
  problems.throw_if_any();
  return constants;
}

TunerConstants load_rccl_tuner() { return load_rccl_tuner(tuner_file()); }

}  // namespace orrery
