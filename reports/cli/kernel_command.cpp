#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <vector>

#include "reports/answers/kernel.hpp"
#include "reports/answers/text_lines.hpp"
#include "reports/cli/commands.hpp"
#include "reports/cli/options.hpp"
#include "reports/cli/output.hpp"
#include "reports/cli/spooled_output.hpp"
#include "reports/writers/kernel_writer.hpp"
#include "sim/workload/memory_operators.hpp"

namespace orrery {
namespace {

struct KernelArguments {
  std::string gpu, input, op, shape, conditions = "sustained";
  /// Options that become a key of the line, by the key: "batch", "precision", ...
  std::vector<std::pair<std::string, std::string>> keys = {{"batch", ""}, {"precision", ""}, {"kernel", ""},
                                                           {"pass", ""},  {"causal", ""},    {"window", ""},
                                                           {"kind", ""},  {"bytes", ""}};
  CommonOptions common;
};

std::unique_ptr<KernelWriter> make_writer(OutputFormat format, const CostModel& model,
                                          const KernelOptions& options) {
  switch (format) {
    case OutputFormat::json:
      return std::make_unique<KernelJsonWriter>(kernel_document(model, options));
    case OutputFormat::csv:
      return std::make_unique<KernelCsvWriter>();
    case OutputFormat::text:
      break;
  }
  return std::make_unique<KernelTextWriter>(kernel_document(model, options));
}

/// Keys that the numbers of --shape stand for.
std::vector<std::string> shape_keys(const std::string& op) {
  if (op == "gemm") return {"m", "n", "k"};
  if (op == "attention") return {"batch", "seq_length", "heads", "kv_heads", "head_dim"};
  if (op == "memory") return {};
  return {"rows", "columns"};
}

/// A typed value as JSON: numbers and truth values as they are, anything else as a text that the reader
/// refuses.
std::string as_json(const std::string& text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool integer = error == std::errc() && end == text.data() + text.size();
  if (integer || text == "true" || text == "false") return integer ? std::to_string(number) : text;
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::vector<std::string> comma_separated(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

/// The line that --op and the options beside it stand for.
std::string line_of(const KernelArguments& arguments) {
  const std::vector<std::string> ops = kernel_op_names();
  if (std::find(ops.begin(), ops.end(), arguments.op) == ops.end()) {
    throw InputError(InputProblem{"--op", "", "\"" + arguments.op + "\"", one_of(ops, arguments.op, 60), ""});
  }
  std::string line = "{\"op\": " + as_json(arguments.op);
  const std::vector<std::string> names = shape_keys(arguments.op);
  if (!arguments.shape.empty()) {
    const std::vector<std::string> numbers = comma_separated(arguments.shape);
    const MemoryOperator* memory = memory_operator_named(arguments.op);
    const bool one_is_enough = memory != nullptr && memory->flat;
    const bool fits = numbers.size() == names.size() || (one_is_enough && numbers.size() == 1);
    if (!fits) {
      std::string wanted;
      for (const std::string& name : names) wanted += (wanted.empty() ? "" : ",") + name;
      throw InputError(InputProblem{"--shape", "", "\"" + arguments.shape + "\"",
                                    wanted.empty() ? "--bytes instead" : wanted, ""});
    }
    for (size_t i = 0; i < numbers.size(); ++i) {
      line += fmt::format(", \"{}\": {}", names[i], as_json(numbers[i]));
    }
  }
  for (const auto& [key, value] : arguments.keys) {
    if (!value.empty()) line += fmt::format(", \"{}\": {}", key, as_json(value));
  }
  return line + "}";
}

/// What the reader found at a key, said of the option that gave it.
InputProblem of_option(InputProblem problem, const KernelArguments& arguments) {
  const std::string key = problem.pointer.empty() ? "" : problem.pointer.substr(1);
  const std::vector<std::string> in_shape = shape_keys(arguments.op);
  const bool typed = std::any_of(arguments.keys.begin(), arguments.keys.end(), [&](const auto& option) {
    return option.first == key && !option.second.empty();
  });
  if (typed && problem.found == "an unknown key") {
    return {"--" + key, "", "", "", "is no option of --op " + arguments.op};
  }
  if (!typed && std::find(in_shape.begin(), in_shape.end(), key) != in_shape.end()) {
    problem.file = "--shape";
    return problem;
  }
  problem.file = key.empty() ? "--op" : "--" + key;
  problem.pointer.clear();
  return problem;
}

int answer_options(const KernelArguments& arguments, const CostModel& model, KernelWriter& writer) {
  const std::string line = line_of(arguments);
  KernelReader reader(model.device());
  KernelLine kernel;
  KernelAnswer answer;
  KernelProblems problems;
  if (reader.read(line, "--op", kernel, problems)) answer_kernel(model, kernel, "--op", answer, problems);
  try {
    problems.throw_if_any("--op");
  } catch (const InputError& error) {
    std::vector<InputProblem> by_option;
    for (const InputProblem& problem : error.problems()) by_option.push_back(of_option(problem, arguments));
    throw InputError(std::move(by_option));
  }
  std::string text;
  writer.head(text);
  writer.answer(kernel, answer, text);
  writer.tail(text);
  print_result(text);
  return kSuccess;
}

int answer_lines(const KernelArguments& arguments, const CostModel& model, KernelWriter& writer) {
  TextLines lines(arguments.input);
  KernelReader reader(model.device());
  KernelLine kernel;
  KernelAnswer answer;
  KernelProblems problems;
  SpooledOutput output;
  std::int64_t kernels = 0;
  writer.head(output.text());
  for (std::string_view line; lines.next(line);) {
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    ++kernels;
    const std::string place = lines.place();
    if (!reader.read(line, place, kernel, problems) ||
        !answer_kernel(model, kernel, place, answer, problems) || !problems.empty()) {
      continue;
    }
    writer.answer(kernel, answer, output.text());
    output.spill();
  }
  if (kernels == 0) problems.add({arguments.input, "", "no kernel", "a JSON object a line", ""});
  problems.throw_if_any(arguments.input);
  writer.tail(output.text());
  output.release();
  return kSuccess;
}

KernelOptions check_options(const KernelArguments& arguments, const RunOptions& run) {
  std::vector<InputProblem> problems;
  KernelOptions options;
  options.gpu = arguments.gpu;
  options.calibration = run.predict.calibration;
  options.tier = run.predict.tier;
  options.sustained = arguments.conditions != "burst";
  if (options.sustained && arguments.conditions != "sustained") {
    const std::vector<std::string> names = {"sustained", "burst"};
    problems.push_back(
        {"--conditions", "", "\"" + arguments.conditions + "\"", one_of(names, arguments.conditions), ""});
  }
  if (arguments.gpu.empty()) problems.push_back({"--gpu", "", "nothing", "a GPU's name or file", ""});
  if (arguments.input.empty() == arguments.op.empty()) {
    problems.push_back({"orrery kernel", "", arguments.op.empty() ? "neither" : "both of --input and --op",
                        "either --input or --op", ""});
  }
  const bool shaped =
      !arguments.shape.empty() || std::any_of(arguments.keys.begin(), arguments.keys.end(),
                                              [](const auto& option) { return !option.second.empty(); });
  if (!arguments.input.empty() && arguments.op.empty() && shaped) {
    problems.push_back({"--input", "", "", "", "--shape and what belongs to it go with --op"});
  }
  if (options.tier == Tier::datasheet && !options.sustained) {
    problems.push_back({"--conditions", "", "burst with --tier datasheet",
                        "--tier measured: datasheets know one clock", ""});
  }
  if (!problems.empty()) throw InputError(std::move(problems));
  return options;
}

int run_kernel(const KernelArguments& arguments) {
  const RunOptions run = check_common_options(arguments.common, EngineKind::estimate, Tier::measured);
  const KernelOptions options = check_options(arguments, run);
  Stopwatch watch(arguments.common.timing);
  const std::unique_ptr<CostModel> model = kernel_cost_model(options);
  const std::unique_ptr<KernelWriter> writer = make_writer(run.format, *model, options);
  watch.lap("profile");
  const int code = arguments.input.empty() ? answer_options(arguments, *model, *writer)
                                           : answer_lines(arguments, *model, *writer);
  watch.lap("kernels");
  return code;
}

void add_shape_options(CLI::App& command, KernelArguments& arguments) {
  command
      .add_option(
          "--op", arguments.op,
          "one kernel: gemm, attention, memory, or a memory-bound operator (rmsnorm, swiglu, adam, ...; "
          "an unknown one is answered with the list)")
      ->type_name("OP");
  command
      .add_option("--shape", arguments.shape,
                  "its dimensions: M,N,K of gemm; batch,seq_length,heads,kv_heads,head_dim of attention; "
                  "rows,columns of the others")
      ->type_name("N,N,...");
  const std::vector<std::pair<std::string, std::string>> help = {
      {"batch", "products alike (gemm; default 1)"},
      {"precision", "bf16 (default), fp16, tf32, fp32, fp8, fp8_current, fp8_block, mxfp8 or nvfp4"},
      {"kernel", "attention kernel: cudnn (default), flash1, flash2, flash3, flash4 or unfused"},
      {"pass", "forward (default) or backward"},
      {"causal", "attention under a causal mask: true (default) or false"},
      {"window", "sliding window of attention; 0 (default): none"},
      {"kind",
       "kind of --op memory: streaming (default), norm, loss, quantize, optimizer, gather, scatter, permute"},
      {"bytes", "bytes read and written by --op memory"}};
  for (auto& [key, value] : arguments.keys) {
    const auto text = std::find_if(help.begin(), help.end(),
                                   [&, name = key](const auto& each) { return each.first == name; });
    command.add_option("--" + key, value, text->second)->type_name("VALUE");
  }
}

}  // namespace

Command add_kernel_command(CLI::App& application) {
  auto arguments = std::make_shared<KernelArguments>();
  CLI::App* command =
      application.add_subcommand("kernel", "how long kernels take on a GPU, and on what that rests");
  command->add_option("--gpu", arguments->gpu, "the GPU: a preset's name, or a file")->type_name("NAME|FILE");
  command->add_option("--input", arguments->input, "kernels, a JSON object a line; - is standard input")
      ->type_name("SHAPES.jsonl|-");
  add_shape_options(*command, *arguments);
  command
      ->add_option("--conditions", arguments->conditions,
                   "sustained (default: the clocks of minutes of training) or burst (a microbenchmark's)")
      ->type_name("CONDITIONS");
  CommonOptions& common = arguments->common;
  command->add_option("--calibration", common.calibration, "profile to use; default: the GPU's")
      ->type_name("NAME|FILE");
  command->add_option("--tier", common.tier, "what the answers may rest on: measured (default) or datasheet")
      ->type_name("TIER");
  add_output_options(*command, common);
  return {command, [arguments] { return run_kernel(*arguments); }};
}

}  // namespace orrery
