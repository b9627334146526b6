#pragma once

#include <string>
#include <string_view>

namespace orrery {

/// 64-bit FNV-1a of the bytes as 16 hexadecimal digits: tells whether two inputs are the same file, not
/// whether somebody forged one. Source: Fowler, Noll, Vo; offset basis and prime as in draft-eastlake-fnv.
std::string content_hash(std::string_view content);

}  // namespace orrery
