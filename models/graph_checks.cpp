#include "models/graph_checks.hpp"

#include <string>
#include <string_view>
#include <utility>

#include "models/schedule.hpp"

namespace orrery {
namespace {

std::string names_of(const GraphScope& scope) {
  const bool has[] = {scope.attention, scope.moe_router, scope.moe_preprocess};
  std::string names;
  for (size_t i = 0; i < kGraphParts.size(); ++i) {
    if (has[i]) names += (names.empty() ? "" : ", ") + std::string(kGraphParts[i]);
  }
  return names;
}

}  // namespace

void check_graph_scope(const SpecReader& parallel, const ModelSpec& model, const TrainingSpec& training,
                       const SoftwareStack& stack, const ParallelPlan& plan) {
  const GraphScope& scope = stack.graph_scope;
  const std::string parent = parallel.pointer().substr(0, parallel.pointer().find_last_of('/'));
  if (stack.launch == Launch::cuda_graph && !scope.partial() && model.moe &&
      !(model.moe->capacity_factor && stack.moe.pads_to_capacity) &&
      stack.moe_dispatcher == MoeDispatcher::all_to_all) {
    parallel.problems().add(parent + "/software/launch", "\"cuda_graph\"",
                            "\"eager\", a graph_scope, or a capacity_factor of model.moe with moe_dispatcher "
                            "\"all_to_all\": the host waits there for the tokens that each expert gets");
  }
  if (!scope.partial()) return;
  const auto refuse = [&](const std::string& expected) {
    parallel.problems().add(parent + "/software/graph_scope", names_of(scope), expected);
  };
  const GraphScope& has = stack.graph_parts;
  if ((scope.attention && !has.attention) || (scope.moe_router && !has.moe_router) ||
      (scope.moe_preprocess && !has.moe_preprocess)) {
    refuse(std::string("\"full\"") + (has.partial() ? ", or of " + names_of(has) : "") +
           ": the parts that \"" + stack.name + "\" could graph in " + to_text(stack.date));
  } else if (!model.moe && scope.moe_router) {
    refuse(std::string(scope.attention ? "attention alone" : "attention, or \"full\"") +
           ": a dense model has no router (model.moe)");
  } else if (training.recompute == Recompute::full) {
    refuse("\"full\" with full recomputation, which a graph over a part of what is run again would cut");
  } else if (scope.moe_router && recomputes_module(training, "moe")) {
    refuse("no moe_router where the module \"moe\" is recomputed: it holds the router");
  } else if (splits_backward(plan.schedule)) {
    refuse("\"full\", or a schedule such as 1f1b that runs a whole backward, as a graph does");
  } else if (scope.moe_preprocess && model.moe->capacity_factor && !stack.moe.pads_to_capacity &&
             stack.moe_dispatcher == MoeDispatcher::all_to_all) {
    refuse("no moe_preprocess with a capacity factor: the host waits there for the tokens that are left");
  }
}

void check_blocking_launches(const SpecReader& parallel, const SoftwareStack& stack,
                             const ParallelPlan& plan) {
  if (!stack.blocking_launches) return;
  constexpr std::string_view kWhy = " with software.blocking_launches: no kernel runs beside another";
  const auto refuse = [&](std::string_view key, std::string_view found, std::string_view instead) {
    parallel.problems().add(parallel.pointer() + std::string(key), std::string(found),
                            std::string(instead) + std::string(kWhy));
  };
  if (stack.launch == Launch::cuda_graph && !stack.graph_scope.partial()) {
    const std::string parent = parallel.pointer().substr(0, parallel.pointer().find_last_of('/'));
    parallel.problems().add(parent + "/software/blocking_launches", "true",
                            "false with launch \"cuda_graph\": a graph of the iteration is one launch");
  }
  if (plan.zero == 3) return refuse("/zero", "3", "at most 2");
  if (plan.schedule == ScheduleKind::dualpipe) return refuse("/schedule", "\"dualpipe\"", "another schedule");
  const std::pair<std::string_view, bool> overlaps[] = {{"gradient", plan.overlap.gradient},
                                                        {"parameter", plan.overlap.parameter},
                                                        {"tensor", plan.overlap.tensor},
                                                        {"pipeline", plan.overlap.pipeline},
                                                        {"expert", plan.overlap.expert}};
  for (const auto& [kind, overlapped] : overlaps) {
    if (overlapped) refuse("/overlap/" + std::string(kind), "true", "false");
  }
}

void check_checked_collectives(const SpecReader& parallel, const SoftwareStack& stack) {
  if (!stack.checked_collectives) return;
  const std::string parent = parallel.pointer().substr(0, parallel.pointer().find_last_of('/'));
  const auto refuse = [&](std::string_view instead) {
    parallel.problems().add(parent + "/software/checked_collectives", "true", std::string(instead));
  };
  if (stack.host.per_check <= Seconds(0)) {
    refuse("false, or software.host.per_check: this framework's checks have no times");
  } else if (stack.launch == Launch::cuda_graph) {
    refuse("false with launch \"cuda_graph\": the host starts no collective of a graph");
  } else if (stack.collectives == "mpi") {
    refuse("false with collectives \"mpi\": PyTorch checks those of nccl, rccl and gloo only");
  }
}

}  // namespace orrery
