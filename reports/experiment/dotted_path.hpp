#pragma once

#include <string>

namespace orrery {

/// "parent.key", or the key alone at the top: how --set, CSV columns and preset listings name a place.
inline std::string dotted_path(const std::string& parent, const std::string& key) {
  std::string path = parent;
  if (!path.empty()) path += '.';
  return path += key;
}

}  // namespace orrery
