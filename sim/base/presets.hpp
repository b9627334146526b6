#pragma once

#include <string>

#include "sim/base/json_reader.hpp"

namespace orrery {

/// The object that a value stands for wherever a preset may be named:
///   "NAME"                   data_root()/folder/NAME.json
///   {"preset": "NAME", ...}  the same with the other keys laid over it
///   {...}                    itself
/// Laid over means key by key: an object on an object merges, an object on a text (a preset named inside the
/// preset) becomes {"preset": TEXT, ...}, an object with its own "preset" and everything else replace what
/// was there.
///
/// Records at `reader` what is neither, and an unknown name with the nearest first; the result is then an
/// empty object. Read the result with a SpecReader of the same pointer and problems, so that refusals name
/// the user's file:
///   const Json whole = with_preset(reader, "models/presets");
///   const SpecReader model(whole, reader.pointer(), reader.problems());
/// @param preset_name  receives NAME, empty for an object without a preset; may be null
/// @throws InputError naming the preset's file if that cannot be parsed
Json with_preset(const SpecReader& reader, const std::string& folder, std::string* preset_name = nullptr);

/// Lays `changes` over `base` as above.
void lay_over(Json& base, const Json& changes);

}  // namespace orrery
