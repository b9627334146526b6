#include "tests/architecture/layer_rules.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <sstream>

namespace orrery::testing {
namespace {

namespace fs = std::filesystem;
using Layers = std::set<std::string, std::less<>>;

constexpr int kMostLines = 700;
constexpr std::array<std::string_view, 6> kLayerFolders = {"sim",         "models",  "topologies",
                                                           "calibration", "reports", "kernels"};

/// What each layer may use besides itself.
///   reports > {models, topologies, calibration} > sim;  kernels stand alone
///   inside sim: base <- {workload, network} <- {cost, collectives} <- timeline <- {engine, run}
const std::map<std::string, Layers, std::less<>>& allowed_uses() {
  static const Layers below_engine = {"sim/base", "sim/workload",    "sim/network",
                                      "sim/cost", "sim/collectives", "sim/timeline"};
  static const Layers sim = [] {
    Layers all = below_engine;
    all.insert({"sim/engine", "sim/run"});
    return all;
  }();
  static const auto and_also = [](Layers layers, const Layers& more) {
    layers.insert(more.begin(), more.end());
    return layers;
  };
  static const std::map<std::string, Layers, std::less<>> uses = {
      {"sim/base", {}},
      {"sim/workload", {"sim/base"}},
      {"sim/network", {"sim/base"}},
      {"sim/cost", {"sim/base", "sim/workload"}},
      {"sim/collectives", {"sim/base", "sim/workload", "sim/network"}},
      {"sim/timeline", {"sim/base", "sim/workload", "sim/network", "sim/cost", "sim/collectives"}},
      {"sim/engine", below_engine},
      {"sim/run", below_engine},
      {"models", sim},
      {"topologies", sim},
      {"calibration", sim},
      {"calibration/least_squares", {}},
      {"calibration/kernels", and_also(sim, {"calibration", "calibration/least_squares"})},
      {"calibration/collectives", and_also(sim, {"calibration", "calibration/least_squares"})},
      {"calibration/stacks", and_also(sim, {"calibration", "calibration/least_squares"})},
      {"reports", and_also(sim, {"models", "topologies", "calibration", "calibration/kernels",
                                 "calibration/collectives", "calibration/stacks"})},
      {"kernels", {}},
  };
  return uses;
}

bool is_source(const fs::path& path) {
  static const std::set<std::string> extensions = {".hpp", ".cpp", ".h",   ".hh",  ".hxx", ".cc", ".cxx",
                                                   ".c",   ".cu",  ".cuh", ".inl", ".ipp", ".py"};
  return extensions.contains(path.extension().string());
}

/// The text with comments blanked, lines kept: an include in a comment is none, and one behind /**/ is one.
std::string without_comments(const std::string& text) {
  std::string kept = text;
  enum class State { code, line_comment, block_comment, string, character };
  State state = State::code;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    switch (state) {
      case State::code:
        if (c == '/' && next == '/') state = State::line_comment;
        if (c == '/' && next == '*') {
          state = State::block_comment;
          kept[i] = kept[i + 1] = ' ';
          ++i;
        }
        if (c == '"') state = State::string;
        // Not the separator in 1'000.
        if (c == '\'' && (i == 0 || std::isalnum(static_cast<unsigned char>(text[i - 1])) == 0))
          state = State::character;
        break;
      case State::line_comment:
        if (c == '\n') state = State::code;
        break;
      case State::block_comment:
        if (c == '*' && next == '/') {
          state = State::code;
          kept[i] = kept[i + 1] = ' ';
          ++i;
        }
        break;
      case State::string:
      case State::character:
        if (c == '\\') ++i;
        // A literal ends with its line at the latest, so that a stray quote cannot hide the rest of the file.
        if (c == (state == State::string ? '"' : '\'') || c == '\n') state = State::code;
        break;
    }
    const bool comment = state == State::line_comment || state == State::block_comment;
    if (comment && c != '\n') kept[i] = ' ';
  }
  return kept;
}

/// Path below the root of what an include names, if it lies in the project: tried beside the file first, as
/// compilers do.
std::string resolved(const fs::path& root, const fs::path& file, const std::string& name) {
  const fs::path beside = (file.parent_path() / name).lexically_normal();
  const fs::path from_root = fs::path(name).lexically_normal();
  const bool outside = beside.empty() || *beside.begin() == "..";
  if (!outside && fs::exists(root / beside)) return beside.generic_string();
  if (fs::exists(root / from_root) && *from_root.begin() != "..") return from_root.generic_string();
  // What does not exist is judged by its name all the same.
  return name.starts_with("..") && !outside ? beside.generic_string() : from_root.generic_string();
}

bool begins_with_any(std::string_view name, std::initializer_list<std::string_view> beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(),
                     [name](std::string_view b) { return name.starts_with(b); });
}

bool is_simgrid(std::string_view name) {
  return begins_with_any(name, {"simgrid", "xbt/", "xbt.h", "smpi/", "src/kernel/", "src/surf/"});
}

bool is_ceres(std::string_view name) { return name.starts_with("ceres/"); }

