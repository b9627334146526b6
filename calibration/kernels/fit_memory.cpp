#include "calibration/kernels/fit_memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "calibration/kernels/log_error_fit.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {

MemoryFit fit_memory(const DeviceSpec& device, std::span<const DeviceSpec> devices,
                     const std::string& rates_path) {
  const Json value = read_json_file(rates_path);
  Problems problems(rates_path);
  const SpecReader root(value, "", problems);
  std::vector<double> shares;
  std::string names;
  bool own = false;
  const auto add = [&](double share, const std::string& source) {
    shares.push_back(share);
    names += fmt::format("{}{:.3g} ({})", names.empty() ? "" : ", ", share, source);
  };
  for (const SpecReader& row : root.at("streaming").elements()) {
    const std::string gpu = row.at("gpu").text();
    const auto measured = std::find_if(devices.begin(), devices.end(),
                                       [&](const DeviceSpec& other) { return other.name == gpu; });
    if (measured == devices.end()) {
      row.refuse_message(fmt::format("\"{}\" is no reference device", gpu));
      continue;
    }
    if (measured->architecture != device.architecture) continue;
    own = own || gpu == device.name;
    add(row.has("share") ? row.at("share").number(0.01, 1)
                         : row.at("rate").quantity<BytesPerSecond>() / measured->memory_bandwidth,
        gpu + ": " + row.at("source").text());
  }
  const SpecReader any = root.at("any_gpu");
  const bool known = !shares.empty();
  if (shares.size() < 2) add(any.at("share").number(0.01, 1), any.at("source").text());
  double sum = 0.0;
  for (const double share : shares) sum += std::log(share);

  MemoryFit fit;
  const double in_order = six_digits(std::exp(sum / static_cast<double>(shares.size())));
  fit.parameters.set_shares(in_order,
                            six_digits(in_order * root.at("scattered").at("over_streaming").number(0.01, 1)));
  fit.parameters.launch = any.at("launch").quantity<Seconds>();
  fit.relative_spread = 0.1;  // the shares of one architecture differ by this much and less
  fit.evidence = own ? Evidence::interpolated : known ? Evidence::extrapolated : Evidence::assumed;
  fit.source.text =
      fmt::format("geometric mean of {}; gathers: {}", names, root.at("scattered").at("source").text());
  if (fit.evidence == Evidence::assumed) fit.source.text = "assumed: " + fit.source.text;
  problems.throw_if_any();
  return fit;
}

}  // namespace orrery
