#include "reports/writers/site_writer.hpp"

#include <fmt/format.h>

#include <cmath>

#include "reports/writers/json_text.hpp"
#include "reports/writers/text_table.hpp"

namespace orrery {
namespace {

double error_of(double residual) { return std::expm1(-residual); }

}  // namespace

std::string site_text(const LearnedSite& learned, size_t read, const std::string& out) {
  const SiteProfile& site = learned.profile;
  const std::string factors = text_of(site.model);
  std::string text = fmt::format("site profile of {} ({}), from {} of {} runs: {}\n", site.gpu, site.software,
                                 site.runs.size(), read, factors.empty() ? "all factors 1" : factors);
  text +=
      fmt::format("mean error at tier stack {}, each run predicted from those of other configurations {}\n",
                  percent(site.stack.mape), percent(site.left_out.mape));
  for (const std::string& warning : learned.warnings) text += "  warning  " + warning + "\n";
  TextTable table({"run", ">tier stack", ">from other configurations"});
  for (const SiteRun& run : site.runs)
    table.add({run.id, signed_percent(error_of(run.stack_residual)), signed_percent(error_of(run.residual))});
  return text + table.text() + fmt::format("written to {}: orrery predict ... --tier site={}\n", out, out);
}

Json site_json(const LearnedSite& learned, const std::string& out) {
  Json json = site_profile_json(learned.profile);
  json["file"] = out;
  json["warnings"] = learned.warnings;
  return json;
}

std::string site_csv(const SiteProfile& site) {
  std::string text = "id,stack_error,left_out_error\n";
  for (const SiteRun& run : site.runs) {
    text += csv_field(run.id) + "," + shortest_number(error_of(run.stack_residual)) + "," +
            shortest_number(error_of(run.residual)) + "\n";
  }
  return text;
}

}  // namespace orrery
