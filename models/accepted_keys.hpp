#pragma once

#include <array>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>

#include "sim/base/json_reader.hpp"

namespace orrery {

/// What of an experiment was accepted so far, for checks of several keys against one another. A refused value
/// has a stand-in, and a check against that would report problems that the input does not have; checks that
/// do not read it run all the same, so that everything that is wrong with a file is listed at once.
class AcceptedKeys {
 public:
  /// @param plan reader of `parallel`; the other sections stand beside it
  explicit AcceptedKeys(const SpecReader& plan);
  /// Whether all of these sections were accepted whole, and no unknown one was given, which may be any of
  /// them misspelt.
  bool sections(std::initializer_list<std::string_view> names) const;
  /// Whether these keys of `parallel` were accepted, and no unknown one, which may be any of them misspelt.
  bool plan(std::initializer_list<std::string_view> keys) const;
  bool whole_plan() const { return keys_.empty(); }

 private:
  std::set<std::string> sections_, keys_;  ///< refused ones
};

/// What stands beside `parallel` in an experiment, and it itself.
inline constexpr auto kExperimentKeys = std::to_array<std::string_view>(
    {"schema", "name", "cluster", "model", "training", "software", "parallel", "measured", "calibration"});
/// Keys of `parallel`.
inline constexpr auto kPlanKeys = std::to_array<std::string_view>(
    {"tensor", "pipeline", "context", "expert", "expert_tensor", "data", "sequence", "interleave", "schedule",
     "stage_layers", "context_method", "zero", "shard_group", "overlap", "bucket", "placement"});

}  // namespace orrery
