#pragma once
// What all commands of the command line share: the program whose they are, its configuration, what they print.
#include <string>
#include <vector>

#include "config/config.hpp"
#include "daemon/exit_code.hpp"
#include "daemon/handlers.hpp"
#include "daemon/provision.hpp"

namespace fiberd::daemon::commands {

struct Program {
  const Handlers& handlers;
  const std::string& default_config;
  bool own_default = false;
};

/// What stands for a file's name where standard input is meant.
inline constexpr const char* kStandardInput = "-";

[[nodiscard]] inline int code(ExitCode c) { return static_cast<int>(c); }

/// `text` and a line's end, to standard error. Returns the code of bad usage.
int complain(const std::string& text);

/// What was printed is buffered: only a flush tells whether it arrived (a full disk, a reader that is gone). Returns
/// the exit code.
int printed();

/// All of them, a line each, to standard error.
void print(const std::vector<config::Diagnostic>& diagnostics);

/// The configuration of `file`, or the program's default where it is empty, held against the program's handlers.
[[nodiscard]] config::Outcome load(const Program& program, const std::string& file,
                                   const std::vector<std::string>& overrides, NotRegular others = NotRegular::read);

/// All that is wrong with it, and all that this machine lacks for it, told on standard error in the order of the file.
/// `has`, `warnings` and `tls` as provision() takes them.
[[nodiscard]] ExitCode judge(const Program& program, config::Outcome& outcome, HasSocket has = {},
                             std::vector<std::string>* warnings = nullptr, TlsPartsByName* tls = nullptr);

/// As the daemon and who asks it for a reload name it to each other, wherever they stand.
[[nodiscard]] std::string absolute(const std::string& file);

}  // namespace fiberd::daemon::commands
