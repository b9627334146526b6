#pragma once

#include <string>

#include "reports/answers/learn_stacks.hpp"

namespace orrery {

/// @param read  runs of the file; those that the profile lacks were refused or of another GPU
/// @param out   the file that the profile was written to
std::string site_text(const LearnedSite& learned, size_t read, const std::string& out);
/// Schema orrery.site_profile/1, the profile itself, `file` and `warnings`.
Json site_json(const LearnedSite& learned, const std::string& out);
/// One line a run.
std::string site_csv(const SiteProfile& site);

}  // namespace orrery
