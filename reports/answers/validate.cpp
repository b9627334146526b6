#include "reports/answers/validate.hpp"

#include <algorithm>
#include <exception>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "reports/answers/run_description.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/hash.hpp"
#include "sim/engine/child_process.hpp"

namespace orrery {
namespace {

constexpr const char* kShippedRuns = "calibration/data/runs.jsonl";

std::string text_or(const Json& object, const char* key, const std::string& otherwise) {
  const auto member = object.find(key);
  return member != object.end() && member->is_string() ? member->get<std::string>() : otherwise;
}

/// What notes call a figure with everything on the GPU.
bool says_whole_gpu(const std::string& note) {
  return note.find("nvidia-smi") != std::string::npos || note.find("whole GPU") != std::string::npos;
}

RunRecord read_record(const Json& json, const std::string& place, std::vector<InputProblem>& refused) {
  Problems problems(place);
  const SpecReader reader(json, "", problems);
  RunRecord record;
  record.file = place;
  if (!reader.is_object()) {
    reader.refuse("an object with id, source_group, experiment and measured");
  } else {
    record.id = reader.at("id").text();
    record.source_group = reader.at("source_group").text();
    record.confidence = text_or(json, "confidence", "");
    record.note_says_whole_gpu = says_whole_gpu(text_or(json, "note", ""));
    for (const char* key : {"experiment", "measured"}) {
      if (!reader.at(key).is_object()) reader.at(key).refuse("an object");
    }
    if (problems.empty()) {
      record.experiment = json["experiment"];
      record.measured = json["measured"];
    }
  }
  refused.insert(refused.end(), problems.list().begin(), problems.list().end());
  return record;
}

void read_file(const std::string& path, const std::string& name, std::vector<RunRecord>& runs,
               std::vector<InputProblem>& refused, std::vector<InputHash>* inputs) {
  std::string text;
  try {
    text = read_text_file(path);
  } catch (const InputError& error) {
    refused.insert(refused.end(), error.problems().begin(), error.problems().end());
    return;
  }
  if (inputs != nullptr) inputs->push_back({name, content_hash(text)});
  const size_t before = runs.size() + refused.size();
  size_t line_number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string place = name + ":" + std::to_string(line_number);
    try {
      runs.push_back(read_record(parse_json(line, place), place, refused));
    } catch (const InputError& error) {
      refused.insert(refused.end(), error.problems().begin(), error.problems().end());
    }
  }
  if (runs.size() + refused.size() == before)
    refused.push_back({name, "", "no run", "a JSON object a line", ""});
}

void keep(std::vector<RunRecord>& runs, const std::vector<std::string>& wanted,
          const std::string RunRecord::*key, const std::string& option) {
  if (wanted.empty()) return;
  std::set<std::string> present;
  for (const RunRecord& run : runs) present.insert(run.*key);
  const std::vector<std::string> names(present.begin(), present.end());
  std::vector<InputProblem> problems;
  for (const std::string& name : wanted) {
    if (present.count(name)) continue;
    const bool nothing = names.size() == 1 && names.front().empty();
    problems.push_back({option, "", "\"" + name + "\"",
                        nothing ? "runs that say it: none of these does" : one_of(names, name, 12), ""});
  }
  if (!problems.empty()) throw InputError(std::move(problems));
  std::erase_if(runs, [&wanted, key](const RunRecord& run) {
    return std::find(wanted.begin(), wanted.end(), run.*key) == wanted.end();
  });
}

/// The problem without its file, so that equal reasons of different rows count as one.
std::string reason_of(InputProblem problem) {
  problem.file.clear();
  std::string line = problem.line();
  const size_t begin = line.find_first_not_of(": ");
  return begin == std::string::npos ? line : line.substr(begin);
}

ValidationRow describe(const RunRecord& run) {
  ValidationRow row;
  row.id = run.id;
  row.source_group = run.source_group;
  row.model_kind = model_kind(run.experiment);
  row.parallel = parallel_kind(run.experiment);
  row.workload = workload_key(run.experiment);
  row.plan = plan_key(run.experiment);
  row.precision = precision_of(run.experiment);
  row.gpu = gpu_of(run.experiment);
  return row;
}

/// A run that reads well.
struct RunToScore {
  Experiment experiment;
  MeasuredRun measured;
  StepWork work;
  Seconds measured_step;
  std::string family;
};

RunToScore read_run_to_score(const RunRecord& run) {
  Problems problems(run.file);
  RunToScore read;
  read.experiment = read_experiment(SpecReader(run.experiment, "/experiment", problems));
  read.measured = read_measured_run(SpecReader(run.measured, "/measured", problems));
  problems.throw_if_any();
  read.work = step_work(read.experiment);
  const std::optional<Seconds> measured_step = measured_step_time(read.measured, read.work);
  if (!measured_step) {
    throw InputError(InputProblem{run.file, "/measured", "no step time", "one, or a rate that gives it", ""});
  }
  if (const std::string found = impossible_figure(read.measured, read.work); !found.empty()) {
    throw InputError(
        InputProblem{run.file, "/measured", found, "figures of one run, seconds a step and rates a GPU", ""});
  }
  read.measured_step = *measured_step;
  read.family = family_of(run.source_group, read.experiment);
  return read;
}

void score(const RunRecord& run, const RunToScore& read, const PredictOptions& options,
           CalibrationStore& calibrations, ValidationRow& row) {
  row.measured_step_s = read.measured_step.base();
  row.measured_mfu = read.work.model_flops / (row.measured_step_s * read.work.peak_flops);
  PredictOptions asked = options;
  asked.scored = std::make_shared<const ScoredRun>(ScoredRun{
      run.id, run.source_group, read.family, options.scored ? options.scored->leave_out : LeaveOut::family});
  const Prediction prediction = predict(read.experiment, asked, calibrations);
  row.predicted_step_s = prediction.step_time.base();
  row.breakdown = prediction.breakdown;
  row.interval_s = {prediction.interval[0].base(), prediction.interval[1].base()};
  row.error = row.predicted_step_s / row.measured_step_s - 1.0;
  row.fits = prediction.fits();
  if (read.measured.peak_memory) {
    const bool said = run.measured.contains("peak_memory_scope");
    row.memory_of_gpu = said ? read.measured.peak_memory_of_gpu : run.note_says_whole_gpu;
    const Bytes predicted = row.memory_of_gpu ? prediction.memory.reserved : prediction.memory.logged_peak;
    row.peak_memory_error = predicted / *read.measured.peak_memory - 1.0;
  }
  if (options.tier == Tier::stack || options.tier == Tier::site) {
    asked.tier = Tier::measured;
    // Without factors the tiers predict the same.
    const bool neutral =
        prediction.calibration.stack_factors.empty() && prediction.calibration.site_factors.empty();
    row.error_at_measured =
        neutral ? row.error
                : predict(read.experiment, asked, calibrations).step_time.base() / row.measured_step_s - 1.0;
  }
  row.scored = true;
}

/// A row for each way to predict.
std::vector<ValidationRow> validate_run(const RunRecord& run, const std::vector<PredictOptions>& ways,
                                        CalibrationStore& calibrations) {
  std::vector<ValidationRow> rows(ways.size(), describe(run));
  const auto refused_by = [](ValidationRow& row, const auto& work) {
    try {
      work();
      return false;
    } catch (const InputError& error) {
      row.reason = reason_of(error.problems().front());
    } catch (const std::exception& error) {
      row.reason = std::string("the engine failed: ") + error.what();
    }
    return true;
  };
  std::optional<RunToScore> read;
  if (refused_by(rows.front(), [&] { read = read_run_to_score(run); })) {
    std::fill(rows.begin() + 1, rows.end(), rows.front());
    return rows;
  }
  for (size_t way = 0; way < ways.size(); ++way) {
    refused_by(rows[way], [&] { score(run, *read, ways[way], calibrations, rows[way]); });
  }
  return rows;
}

}  // namespace

