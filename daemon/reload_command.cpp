#include "daemon/reload_command.hpp"

#include <cstdio>
#include <string>

#include "core/base/printable.hpp"
#include "daemon/commands/program.hpp"
#include "daemon/exit_code.hpp"

namespace fiberd::daemon {

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
  std::fputs(in_lines(outcome.answer->body).c_str(), done ? stdout : stderr);
  if (done) return commands::printed();
  if (status == 401)
    std::fputs(request.token_file.empty() ? "reload: name the token's file: --token-file\n"
                                          : "reload: the daemon has another token\n",
               stderr);
  const bool refused = status == 422 || status == 409 || status == 401;
  return static_cast<int>(refused ? ExitCode::bad_usage : ExitCode::runtime_failure);
}

}  // namespace fiberd::daemon
