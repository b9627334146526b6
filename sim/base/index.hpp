#pragma once

#include <cstddef>
#include <cstdint>

namespace orrery {

/// Numbers of vertices, links and GPUs are 32-bit (there are millions of each); containers count in
/// std::size_t.
constexpr std::size_t index_of(std::int32_t number) { return static_cast<std::size_t>(number); }

}  // namespace orrery