std::vector<RunRecord> read_runs(const std::vector<std::string>& files, std::vector<InputHash>* inputs) {
  std::vector<RunRecord> runs;
  std::vector<InputProblem> refused;
  if (std::count(files.begin(), files.end(), "-") > 1)
    throw InputError(InputProblem{"orrery validate", "", "\"-\" twice", "standard input once", ""});
  if (files.empty()) read_file((data_root() / kShippedRuns).string(), kShippedRuns, runs, refused, inputs);
  for (const std::string& file : files) read_file(file, file, runs, refused, inputs);
  std::set<std::string> ids;
  for (const RunRecord& run : runs) {
    if (!run.id.empty() && !ids.insert(run.id).second) {
      refused.push_back({run.file, "/id", "\"" + run.id + "\" a second time", "an id of its own", ""});
    }
  }
  if (!refused.empty()) throw InputError(std::move(refused));
  return runs;
}

std::vector<RunRecord> select_runs(std::vector<RunRecord> runs, const RunSelection& selection) {
  keep(runs, selection.ids, &RunRecord::id, "--id");
  keep(runs, selection.confidences, &RunRecord::confidence, "--confidence");
  keep(runs, selection.sources, &RunRecord::source_group, "--source");
  return runs;
}

Validation validate(const std::vector<RunRecord>& runs, const ValidateOptions& options) {
  return std::move(validate_ways(runs, options, {options.predict}).front());
}

