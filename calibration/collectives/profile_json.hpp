#pragma once

#include <filesystem>
#include <string>

#include "sim/base/json_reader.hpp"
#include "sim/collectives/collective_constants.hpp"

namespace orrery {

/// What a profile file holds beside its constants.
template <typename Constants>
struct ProfileOf {
  Constants constants;
  double error = 0;  ///< geometric mean over rows from 1 MiB on
  std::string hash;  ///< of the measurement file
};

/// @throws InputError
ProfileOf<DomainConstants> read_domain_profile(const std::filesystem::path& file);
ProfileOf<FabricConstants> read_fabric_profile(const std::filesystem::path& file);

/// The constants as JSON members, SI units.
Json domain_json(const DomainConstants& domain);
Json fabric_json(const FabricConstants& fabric);

}  // namespace orrery
