#include "reports/cli/spooled_output.hpp"

#include <array>
#include <stdexcept>

#include "reports/cli/output.hpp"

namespace orrery {
namespace {

constexpr size_t kHeldInMemory = size_t{4} << 20;

}  // namespace

void SpooledOutput::spill() {
  if (text_.size() < kHeldInMemory) return;
  if (!file_) file_.reset(std::tmpfile());
  if (!file_ || std::fwrite(text_.data(), 1, text_.size(), file_.get()) != text_.size()) {
    throw std::runtime_error("the temporary file of a long result cannot be written");
  }
  text_.clear();
}

void SpooledOutput::release() {
  if (file_) {
    if (std::fflush(file_.get()) != 0) {
      throw std::runtime_error("the temporary file of a long result cannot be written");
    }
    std::rewind(file_.get());
    std::array<char, size_t{1} << 16> block{};
    while (const size_t count = std::fread(block.data(), 1, block.size(), file_.get())) {
      print_result({block.data(), count});
    }
    if (std::ferror(file_.get()) != 0) {
      throw std::runtime_error("the temporary file of a long result cannot be read");
    }
    file_.reset();
  }
  print_result(text_);
  text_.clear();
}

}  // namespace orrery
