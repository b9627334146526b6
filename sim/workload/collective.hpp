#pragma once

#include <string_view>

#include "sim/base/quantity.hpp"

namespace orrery {

enum class CollectiveOp { all_reduce, reduce_scatter, all_gather, broadcast, all_to_all, send_receive };
std::string_view name_of(CollectiveOp op);

/// Which parallel dimension a communication serves.
enum class GroupKind { tensor, context, expert, data, pipeline };
constexpr int kGroupKinds = 5;
std::string_view name_of(GroupKind kind);

/// Where the time of a step goes (contract section 3.1, breakdown_s), in the order of the report.
enum class BreakdownTerm {
  forward,
  backward,
  recompute,
  tensor_comm_exposed,
  context_comm_exposed,
  expert_comm_exposed,
  data_comm_exposed,
  pipeline_comm_exposed,
  pipeline_bubble,
  optimizer,
  input_exposed,
  checkpoint_exposed,
  other
};
inline constexpr int kBreakdownTerms = 13;
std::string_view name_of(BreakdownTerm term);
/// tensor -> tensor_comm_exposed and so on.
BreakdownTerm exposed_term(GroupKind kind);
/// Whether it is the exposed communication of a kind of group.
bool is_communication(BreakdownTerm term);

}  // namespace orrery
