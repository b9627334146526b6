#include "models/schedule.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

namespace orrery {
namespace {

/// A schedule followed with free communication, each stage doing its passes in order.
struct Followed {
  double makespan = 0;
  std::vector<double> first, last, work;  ///< by stage
};

/// Virtual stage of a stage's chunk, and how many a micro-batch passes: written down here from the papers'
/// figures, apart from PipelinePlacement.
int virtual_stage_in(ScheduleKind kind, int stages, int stage, int chunk) {
  const bool back = chunk == 1 && (kind == ScheduleKind::zero_bubble_v || kind == ScheduleKind::dualpipe);
  return back ? 2 * stages - 1 - stage : chunk * stages + stage;
}
int chain_of(ScheduleKind kind, int stages, int interleave) {
  return kind == ScheduleKind::dualpipe ? stages : stages * interleave;
}

/// `times` of one virtual stage; a pair takes `pair`.
Followed follow(ScheduleKind kind, int stages, int interleave, const Schedule& schedule,
                const PassTimes& times, double pair) {
  using Key =
      std::tuple<char, int, std::int32_t>;  // forward or gradient of the input, virtual stage, micro-batch
  std::map<Key, double> ended;
  const auto count = static_cast<size_t>(stages);
  std::vector<size_t> next(count, 0);
  Followed result;
  result.first.assign(count, -1.0);
  result.last.assign(count, 0.0);
  result.work.assign(count, 0.0);
  const int chain = chain_of(kind, stages, interleave);
  const auto key = [&](char what, size_t stage, const SchedulePass& pass, int offset) {
    return Key{what, virtual_stage_in(kind, stages, static_cast<int>(stage), pass.chunk) + offset,
               pass.micro_batch};
  };
  const auto needs = [&](size_t stage, const SchedulePass& pass) {
    const int position = virtual_stage_in(kind, stages, static_cast<int>(stage), pass.chunk) % chain;
    std::vector<Key> list;
    if (pass.kind == PassKind::forward) {
      if (position > 0) list.push_back(key('f', stage, pass, -1));
    } else if (pass.kind == PassKind::weight_gradient) {
      list.push_back(key('g', stage, pass, 0));
    } else {
      list.push_back(key('f', stage, pass, 0));
      if (position < chain - 1) list.push_back(key('g', stage, pass, 1));
    }
    return list;
  };
  const auto duration = [&](const SchedulePass& pass) {
    switch (pass.kind) {
      case PassKind::forward:
        return times.forward;
      case PassKind::backward:
        return times.backward();
      case PassKind::input_gradient:
        return times.input_gradient;
      default:
        return times.weight_gradient;
    }
  };
  for (bool moved = true; moved;) {
    moved = false;
    for (size_t stage = 0; stage < count; ++stage) {
      const std::vector<SchedulePass>& order = schedule.order[stage];
      while (next[stage] < order.size()) {
        const size_t together = order[next[stage]].paired ? 2 : 1;
        double start = result.last[stage];
        double takes = 0;
        bool ready = true;
        for (size_t i = next[stage]; i < next[stage] + together; ++i) {
          takes += duration(order[i]);
          for (const Key& need : needs(stage, order[i])) {
            const auto found = ended.find(need);
            ready = ready && found != ended.end();
            if (ready) start = std::max(start, found->second);
          }
        }
        if (!ready) break;
        if (together == 2) takes = pair;
        if (result.first[stage] < 0) result.first[stage] = start;
        result.last[stage] = start + takes;
        result.work[stage] += takes;
        for (size_t i = 0; i < together; ++i, ++next[stage]) {
          const SchedulePass& pass = order[next[stage]];
          if (pass.kind == PassKind::forward) ended[key('f', stage, pass, 0)] = result.last[stage];
          if (gives_input_gradient(pass.kind)) ended[key('g', stage, pass, 0)] = result.last[stage];
        }
        moved = true;
      }
    }
  }
  result.makespan = *std::max_element(result.last.begin(), result.last.end());
  return result;
}

Followed follow(ScheduleKind kind, int stages, int interleave, int micro_batches, const PassTimes& times) {
  const Schedule schedule = make_schedule(kind, stages, interleave, micro_batches);
  EXPECT_EQ(find_deadlock(schedule), "") << stages << " x " << interleave << ", " << micro_batches;
  return follow(kind, stages, interleave, schedule, times, times.all());
}

std::string text_of_case(int stages, int chunks, int micro_batches) {
  return std::to_string(stages) + " x " + std::to_string(chunks) + ", " + std::to_string(micro_batches);
}

// SC21 section 2.2: the bubble is (p-1)/m of the ideal time, (p-1)/(m v) under interleaving. 1e-9: sums of
// whole numbers.
void expect_textbook_bubble(ScheduleKind kind, int stages, int chunks, int micro_batches) {
  const double ideal = 3.0 * micro_batches * chunks;
  const double bubble = follow(kind, stages, chunks, micro_batches, PassTimes{}).makespan / ideal - 1.0;
  EXPECT_NEAR(bubble, static_cast<double>(stages - 1) / (micro_batches * chunks), 1e-9)
      << text_of_case(stages, chunks, micro_batches);
  EXPECT_NEAR(bubble_fraction(kind, stages, chunks, micro_batches), bubble, 1e-9);
}

TEST(Schedule, BubblesAreThoseOfThePaper) {
  for (const int stages : {1, 2, 3, 4, 7, 8}) {
    for (const int micro_batches : {1, 2, 3, 8, 13, 32}) {  // fewer micro-batches than stages too
      expect_textbook_bubble(ScheduleKind::gpipe, stages, 1, micro_batches);
      expect_textbook_bubble(ScheduleKind::one_f_one_b, stages, 1, micro_batches);
    }
    for (const int chunks : {2, 3, 5}) {
      for (const int rounds : {1, 2, 5}) {
        expect_textbook_bubble(ScheduleKind::interleaved, stages, chunks, rounds * stages);
      }
    }
  }
}

// Qi et al. 2023 (arXiv 2401.10241), section 2.3.1: ZB-H1 leaves (p-1)(T_F + T_B - T_W), a third of 1F1B's
// bubble when all are equal, with 1F1B's p micro-batches in flight, here on every stage.
TEST(Schedule, ZeroBubbleH1LeavesAThirdOfTheBubble) {
  for (const PassTimes& times : {PassTimes{1, 1, 1}, PassTimes{1, 1.25, 0.75}, PassTimes{2, 2, 1}}) {
    for (const int stages : {1, 2, 3, 4, 7, 8}) {
      for (const int micro_batches : {stages, stages + 1, 2 * stages, 5 * stages + 3}) {
        const double bubble = follow(ScheduleKind::zero_bubble_h1, stages, 1, micro_batches, times).makespan -
                              micro_batches * times.all();
        const double paper = (stages - 1) * (times.forward + times.input_gradient - times.weight_gradient);
        EXPECT_NEAR(bubble, paper, 1e-9 * micro_batches) << text_of_case(stages, 1, micro_batches);
        EXPECT_NEAR(bubble_fraction(ScheduleKind::zero_bubble_h1, stages, 1, micro_batches, times),
                    paper / (micro_batches * times.all()), 1e-9);
        const Schedule schedule = make_schedule(ScheduleKind::zero_bubble_h1, stages, 1, micro_batches);
        for (int stage = 0; stage < stages; ++stage) EXPECT_EQ(peak_in_flight(schedule, stage), stages);
      }
    }
  }
}

// Qi et al. 2023, section 6: ZB-V idles nowhere between a stage's first and last pass when T_F = T_B = T_W,
// and holds p micro-batches of a whole stage, 2p of its half-stage chunks, on every stage alike.
TEST(Schedule, ZeroBubbleVIdlesNowhereAndHoldsWhat1F1BHolds) {
  const PassTimes chunk{0.5, 0.5, 0.5};
  for (const int stages : {1, 2, 3, 4, 7, 8}) {
    for (const int micro_batches : {2 * stages - 1, 2 * stages, 3 * stages + 1, 6 * stages}) {
      const Followed followed = follow(ScheduleKind::zero_bubble_v, stages, 2, micro_batches, chunk);
      const Schedule schedule = make_schedule(ScheduleKind::zero_bubble_v, stages, 2, micro_batches);
      for (size_t stage = 0; stage < followed.work.size(); ++stage) {
        EXPECT_NEAR(followed.last[stage] - followed.first[stage], 3.0 * micro_batches, 1e-9)
            << text_of_case(stages, 2, micro_batches) << " stage " << stage;
        EXPECT_EQ(peak_in_flight(schedule, static_cast<int>(stage)), 2 * stages);
      }
      // Stage s starts after s forwards of half a stage: what a step that starts together cannot hide.
      EXPECT_NEAR(followed.makespan, 3.0 * micro_batches + (stages - 1) * 0.5, 1e-9);
      EXPECT_NEAR(bubble_fraction(ScheduleKind::zero_bubble_v, stages, 2, micro_batches),
                  (stages - 1) * 0.5 / (3.0 * micro_batches), 1e-9);
    }
  }
}

// DeepSeek-V3 (arXiv 2412.19437), table 2: DualPipe's bubble is (PP/2 - 1)(F&B + B - 3W) with B the full
// backward, and PP + 1 micro-batches are in flight. The formula is exact where a forward is as long as the
// gradient of its input; a rank's pairs shrink with F&B, so the rank with most bubble is the one it
// describes.
TEST(Schedule, DualPipeHasTheBubbleAndTheMemoryOfItsTable) {
  struct Case {
    PassTimes times;
    double pair;
  };
  for (const Case& c :
       {Case{{1, 1, 1}, 3.0}, Case{{1, 1, 1}, 2.5}, Case{{2, 2, 1}, 5.0}, Case{{2, 2, 1.5}, 5.5}}) {
    for (const int stages : {2, 4, 6, 8, 16}) {
      for (const int micro_batches : {2 * stages, 2 * stages + 2, 3 * stages, 6 * stages + 2}) {
        const Schedule schedule = make_schedule(ScheduleKind::dualpipe, stages, 1, micro_batches);
        ASSERT_EQ(find_deadlock(schedule), "") << text_of_case(stages, 2, micro_batches);
        const Followed followed = follow(ScheduleKind::dualpipe, stages, 1, schedule, c.times, c.pair);
        double bubble = 0;
        for (size_t stage = 0; stage < followed.work.size(); ++stage) {
          bubble = std::max(bubble, followed.makespan - followed.work[stage]);
          EXPECT_EQ(peak_in_flight(schedule, static_cast<int>(stage)), stages + 1);
        }
        const double paper = (stages / 2 - 1) * (c.pair + c.times.backward() - 3.0 * c.times.weight_gradient);
        EXPECT_NEAR(bubble, paper, 1e-9 * micro_batches) << text_of_case(stages, 2, micro_batches);
        if (c.pair == c.times.all()) {
          EXPECT_NEAR(bubble_fraction(ScheduleKind::dualpipe, stages, 1, micro_batches, c.times),
                      paper / (micro_batches * c.times.all()), 1e-9);
        }
      }
    }
  }
}

TEST(Schedule, NoSizeDeadlocks) {
  std::mt19937 random(20261128);
  const auto between = [&random](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  for (int i = 0; i < 400; ++i) {
    const int stages = between(1, 24);
    const int micro_batches = between(1, 60);
    for (const ScheduleKind kind :
         {ScheduleKind::gpipe, ScheduleKind::one_f_one_b, ScheduleKind::zero_bubble_h1}) {
      EXPECT_EQ(find_deadlock(make_schedule(kind, stages, 1, micro_batches)), "")
          << text_of_case(stages, 1, micro_batches);
    }
    EXPECT_EQ(find_deadlock(make_schedule(ScheduleKind::zero_bubble_v, stages, 2, micro_batches)), "")
        << text_of_case(stages, 2, micro_batches);
    const int chunks = between(2, 5);
    EXPECT_EQ(find_deadlock(make_schedule(ScheduleKind::interleaved, stages, chunks, stages * between(1, 4))),
              "");
    const int even = 2 * between(1, 10);
    EXPECT_EQ(find_deadlock(make_schedule(ScheduleKind::dualpipe, even, 1, 2 * even + 2 * between(0, 20))),
              "");
  }
}

// Counted in the order itself, of steps longer than the shortest.
TEST(Schedule, TalliesCountEveryPass) {
  struct Case {
    ScheduleKind kind;
    int stages, interleave, micro_batches;
  };
  for (const Case& c :
       {Case{ScheduleKind::one_f_one_b, 3, 1, 5}, Case{ScheduleKind::interleaved, 4, 3, 8},
        Case{ScheduleKind::zero_bubble_h1, 4, 1, 9}, Case{ScheduleKind::zero_bubble_v, 4, 2, 3},
        Case{ScheduleKind::dualpipe, 2, 1, 4}, Case{ScheduleKind::dualpipe, 8, 1, 26}}) {
    const Schedule schedule = make_schedule(c.kind, c.stages, c.interleave, c.micro_batches);
    const std::vector<PassTally> tallies = pass_tallies(c.kind, c.stages, c.interleave, c.micro_batches);
    std::vector<PassTally> counted(tallies.size());
    for (int stage = 0; stage < c.stages; ++stage) {
      const std::vector<SchedulePass>& order = schedule.order[static_cast<size_t>(stage)];
      for (size_t i = 0; i < order.size(); ++i) {
        const bool paired = order[i].paired || (i > 0 && order[i - 1].paired);
        PassTally& tally =
            counted[static_cast<size_t>(virtual_stage_in(c.kind, c.stages, stage, order[i].chunk))];
        ++(paired ? tally.paired : tally.alone)[static_cast<size_t>(order[i].kind)];
      }
    }
    for (size_t v = 0; v < tallies.size(); ++v) {
      EXPECT_EQ(tallies[v].alone, counted[v].alone) << c.stages << ", " << c.micro_batches << ", " << v;
      EXPECT_EQ(tallies[v].paired, counted[v].paired) << c.stages << ", " << c.micro_batches << ", " << v;
    }
  }
}

TEST(Schedule, ZeroBubbleH1OfTwoStagesByHand) {
  const Schedule schedule = make_schedule(ScheduleKind::zero_bubble_h1, 2, 1, 3);
  const auto f = [](std::int32_t i) { return SchedulePass{PassKind::forward, 0, i}; };
  const auto b = [](std::int32_t i) { return SchedulePass{PassKind::input_gradient, 0, i}; };
  const auto w = [](std::int32_t i) { return SchedulePass{PassKind::weight_gradient, 0, i}; };
  EXPECT_EQ(schedule.order[0],
            (std::vector<SchedulePass>{f(0), f(1), b(0), w(0), f(2), b(1), w(1), b(2), w(2)}));
  EXPECT_EQ(schedule.order[1],
            (std::vector<SchedulePass>{f(0), b(0), f(1), b(1), w(0), f(2), b(2), w(1), w(2)}));
}

TEST(Schedule, PlacementsAreInverses) {
  for (const ScheduleKind kind : {ScheduleKind::one_f_one_b, ScheduleKind::interleaved,
                                  ScheduleKind::zero_bubble_v, ScheduleKind::dualpipe}) {
    const int interleave = kind == ScheduleKind::interleaved     ? 3
                           : kind == ScheduleKind::zero_bubble_v ? 2
                                                                 : 1;
    const PipelinePlacement place(kind, 4, interleave);
    for (int v = 0; v < place.virtual_stages(); ++v) {
      EXPECT_EQ(place.virtual_stage(place.stage_of(v), place.chunk_of(v)), v);
      EXPECT_EQ(virtual_stage_in(kind, 4, place.stage_of(v), place.chunk_of(v)), v);
    }
    EXPECT_EQ(place.ends_together(), kind == ScheduleKind::zero_bubble_v || kind == ScheduleKind::dualpipe);
  }
}

TEST(Schedule, OneForwardOneBackwardOfTwoStagesByHand) {
  const Schedule schedule = make_schedule(ScheduleKind::one_f_one_b, 2, 1, 3);
  const auto f = [](std::int32_t i) { return SchedulePass{PassKind::forward, 0, i}; };
  const auto b = [](std::int32_t i) { return SchedulePass{PassKind::backward, 0, i}; };
  EXPECT_EQ(schedule.order[0], (std::vector<SchedulePass>{f(0), f(1), b(0), f(2), b(1), b(2)}));
  EXPECT_EQ(schedule.order[1], (std::vector<SchedulePass>{f(0), b(0), f(1), b(1), f(2), b(2)}));
}

TEST(Schedule, InterleavedFollowsMegatronsOrder) {
  // SC21 Figure 4, bottom, first device of 4 with 2 chunks: 1 2 3 4 of chunk 0, 1 2 3 4 of chunk 1, then 5 6
  // of chunk 0 before the first backward: warm-up 2 (4-1) + 4 = 10, and one more forward in the steady state.
  const Schedule schedule = make_schedule(ScheduleKind::interleaved, 4, 2, 8);
  const std::vector<SchedulePass>& order = schedule.order[0];
  const auto pass = [](PassKind kind, std::int16_t chunk, std::int32_t i) {
    return SchedulePass{kind, chunk, i};
  };
  EXPECT_EQ(order[3], pass(PassKind::forward, 0, 3));
  EXPECT_EQ(order[4], pass(PassKind::forward, 1, 0));
  EXPECT_EQ(order[8], pass(PassKind::forward, 0, 4));
  EXPECT_EQ(order[10], pass(PassKind::forward, 0, 6));
  EXPECT_EQ(order[11], pass(PassKind::backward, 1, 0));
}

TEST(Schedule, MicroBatchesInFlight) {
  constexpr int kStages = 4;
  constexpr int kMicroBatches = 16;
  const Schedule gpipe = make_schedule(ScheduleKind::gpipe, kStages, 1, kMicroBatches);
  const Schedule plain = make_schedule(ScheduleKind::one_f_one_b, kStages, 1, kMicroBatches);
  for (int stage = 0; stage < kStages; ++stage) {
    EXPECT_EQ(peak_in_flight(gpipe, stage), kMicroBatches);
    EXPECT_EQ(peak_in_flight(plain, stage), kStages - stage);
    for (const int chunks : {2, 3}) {
      // Warm-up of 2 (p-s-1) + (v-1) p passes, and one forward before the first backward.
      const Schedule interleaved = make_schedule(ScheduleKind::interleaved, kStages, chunks, kMicroBatches);
      EXPECT_EQ(peak_in_flight(interleaved, stage), 2 * (kStages - stage - 1) + (chunks - 1) * kStages + 1);
    }
  }
  const Schedule few = make_schedule(ScheduleKind::interleaved, kStages, 2, kStages);
  EXPECT_EQ(peak_in_flight(few, 0), 8);  // capped by the m v = 8 passes there are
}

TEST(Schedule, FindsADeadlock) {
  Schedule schedule = make_schedule(ScheduleKind::one_f_one_b, 2, 1, 2);
  std::swap(schedule.order[0][0],
            schedule.order[0][2]);  // the first stage wants a backward before any forward
  EXPECT_EQ(find_deadlock(schedule), "stage 0: backward of micro-batch 0, chunk 0 never starts");
}

TEST(Schedule, FindsAPassThatIsMissingOrThereTwice) {
  Schedule missing = make_schedule(ScheduleKind::gpipe, 2, 1, 2);
  missing.order[1].pop_back();
  EXPECT_EQ(find_deadlock(missing), "stage 1: backward of micro-batch 0, chunk 0 is missing");
  Schedule twice = make_schedule(ScheduleKind::gpipe, 2, 1, 2);
  twice.order[1].push_back(twice.order[1].front());
  EXPECT_EQ(find_deadlock(twice), "stage 1: forward of micro-batch 0, chunk 0 is listed twice");
  Schedule half = make_schedule(ScheduleKind::zero_bubble_h1, 2, 1, 2);
  half.order[0].pop_back();
  EXPECT_EQ(find_deadlock(half), "stage 0: weight gradient of micro-batch 1, chunk 0 is missing");
  half.order[0].push_back({PassKind::backward, 0, 1});
  EXPECT_EQ(find_deadlock(half), "stage 0: backward of micro-batch 1, chunk 0 is listed twice");
  Schedule alone = make_schedule(ScheduleKind::zero_bubble_h1, 2, 1, 2);
  alone.order[0].front().paired = true;
  EXPECT_EQ(find_deadlock(alone),
            "stage 0: forward of micro-batch 0, chunk 0 is not followed by a backward of another chunk to "
            "pair with");
}

TEST(Schedule, RefusesWhatItIsNotDefinedFor) {
  EXPECT_THROW(make_schedule(ScheduleKind::interleaved, 4, 2, 6), std::invalid_argument);
  EXPECT_THROW(make_schedule(ScheduleKind::gpipe, 4, 2, 8), std::invalid_argument);
  EXPECT_THROW(make_schedule(ScheduleKind::one_f_one_b, 0, 1, 8), std::invalid_argument);
  EXPECT_THROW(make_schedule(ScheduleKind::zero_bubble_h1, 4, 2, 8), std::invalid_argument);
  EXPECT_THROW(make_schedule(ScheduleKind::zero_bubble_v, 4, 1, 8), std::invalid_argument);
  EXPECT_THROW(make_schedule(ScheduleKind::dualpipe, 3, 1, 8), std::invalid_argument);  // odd stages
  EXPECT_THROW(make_schedule(ScheduleKind::dualpipe, 4, 1, 9), std::invalid_argument);  // odd micro-batches
  EXPECT_THROW(make_schedule(ScheduleKind::dualpipe, 4, 1, 6),
               std::invalid_argument);  // fewer than 2 a stage
  EXPECT_NO_THROW(make_schedule(ScheduleKind::dualpipe, 4, 1, 8));
}

}  // namespace
}  // namespace orrery
