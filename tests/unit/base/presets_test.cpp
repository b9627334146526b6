#include "sim/base/presets.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "sim/base/data_files.hpp"
#include "sim/base/errors.hpp"
#include "sim/base/installed_json.hpp"
#include "tests/unit/base/refusal.hpp"
#include "tests/unit/base/temporary_folder.hpp"

namespace orrery {
namespace {

using Lines = std::vector<std::string>;

/// A data root with two presets in it.
class Presets : public ::testing::Test {
 protected:
  Presets() : folder_("presets") {
    folder_.write("nodes/dgx-h100.json",
                  R"({"gpu": "h100", "gpus": 8, "nics": {"count": 8, "bandwidth": "400 Gb/s"}})");
    folder_.write("nodes/dgx1-1.5b.json", "{}");
    folder_.write("nodes/notes.txt", "");
    folder_.write("nodes/more/inner.json", "{}");
    ::setenv("ORRERY_DATA", folder_.path().c_str(), 1);
  }
  ~Presets() override { ::unsetenv("ORRERY_DATA"); }

  static std::string whole(const std::string& value, std::string* name = nullptr) {
    const Json json = parse_json(value, "f.json");
    Problems problems("f.json");
    const Json result = with_preset(SpecReader(json, "/node", problems), "nodes", name);
    problems.throw_if_any();
    return result.dump();
  }

  testing::TemporaryFolder folder_;
};

TEST_F(Presets, NamesAreTheSortedStemsOfOneFolder) {
  EXPECT_EQ(data_root(), folder_.path());
  EXPECT_EQ(preset_names("nodes"), (Lines{"dgx-h100", "dgx1-1.5b"}));
  EXPECT_EQ(preset_names("nowhere"), Lines{});
}

TEST_F(Presets, AreReadAnewWhenTheirFileChanges) {
  EXPECT_EQ(whole(R"("dgx1-1.5b")"), "{}");
  folder_.write("nodes/dgx1-1.5b.json", R"({"gpus": 8})");
  EXPECT_EQ(whole(R"("dgx1-1.5b")"), R"({"gpus":8})");
  // What one reader changes no other sees.
  Json own = installed_json("nodes/dgx1-1.5b.json");
  own["gpus"] = 1;
  EXPECT_EQ(installed_json("nodes/dgx1-1.5b.json").dump(), R"({"gpus":8})");
  std::filesystem::remove(folder_.path() / "nodes/dgx1-1.5b.json");
  EXPECT_THROW(whole(R"("dgx1-1.5b")"), InputError);
  EXPECT_THROW(installed_json("nodes/dgx1-1.5b.json"), InputError);
}

TEST_F(Presets, AreOfTheirFolderAlone) {
  EXPECT_THROW(whole(R"("more/inner")"), InputError);
  EXPECT_THROW(whole(R"("../nodes/dgx-h100")"), InputError);
}

TEST_F(Presets, ANameAnObjectAndAnObjectOverAName) {
  std::string name = "left over";
  EXPECT_EQ(whole(R"({"gpus": 4})", &name), R"({"gpus":4})");
  EXPECT_EQ(name, "");
  EXPECT_EQ(whole(R"("dgx-h100")", &name),
            R"({"gpu":"h100","gpus":8,"nics":{"count":8,"bandwidth":"400 Gb/s"}})");
  EXPECT_EQ(name, "dgx-h100");
  EXPECT_EQ(
      whole(R"({"preset": "dgx-h100", "gpus": 4, "nics": {"count": 2}, "gpu": {"sms": 99}, "new": [1]})"),
      R"({"gpu":{"preset":"h100","sms":99},"gpus":4,"nics":{"count":2,"bandwidth":"400 Gb/s"},"new":[1]})");
  EXPECT_EQ(whole(R"({"preset": "dgx-h100", "nics": {"preset": "other"}, "gpu": "h200"})"),
            R"({"gpu":"h200","gpus":8,"nics":{"preset":"other"}})");
}

TEST_F(Presets, UnknownNamesAreRefusedWithTheNearestFirst) {
  const auto refused = [](const std::string& value) { return testing::refusals([&] { whole(value); }); };
  EXPECT_EQ(refused(R"("dgx-h10")"),
            Lines{R"(f.json: /node: found "dgx-h10", expected "dgx-h100" or "dgx1-1.5b")"});
  EXPECT_EQ(refused(R"({"preset": "zzz"})"),
            Lines{R"(f.json: /node/preset: found "zzz", expected one of dgx-h100, dgx1-1.5b)"});
  EXPECT_EQ(refused(R"("../nodes/dgx-h100")"),
            Lines{R"(f.json: /node: found "../nodes/dgx-h100", expected one of dgx-h100, dgx1-1.5b)"});
  EXPECT_EQ(refused("8"), Lines{"f.json: /node: found 8 (number), expected a preset's name or an object"});
  EXPECT_EQ(refused(R"({"preset": 8})"),
            Lines{"f.json: /node/preset: found 8 (number), expected a preset's name"});
}

TEST_F(Presets, AChosenDataFolderThatIsMissingIsNamed) {
  ::setenv("ORRERY_DATA", "/no/such/folder", 1);
  try {
    data_root();
    FAIL() << "nothing was thrown";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "ORRERY_DATA is set to /no/such/folder, which is not a folder");
  }
}

TEST(DataRoot, IsTheSourceTreeForAProgramInABuildFolder) {
  ::unsetenv("ORRERY_DATA");
  EXPECT_EQ(data_root(), std::filesystem::path(ORRERY_SOURCE_DIR));
}

}  // namespace
}  // namespace orrery
