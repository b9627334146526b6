#pragma once

#include <string>

#include "sim/base/json_reader.hpp"
#include "tests/properties/dice.hpp"

namespace orrery {

/// A legal experiment (contract section 2) on at most 64 GPUs: cluster, model, training, software and
/// parallel plan drawn so that every rule of the contract holds, from all that the product models.
Json random_experiment(Dice& dice);

/// An experiment with one thing wrong.
struct BrokenExperiment {
  Json document;
  std::string fault;  ///< what was done, for the test's message
  std::string names;  ///< a text that the refusal must hold: the key or value at fault
};
/// Breaks a legal experiment in one way.
BrokenExperiment random_broken_experiment(Dice& dice);

}  // namespace orrery
