// orrery_update_what_if FILE: answers the commands of a document anew.
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "sim/base/json_reader.hpp"
#include "tests/validation/what_if/what_if_document.hpp"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: orrery_update_what_if docs/what-if.md\n", stderr);
    return 2;
  }
  try {
    setenv("ORRERY_CLI", ORRERY_BUILT_CLI, 0);
    orrery::write_text_file_atomically(argv[1], orrery::test::with_answers(orrery::read_text_file(argv[1])));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
