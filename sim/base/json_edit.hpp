#pragma once

#include <string_view>

#include "sim/base/json_reader.hpp"

namespace orrery {

/// Sets one value of a document, as `--set PATH=VALUE` does: set_json_path(doc, "cluster.nodes", "8").
///
/// Dots separate keys; where the document has a list, the key is the index of one of its elements. The value
/// parses as JSON, else it is text ("400 Gb/s", a preset's name); one that begins with { or [ must parse.
/// What is missing on the way is created as an object, and a text on the way, which names a preset, becomes
/// {"preset": TEXT}.
/// @throws InputError whose file is "--set PATH" if a key is empty, an index does not exist, something on the
/// way is
///     neither object, list nor text, or the path is deeper than 64; the document is then unchanged
void set_json_path(Json& document, std::string_view path, std::string_view value_text);

/// Lays the members of one object over another: objects merge, anything else replaces what was there. Unlike
/// lay_over no text stands for a preset here.
void merge_members(Json& base, const Json& changes);

}  // namespace orrery
