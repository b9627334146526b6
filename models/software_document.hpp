#pragma once

#include <string>
#include <vector>

#include "models/software_stack.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {

/// What one part of a stack's preset says about its values.
struct StackLayer {
  std::string
      origin;  ///< as results name it: "preset NAME", "preset NAME from 2024-01", "preset NAME, fusion none"
  Json values;
};

/// `software` laid out: the preset as of a date, and what was given beside its name.
struct StackDocument {
  std::string preset;
  std::vector<StackLayer> layers;  ///< of the preset; a later one wins over an earlier one
  Json sources = Json::object();   ///< of the layers' values, at the same places
  Json values = Json::object();    ///< all layers and what was given; empty if the preset was refused
};

/// Lays out a preset's name or {"preset": ..., overrides}; without a preset the default one.
///
/// A preset describes its framework from the month `since` on. `history` lists what changed later, oldest
/// first: {"from": "YYYY-MM", "changes": {keys of the stack}, "sources": {a text for each}}; the stack at a
/// date is the preset and all entries up to that month. `variants` lists the keys that differ when `fusion`
/// or `gradient_dtype` is not the preset's, with (`gradient_overlap` true) and without (false) the reduction
/// of bf16's gradients overlapped, where nothing gives their type, or under a `precision` recipe beyond fp8:
/// {"fusion": {"none": {...}}}; an entry of `history` may carry `variants` of its own, laid over the earlier
/// ones. Given keys win over all of them.
///
/// `recipes` say from which month on the framework has a format of 8 or 4 bits: without a date the stack is
/// of that month at least, with an earlier one the format is refused.
///
/// Refused at `reader`: an unknown preset (see with_preset), a date before `since`, a fusion whose kernels
/// the preset does not list (unless forward_passes and backward_passes are given), a recipe whose casts it
/// does not list (unless quantize_forward and quantize_backward are given), and the four keys above, which
/// belong in a preset.
/// @throws InputError naming the preset's file if its history or variants are not as described
StackDocument lay_out_software(const SpecReader& reader, const StackAsked& asked = {});

}  // namespace orrery
