#pragma once

#include <filesystem>
#include <string>

#include "sim/base/json_reader.hpp"
#include "sim/collectives/collective_constants.hpp"
#include "sim/collectives/one_thread.hpp"

namespace orrery {

/// What a profile file holds beside its constants.
template <typename Constants>
struct ProfileOf {
  Constants constants;
  double error = 0;  ///< geometric mean over rows from 1 MiB on
  std::string hash;  ///< of the measurement file
};

/// Reads the document of a domain's profile: a file, or the `collectives` of a calibration profile. Problems
/// go to the reader.
OneThreadConstants read_one_thread_profile(const SpecReader& root);
ProfileOf<DomainConstants> read_domain_profile(const SpecReader& root);
/// @throws InputError
ProfileOf<DomainConstants> read_domain_profile(const std::filesystem::path& file);
ProfileOf<FabricConstants> read_fabric_profile(const std::filesystem::path& file);

/// The constants as JSON members, SI units.
Json domain_json(const DomainConstants& domain);
Json fabric_json(const FabricConstants& fabric);
Json one_thread_json(const OneThreadConstants& constants);

}  // namespace orrery
