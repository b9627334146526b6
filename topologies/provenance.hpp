#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/json_reader.hpp"

namespace orrery {

/// Where the values of a cluster came from, by dotted path ("node.nics.count").
struct Origins {
  std::map<std::string, std::string> by_path;  ///< "given" or "preset NAME"; what is not listed is a default
  /// Values in use whose source says "assumed": "node.host_link: 121 GB/s (assumed: ...)". For the report's
  /// warnings.
  std::vector<std::string> assumptions;

  const std::string& of(const std::string& path) const;
};

/// The text that a preset's "sources" gives for a path: that of the longest listed path that it lies at or
/// below, empty if there is none.
std::string source_of(const Json& sources, std::string_view path);

/// All values of a document by dotted path, in the file's order; lists count as one value. "sources" and
/// "note" are not values.
std::vector<std::pair<std::string, const Json*>> leaves_of(const Json& document);

/// Expands presets while a cluster is read, keeps what came from where, and holds
/// topologies/presets/defaults.json.
class Provenance {
 public:
  /// @throws InputError if defaults.json cannot be read
  explicit Provenance(Origins& origins);

  /// with_preset(), and the origin of every value of the result noted below `path`.
  Json expand(const SpecReader& value, const std::string& folder, const std::string& path,
              std::string* preset_name = nullptr);

  /// The value of defaults.json at `default_path`, noted as in use for `path`.
  SpecReader default_for(const std::string& default_path, const std::string& path);

  /// The member `key` of `object`, or else the default.
  SpecReader member_or_default(const SpecReader& object, std::string_view key,
                               const std::string& default_path, const std::string& path);

 private:
  void note_assumption(const std::string& path, const Json& value, const std::string& source);

  Origins& origins_;
  Json defaults_;
  Problems default_problems_;
};

}  // namespace orrery
