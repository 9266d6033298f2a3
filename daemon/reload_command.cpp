#include "daemon/reload_command.hpp"

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>

#include "core/base/printable.hpp"
#include "daemon/commands/program.hpp"
#include "daemon/exit_code.hpp"

namespace fiberd::daemon {

/// Line by line; whoever answers there, nothing of it moves a terminal's cursor.
static std::string harmless_lines(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    out += in_one_line(text.substr(0, end)) + "\n";
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

int reload_by_admin(const ReloadRequest& request) {
  const AdminRequest question{.address = request.address,
                              .method = "POST",
                              .target = "/reload",
                              .body = request.file,
                              .token_file = request.token_file};
  const AdminOutcome outcome = ask_admin(question);
  if (!outcome.answer) {
    std::fprintf(stderr, "reload: %s\n", describe_failure(question, outcome.failure, request.source).c_str());
    const bool usage =
        outcome.failure.what == AdminFailure::What::no_address || outcome.failure.what == AdminFailure::What::no_token;
    return static_cast<int>(usage ? ExitCode::bad_usage : ExitCode::runtime_failure);
  }
  const unsigned status = outcome.answer->status;
  const bool done = status == 200;
  std::fputs(harmless_lines(outcome.answer->body).c_str(), done ? stdout : stderr);
  if (done) return commands::printed();
  if (status == 401)
    std::fputs(request.token_file.empty() ? "reload: name the token's file: --token-file\n"
                                          : "reload: the daemon has another token\n",
               stderr);
  const bool refused = status == 422 || status == 409 || status == 401;
  return static_cast<int>(refused ? ExitCode::bad_usage : ExitCode::runtime_failure);
}

}  // namespace fiberd::daemon
