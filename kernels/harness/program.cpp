#include "kernels/harness/program.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>

#include "kernels/harness/cuda.hpp"
#include "kernels/harness/statistics.hpp"

namespace orrery::kernels {
namespace {

constexpr int kRefused = 2;
constexpr int kFailed = 1;
constexpr int kSkipped = 77;  // ctest's SKIP_RETURN_CODE

std::string formatted(const char* form, double value) {
  char text[64];
  std::snprintf(text, sizeof text, form, value);
  return text;
}

/// "812.3 TFLOP/s  82 % of 989 TFLOP/s", or nothing for work that has no rate.
std::string rate_text(const Ceiling& ceiling, double seconds) {
  if (ceiling.work <= 0) return {};
  const double unit = ceiling.flops ? 1e12 : 1e9;
  const char* name = ceiling.flops ? " TFLOP/s" : " GB/s";
  const double rate = ceiling.work / seconds;
  std::string text = "  " + formatted("%.1f", rate / unit) + name;
  if (ceiling.peak) {
    text += "  " + formatted("%.0f %%", 100 * rate / *ceiling.peak) + " of " +
            formatted("%.0f", *ceiling.peak / unit) + name;
  }
  return text;
}

std::string figure_text(const std::string& title, const Measured& measured, const Ceiling& ceiling) {
  const std::vector<double>& samples = measured.samples_s;
  const double middle = median(samples);
  std::string text = title + "  median " + formatted("%.4g ms", middle * 1e3) + "  [p5 " +
                     formatted("%.4g", quantile(samples, 0.05) * 1e3) + ", p95 " +
                     formatted("%.4g", quantile(samples, 0.95) * 1e3) +
                     "]  n=" + std::to_string(samples.size()) + rate_text(ceiling, middle);
  if (measured.board.clock_mhz) text += formatted("  SM %.0f MHz", *measured.board.clock_mhz);
  if (measured.board.power_w) text += formatted("  %.0f W", *measured.board.power_w);
  return text;
}

void add_common_options(CommonOptions* common, Options* options) {
  options->text("--gpu", &common->gpu, "NAME", "preset's name of this GPU, written into every line");
  options->text("--out", &common->out, "FILE", "append the lines to FILE (default: standard output)");
  options->number("--budget", &common->budget_s, 1, 86400,
                  "seconds after which measuring stops (default 60)");
  options->integer("--seed", &common->seed, 0, 1'000'000'000, "of the random operands (default 1)");
  options->integer("--device", &common->device, 0, 63, "index of the GPU (default 0)");
  options->flag("--quick", &common->quick, "fewer shapes and repeats: to see that everything works");
  options->flag("--check", &common->check, "only compare with the references");
}

int run_on_device(Program& program, const CommonOptions& common) {
  const int devices = device_count();
  if (devices == 0) {
    std::fprintf(stderr, "%s: no CUDA device\n", program.name().c_str());
    return common.check ? kSkipped : kFailed;
  }
  if (common.device >= devices) {
    throw OptionError(program.name() + ": --device: found " + std::to_string(common.device) +
                      ", expected less than " + std::to_string(devices) + ", the number of GPUs");
  }
  cuda_check(cudaSetDevice(static_cast<int>(common.device)));
  Session session(program.name(), common);
  program.check(session);
  session.say("checked against the references");
  if (!common.check) program.measure(session);
  return 0;
}

}  // namespace

Session::Session(std::string program, CommonOptions options)
    : program_(std::move(program)),
      options_(std::move(options)),
      begin_s_(steady_seconds()),
      device_(device_info(static_cast<int>(options_.device))),
      board_(device_.pci_bus_id),
      timer_(device_, &board_) {}

double Session::seconds_left() const { return options_.budget_s - (steady_seconds() - begin_s_); }

TimingOptions Session::timing(std::size_t remaining) const {
  TimingOptions timing;
  if (options_.quick) {
    timing.warmup = 2;
    timing.repeats = 10;
    timing.seconds = 0;
    timing.limit_s = 0.2;
    return timing;
  }
  const double share = seconds_left() / static_cast<double>(std::max<std::size_t>(remaining, 1));
  timing.limit_s = std::clamp(share, 0.05, 0.5);
  timing.seconds = std::min(timing.limit_s, 0.1);
  return timing;
}

Record Session::record(const std::string& op) const {
  Record record;
  record.set("gpu", options_.gpu).set("op", op);
  return record;
}

void Session::write(Record record, const std::string& title, const Measured& measured,
                    const LineNotes& notes) {
  if (measured.samples_s.empty()) {
    say(title + ": no line: every sample was dropped");
    return;
  }
  record.set("time_s", measured.median_s()).set("samples_s", measured.samples_s);
  record.set("method", notes.method + ", " + measured.timing);
  record.set("conditions", notes.conditions);
  measured.board.write(&record);
  record.set("driver", device_.driver).set("cuda", device_.cuda).set("library", notes.library);
  record.set("date", today());
  record.set("source", "measured: kernels/" + program_ + ", " + device_.name);
  const std::string line = record.json() + "\n";
  if (options_.out.empty()) {
    std::fputs(line.c_str(), stdout);
    std::fflush(stdout);
  } else {
    if (!file_.is_open()) file_.open(options_.out, std::ios::app);
    file_ << line << std::flush;
    if (!file_) throw DeviceError("cannot write to " + options_.out);
  }
  say(figure_text(title, measured, notes.ceiling));
}

void Session::say(const std::string& text) const {
  std::fprintf(stderr, "%s: %s\n", program_.c_str(), text.c_str());
}

int run_program(Program& program, int argc, char** argv) {
  try {
    CommonOptions common;
    Options options(program.name(), program.summary());
    add_common_options(&common, &options);
    program.add_options(options);
    options.parse(std::vector<std::string>(argv + 1, argv + argc));
    if (options.help_asked()) {
      std::fputs(options.help().c_str(), stdout);
      return 0;
    }
    if (common.gpu.empty() && !common.check) {
      throw OptionError(program.name() + ": --gpu is missing, expected the preset's name of this GPU");
    }
    program.prepare();
    return run_on_device(program, common);
  } catch (const OptionError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return kRefused;
  } catch (const CheckFailed& error) {
    std::fprintf(stderr, "%s: check failed: %s\n", program.name().c_str(), error.what());
    return kFailed;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", program.name().c_str(), error.what());
    return kFailed;
  }
}

Ceiling flops_ceiling(const DeviceInfo& device, const std::string& precision, double flops) {
  return {flops, peak_flops(device, precision), true};
}

Ceiling bytes_ceiling(const DeviceInfo& device, double bytes) {
  return {bytes, peak_memory_rate(device), false};
}

std::string bytes_text(double bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < std::size(kUnits)) {
    bytes /= 1024;
    ++unit;
  }
  return formatted("%.4g ", bytes) + kUnits[unit];
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", &utc);
  return text;
}

}  // namespace orrery::kernels
