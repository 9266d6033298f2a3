#include "daemon/commands/check.hpp"

#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "config/handlers.hpp"
#include "config/tree.hpp"
#include "daemon/commands/style.hpp"
#include "daemon/provision.hpp"

namespace fiberd::daemon::commands {

int check(const Program& program, const CheckWords& words) {
  const bool piped = words.file == kStandardInput;
  const std::string name = piped ? "standard input" : words.file;
  // Once, whatever it is: of a pipe there is no second reading.
  const Result<std::string> text = piped ? read_descriptor(STDIN_FILENO, config::kMaxFile + 1)
                                         : read_file(words.file, config::kMaxFile + 1, NotRegular::read);
  if (!text) return complain(name + ": cannot be read: " + why_unreadable(text.error()));
  config::Outcome outcome = config::load_text(*text, name, words.overrides);
  config::check_handlers(outcome, program.handlers.names());
  std::vector<std::string> warnings;
  if (const ExitCode verdict = judge(program, outcome, {}, &warnings); verdict != ExitCode::clean) return code(verdict);
  for (const std::vector<std::string>& some : {forewarn(outcome.config), warnings})
    for (const std::string& warning : some) std::fprintf(stderr, "warning: %s\n", warning.c_str());
  if (words.show)
    (void)std::fputs(config::show_text(*text, name, words.overrides).c_str(), stdout);
  else
    (void)std::printf("%s: %s\n", name.c_str(), Paint(stdout)(Style::good, "ok").c_str());
  return printed();
}

}  // namespace fiberd::daemon::commands
