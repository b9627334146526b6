#include "sim/workload/collective.hpp"

#include <algorithm>
#include <array>

namespace orrery {
namespace {

/// In the order of GroupKind.
constexpr std::array<BreakdownTerm, 5> kExposedTerms = {
    BreakdownTerm::tensor_comm_exposed, BreakdownTerm::context_comm_exposed,
    BreakdownTerm::expert_comm_exposed, BreakdownTerm::data_comm_exposed,
    BreakdownTerm::pipeline_comm_exposed};

}  // namespace

std::string_view name_of(CollectiveOp op) {
  constexpr std::array<std::string_view, 6> kNames = {"all_reduce", "reduce_scatter", "all_gather",
                                                      "broadcast",  "all_to_all",     "send_receive"};
  return kNames.at(static_cast<size_t>(op));
}

std::string_view name_of(GroupKind kind) {
  constexpr std::array<std::string_view, 5> kNames = {"tensor", "context", "expert", "data", "pipeline"};
  return kNames.at(static_cast<size_t>(kind));
}

std::string_view name_of(BreakdownTerm term) {
  constexpr std::array<std::string_view, kBreakdownTerms> kNames = {"forward",
                                                                    "backward",
                                                                    "recompute",
                                                                    "tensor_comm_exposed",
                                                                    "context_comm_exposed",
                                                                    "expert_comm_exposed",
                                                                    "data_comm_exposed",
                                                                    "pipeline_comm_exposed",
                                                                    "pipeline_bubble",
                                                                    "optimizer",
                                                                    "input_exposed",
                                                                    "checkpoint_exposed",
                                                                    "other"};
  return kNames.at(static_cast<size_t>(term));
}

BreakdownTerm exposed_term(GroupKind kind) { return kExposedTerms.at(static_cast<size_t>(kind)); }

bool is_communication(BreakdownTerm term) {
  return std::find(kExposedTerms.begin(), kExposedTerms.end(), term) != kExposedTerms.end();
}

}  // namespace orrery
