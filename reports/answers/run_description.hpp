#pragma once

#include <string>

#include "sim/base/json_reader.hpp"

namespace orrery {

/// What a measured run's experiment says of itself before anything is checked: rows that are refused are
/// counted by it too.
///
/// @return "dense", "moe", "encoder" or "lora"
std::string model_kind(const Json& experiment);
/// The degrees above one, "tensor+pipeline+data"; "single" for one GPU.
std::string parallel_kind(const Json& experiment);
std::string precision_of(const Json& experiment);
/// Name of the cluster's GPU; "unknown" where the cluster is refused.
std::string gpu_of(const Json& experiment);

/// The parallel plan: all that `search` chooses, as canonical text. Two runs with one plan and one workload
/// are one configuration measured twice.
std::string plan_key(const Json& experiment);
/// Everything but plan and name: equal for runs that lay out the same step on the same GPUs and software.
/// That a run's collectives were checked on the way (software.checked_collectives) makes it no other
/// workload.
std::string workload_key(const Json& experiment);

/// A member of an object; null where either does not exist.
const Json& member_or_null(const Json& object, const char* key);

}  // namespace orrery
