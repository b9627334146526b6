#pragma once

#include <string>
#include <vector>

namespace orrery::test {

/// The words of a command line as a shell would split it: blanks separate, single quotes hold together.
/// @throws std::invalid_argument for a quote that does not end
std::vector<std::string> words_of(const std::string& command);

/// The part of what `orrery compare` prints for a document: from the sentence that explains to the last line
/// of the table of terms (inputs, warnings, communications and links are for the terminal).
std::string essence_of(const std::string& comparison);

/// A document whose blocks marked ```answer are answered: below the first line of each, an `orrery` command,
/// stands what the program prints now, in place of what stood there. Runs the program of $ORRERY_CLI. @throws
/// std::runtime_error for a command that fails
std::string with_answers(const std::string& document);

}  // namespace orrery::test
