#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace orrery {

/// A command: its options are registered with the application, its action runs after parsing and returns the
/// exit code.
struct Command {
  CLI::App* app = nullptr;
  std::function<int()> run;
};

Command add_predict_command(CLI::App& application);
Command add_validate_command(CLI::App& application);
Command add_calibrate_command(CLI::App& application);
Command add_compare_command(CLI::App& application);
Command add_kernel_command(CLI::App& application);
Command add_presets_command(CLI::App& application);
Command add_scale_command(CLI::App& application);
Command add_topology_command(CLI::App& application);
Command add_traffic_command(CLI::App& application);
Command add_collective_command(CLI::App& application);

}  // namespace orrery
