#pragma once

namespace orrery {

/// The project's version in CMakeLists.txt ("0.1.0"): part of every result.
const char* version();

}  // namespace orrery
