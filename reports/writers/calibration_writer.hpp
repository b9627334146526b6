#pragma once

#include <string>

#include "reports/answers/calibrate.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {

/// @param out  the file that the profile was written to
std::string calibration_text(const Calibration& calibration, const std::string& out);
/// Schema orrery.calibration/1: the profile without its measured shapes, and `report`.
Json calibration_json(const Calibration& calibration, const std::string& out);
/// One line a table.
std::string calibration_csv(const Calibration& calibration);

/// How `--calibration` names the file: "./" before what it would take for a preset's name.
std::string calibration_argument(const std::string& out);

}  // namespace orrery
