#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sim/base/json_reader.hpp"

namespace orrery {

/// Applies one `--set path.to.key=value` to an experiment document before it is validated (see
/// set_json_path). Below `training.recompute` a kind's name becomes {"kind": NAME}.
/// @throws InputError (file "--set ...") without a "=", or where set_json_path refuses
void apply_setting(Json& document, std::string_view assignment);

/// Applies all of them. @throws InputError with everything that is wrong with any
void apply_settings(Json& document, const std::vector<std::string>& assignments);

/// An experiment document and how messages name it.
struct ExperimentDocument {
  std::string file;
  Json json;
};

/// The document that a command-line argument names: "-" is standard input, an argument with "/" or ".json" a
/// file, any other the stem of a file in data_root()/examples.
/// @throws InputError if it cannot be read; for an unknown name with the nearest example
ExperimentDocument read_experiment_document(const std::string& argument);

}  // namespace orrery