bool is_cuda(std::string_view name) {
  return begins_with_any(name, {"cuda",
                                "cublas",
                                "cudnn",
                                "cufft",
                                "cupti",
                                "curand",
                                "cusolver",
                                "cusparse",
                                "cutlass",
                                "cute/",
                                "cub/",
                                "thrust/",
                                "cooperative_groups",
                                "nccl",
                                "nvml",
                                "nvtx",
                                "nvToolsExt",
                                "nvrtc",
                                "mma.h",
                                "device_launch_parameters.h",
                                "vector_types.h"});
}

/// What is wrong with one include, or nothing.
std::optional<std::string> wrong_include(const fs::path& root, const fs::path& file,
                                         const std::string& name) {
  const std::string from = layer_of(file.generic_string());
  if (fs::path(name).is_absolute()) return "includes the absolute path " + name;
  if (is_simgrid(name) && from != "sim/engine")
    return "includes " + name + ": SimGrid is met in sim/engine only";
  if (is_ceres(name) && from != "calibration/least_squares")
    return "includes " + name + ": Ceres is met in calibration/least_squares only";
  if (is_cuda(name) && from != "kernels") return "includes " + name + ": CUDA is met in kernels only";
  const std::string target = resolved(root, file, name);
  const std::string first = fs::path(target).begin()->string();
  if (first == "tests") return "includes " + target + ": nothing includes tests/";
  const bool in_project = std::find(kLayerFolders.begin(), kLayerFolders.end(), first) != kLayerFolders.end();
  if (!in_project || target.find('/') == std::string::npos) return std::nullopt;
  const std::string to = layer_of(target);
  if (to.empty()) return "includes " + target + ", which lies in no layer";
  if (!may_use(from, to)) return "includes " + target + ": " + from + " may not use " + to;
  return std::nullopt;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

void check_file(const fs::path& root, const fs::path& file, std::vector<std::string>& broken) {
  std::ifstream stream(root / file, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  const std::string shown = file.generic_string();
  const size_t length = lines_of(text).size();
  if (length > kMostLines) {
    broken.push_back(shown + ":" + std::to_string(kMostLines + 1) + ": has " + std::to_string(length) +
                     " lines, " + std::to_string(kMostLines) + " are allowed");
  }
  if (*file.begin() == "tests" || file.extension() == ".py") return;
  if (layer_of(shown).empty())
    broken.push_back(shown + ":1: lies in no layer: add its folder to layer_rules.cpp");
  static const std::regex include(R"(^\s*(?:#|%:)\s*(?:include|include_next|import)\b\s*(.*?)\s*$)");
  static const std::regex named(R"re(^(?:"([^"]+)"|<([^>]+)>).*$)re");
  const std::vector<std::string> lines = lines_of(without_comments(text));
  for (size_t i = 0; i < lines.size(); ++i) {
    std::smatch match;
    if (!std::regex_match(lines[i], match, include)) continue;
    const std::string operand = match[1];
    std::smatch name;
    std::optional<std::string> wrong = "includes through a macro, which hides what is included";
    if (std::regex_match(operand, name, named)) {
      wrong = wrong_include(root, file, name[1].matched ? name[1].str() : name[2].str());
    }
    if (wrong) broken.push_back(shown + ":" + std::to_string(i + 1) + ": " + *wrong);
  }
}

}  // namespace

std::string layer_of(std::string_view path) {
  std::string longest;
  for (const auto& [layer, uses] : allowed_uses()) {
    if (path.starts_with(layer + "/") && layer.size() > longest.size()) longest = layer;
  }
  return longest;
}

bool may_use(std::string_view from, std::string_view to) {
  if (from == to) return true;
  const auto uses = allowed_uses().find(from);
  return uses != allowed_uses().end() && uses->second.contains(to);
}

std::vector<std::string> broken_rules(const fs::path& root) {
  std::vector<fs::path> files;
  std::vector<std::string_view> folders(kLayerFolders.begin(), kLayerFolders.end());
  folders.emplace_back("tests");
  for (const std::string_view folder : folders) {
    if (!fs::is_directory(root / folder)) continue;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root / folder)) {
      if (entry.is_regular_file() && is_source(entry.path()))
        files.push_back(entry.path().lexically_relative(root));
    }
  }
  std::sort(files.begin(), files.end());
  std::vector<std::string> broken;
  for (const fs::path& file : files) check_file(root, file, broken);
  return broken;
}

std::vector<std::string> broken_links(const std::vector<std::string>& edges) {
  std::vector<std::string> broken;
  for (const std::string& edge : edges) {
    std::istringstream stream(edge);
    std::string from;
    std::string user;
    std::string to;
    std::string used;
    stream >> from >> user >> to >> used;
    if (!may_use(layer_of(from + "/"), layer_of(to + "/"))) {
      std::ostringstream line;
      line << user << " (" << from << ") links " << used << " (" << to << ")";
      broken.push_back(line.str());
    }
  }
  return broken;
}

}  // namespace orrery::testing
