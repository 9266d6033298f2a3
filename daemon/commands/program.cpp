#include "daemon/commands/program.hpp"

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "config/handlers.hpp"
#include "daemon/journal.hpp"

namespace fiberd::daemon::commands {

int complain(const std::string& text) {
  std::fprintf(stderr, "%s%s\n", std::string(error_prefix()).c_str(), text.c_str());
  return code(ExitCode::bad_usage);
}

int printed() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code(ExitCode::clean);
  std::fprintf(stderr, "standard output cannot be written: %s\n", std::system_category().message(errno).c_str());
  return code(ExitCode::runtime_failure);
}

void print(const std::vector<config::Diagnostic>& diagnostics) {
  // In a journal they are errors, too.
  const std::string prefix(error_prefix());
  for (const auto& diagnostic : diagnostics)
    std::fprintf(stderr, "%s%s\n", prefix.c_str(), diagnostic.to_string().c_str());
}

config::Outcome load(const Program& program, const std::string& file, const std::vector<std::string>& overrides,
                     NotRegular others) {
  config::Outcome outcome = file.empty() ? config::load_text(program.default_config, config::kBuiltIn, overrides)
                                         : config::load_file(file, overrides, others);
  config::check_handlers(outcome, program.handlers.names());
  return outcome;
}

ExitCode judge(const Program& program, config::Outcome& outcome, HasSocket has, std::vector<std::string>* warnings,
               TlsPartsByName* tls) {
  ExitCode verdict = outcome.ok() ? ExitCode::clean : ExitCode::bad_usage;
  for (Flaw& flaw : provision(outcome, program.handlers, nullptr, std::move(has), warnings, tls)) {
    // The configuration is to be mended first: an address may be another then.
    if (verdict == ExitCode::clean || flaw.code == ExitCode::bad_usage) verdict = flaw.code;
    outcome.diagnostics.push_back(std::move(flaw.diagnostic));
  }
  config::sort_by_place(outcome.diagnostics);
  print(outcome.diagnostics);
  return verdict;
}

std::string absolute(const std::string& file) {
  if (file.empty()) return file;
  std::error_code nowhere;  // a directory that is gone
  const std::filesystem::path path = std::filesystem::absolute(file, nowhere);
  return nowhere ? file : path.string();
}

}  // namespace fiberd::daemon::commands