std::vector<Validation> validate_ways(const std::vector<RunRecord>& runs, const ValidateOptions& options,
                                      const std::vector<PredictOptions>& ways) {
  std::vector<std::vector<ValidationRow>> finished(runs.size());
  CalibrationStore calibrations;
  std::atomic<size_t> next{0};
  std::mutex progress_mutex;
  int done = 0;
  // What is wrong with all rows alike (no data, no memory) ends the work: of several threads' the first.
  std::exception_ptr failure;
  const auto work = [&] {
    while (options.stop == nullptr || !options.stop->load()) {
      const size_t index = next.fetch_add(1);
      if (index >= runs.size()) return;
      try {
        finished[index] = validate_run(runs[index], ways, calibrations);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(progress_mutex);
        if (!failure) failure = std::current_exception();
        next.store(runs.size());
        return;
      }
      const std::lock_guard<std::mutex> lock(progress_mutex);
      ++done;
      if (options.progress) options.progress(done, static_cast<int>(runs.size()));
    }
  };
  std::vector<std::thread> workers;
  for (int i = 1; i < worker_count(options.threads); ++i) workers.emplace_back(work);
  work();
  for (std::thread& worker : workers) worker.join();
  if (failure) std::rethrow_exception(failure);

  std::vector<Validation> validations;
  for (size_t way = 0; way < ways.size(); ++way) {
    Validation& validation = validations.emplace_back();
    validation.tier = ways[way].tier;
    if (ways[way].scored) validation.leave_out = ways[way].scored->leave_out;
    validation.engine = ways[way].engine;
    validation.without = ways[way].without;
    for (std::vector<ValidationRow>& rows : finished) {
      if (!rows.empty()) validation.rows.push_back(std::move(rows[way]));
    }
    validation.interrupted = validation.rows.size() < runs.size();
    std::erase_if(validation.rows, [&options](const ValidationRow& row) {
      return row.measured_mfu && *row.measured_mfu <= options.mfu_above;
    });
    score_null_model(validation.rows);
    validation.summary = summarize(validation.rows);
    validation.refusals = count_refusals(validation.rows);
  }
  return validations;
}

}  // namespace orrery
