#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <vector>

#include "sim/base/json_reader.hpp"
#include "tests/unit/base/refusal.hpp"
#include "tests/unit/base/temporary_folder.hpp"

namespace orrery {
namespace {

namespace fs = std::filesystem;
using testing::refusals;
using testing::TemporaryFolder;
using Lines = std::vector<std::string>;

size_t files_in(const fs::path& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(ReadTextFile, ReadsEveryByte) {
  const TemporaryFolder folder("read");
  std::string text(200000, 'x');
  text.replace(7, 5, std::string("a\0b\r\n", 5));
  EXPECT_EQ(read_text_file(folder.write("f", text).string()), text);
  EXPECT_EQ(read_text_file(folder.write("empty", "").string()), "");
  EXPECT_EQ(read_json_file(folder.write("f.json", "[1]").string()).dump(), "[1]");
}

TEST(ReadTextFile, SaysWhyAFileCannotBeRead) {
  const TemporaryFolder folder("unreadable");
  const std::string missing = (folder.path() / "missing.json").string();
  EXPECT_EQ(refusals([&] { read_text_file(missing); }),
            Lines{missing + ": cannot be read: No such file or directory"});
  const std::string directory = folder.path().string();
  EXPECT_EQ(refusals([&] { read_json_file(directory); }),
            Lines{directory + ": cannot be read: Is a directory"});
  EXPECT_EQ(refusals([] { read_text_file(""); }), Lines{": cannot be read: No such file or directory"});
}

TEST(ReadTextFile, Accepts256MiBAndRefusesAByteMore) {
  const TemporaryFolder folder("large");
  const fs::path file = folder.write("large", "");
  fs::resize_file(file, (256U << 20U) + 1);  // a hole: takes no space on the disk
  EXPECT_EQ(refusals([&] { read_text_file(file.string()); }),
            Lines{file.string() + ": found more than 256 MiB, expected a file of at most 256 MiB"});
  fs::resize_file(file, 256U << 20U);
  EXPECT_EQ(read_text_file(file.string()).size(), 256U << 20U);
}

TEST(WriteTextFileAtomically, WritesReplacesAndLeavesNothingElse) {
  const TemporaryFolder folder("write");
  const fs::path file = folder.path() / "out.json";
  std::string text(300000, 'y');
  text[5] = '\0';
  write_text_file_atomically(file, text);
  EXPECT_EQ(read_text_file(file.string()), text);
  write_text_file_atomically(file, "");
  EXPECT_EQ(read_text_file(file.string()), "");
  EXPECT_EQ(files_in(folder.path()), 1U);
}

TEST(WriteTextFileAtomically, NewFilesFollowTheUmaskAndOldOnesKeepTheirMode) {
  const TemporaryFolder folder("mode");
  const mode_t before = ::umask(027);
  write_text_file_atomically(folder.path() / "new", "x");
  ::umask(before);
  EXPECT_EQ(fs::status(folder.path() / "new").permissions(), static_cast<fs::perms>(0640));
  fs::permissions(folder.path() / "new", static_cast<fs::perms>(0604));
  write_text_file_atomically(folder.path() / "new", "y");
  EXPECT_EQ(fs::status(folder.path() / "new").permissions(), static_cast<fs::perms>(0604));
}

TEST(WriteTextFileAtomically, ALinkStaysALink) {
  const TemporaryFolder folder("link");
  folder.write("real", "old");
  fs::create_symlink("real", folder.path() / "link");
  write_text_file_atomically(folder.path() / "link", "new");
  EXPECT_TRUE(fs::is_symlink(folder.path() / "link"));
  EXPECT_EQ(read_text_file((folder.path() / "real").string()), "new");
  EXPECT_EQ(files_in(folder.path()), 2U);
}

TEST(WriteTextFileAtomically, ADeviceIsWrittenToAndNotReplaced) {
  write_text_file_atomically("/dev/null", "text");
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST(WriteTextFileAtomically, ARefusedWriteLeavesTheOldFile) {
  const TemporaryFolder folder("refused");
  const std::string nowhere = (folder.path() / "no" / "out").string();
  EXPECT_EQ(refusals([&] { write_text_file_atomically(nowhere, "x"); }),
            Lines{nowhere + ": cannot be written: No such file or directory"});
  const std::string directory = folder.path().string();
  EXPECT_EQ(refusals([&] { write_text_file_atomically(directory, "x"); }),
            Lines{directory + ": cannot be written: Is a directory"});
  const std::string below_file = (folder.write("file", "old") / "out").string();
  EXPECT_EQ(refusals([&] { write_text_file_atomically(below_file, "x"); }),
            Lines{below_file + ": cannot be written: Not a directory"});
  EXPECT_EQ(refusals([] { write_text_file_atomically("/dev/full", "x"); }),
            Lines{"/dev/full: cannot be written: No space left on device"});
  EXPECT_EQ(read_text_file((folder.path() / "file").string()), "old");
  EXPECT_EQ(files_in(folder.path()), 1U);
}

}  // namespace
}  // namespace orrery
