#pragma once

#include "models/step_plan.hpp"

namespace orrery {

/// Weakens the evidence of a plan's terms by that of its exchanges, and notes how wide these spread: the mean
/// of their relative spreads, weighted by their time. A term that has communication inside layers keeps that
/// one's. Loops note their own (note_loop_evidence).
void note_exchange_evidence(StepPlan& plan);

}  // namespace orrery
