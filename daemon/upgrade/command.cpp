#include "daemon/upgrade/command.hpp"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "core/base/printable.hpp"
#include "core/base/units.hpp"
#include "daemon/exit_code.hpp"
#include "daemon/upgrade/page.hpp"

namespace fiberd::daemon::upgrade {

/// As the daemon sees it, which has another working directory.
static std::string absolute(const std::string& file) {
  if (file.empty()) return file;
  std::error_code nowhere;
  const std::filesystem::path path = std::filesystem::absolute(file, nowhere);
  return nowhere ? file : path.string();
}

CLI::App* add_command(CLI::App& app, CommandOptions& options) {
  CLI::App* const command = app.add_subcommand("upgrade", "Have the daemon that runs be followed by a new process");
  command
      ->add_option("--address", options.address,
                   "Where its admin listener is; else what the file says, or 127.0.0.1:9090")
      ->option_text("ADMIN");
  command
      ->add_option("--token-file", options.token_file,
                   "With the token that it asks for; else the file's admin.token_file")
      ->option_text("FILE");
  command->add_option("--binary", options.binary, "The new program; else the file that the daemon was started from")
      ->option_text("FILE");
  command
      ->add_option("--signature", options.signature,
                   "Its Ed25519 signature, proved by upgrade.public_key; else FILE.sig")
      ->option_text("FILE");
  command
      ->add_option("--rollback-after", options.rollback_after,
                   "How long the old process stands by and takes over again if the new one does worse, 1s to 1h; 0")
      ->option_text("TIME");
  return command;
}

int run_command(const CommandOptions& options, const AdminPlace& place) {
  const auto usage = [](const std::string& why) {
    std::fprintf(stderr, "upgrade: %s\n", why.c_str());
    return static_cast<int>(ExitCode::bad_usage);
  };
  std::chrono::nanoseconds standby{0};
  if (!options.rollback_after.empty() && options.rollback_after != "0") {
    const auto parsed = parse_duration(options.rollback_after);
    if (!parsed || *parsed < kShortestStandby || *parsed > kLongestStandby)
      return usage("--rollback-after " + options.rollback_after + ": a time between 1s and 1h");
    standby = *parsed;
  }
  AdminRequest question;
  question.address = place.address;
  question.method = "POST";
  question.target = "/upgrade";
  question.token_file = place.token_file;
  question.body = render_request({absolute(options.binary), absolute(options.signature), standby});
  // As long as upgrade.timeout may be, and the old process's stop of a new one that is not ready.
  question.patience = std::chrono::seconds(3700) + std::chrono::duration_cast<std::chrono::seconds>(standby);
  const AdminOutcome outcome = ask_admin(question);
  if (!outcome.answer) {
    const bool mistake =
        outcome.failure.what == AdminFailure::What::no_address || outcome.failure.what == AdminFailure::What::no_token;
    std::fprintf(stderr, "upgrade: %s\n", describe_failure(question, outcome.failure, place.source).c_str());
    return static_cast<int>(mistake ? ExitCode::bad_usage : ExitCode::runtime_failure);
  }
  const unsigned status = outcome.answer->status;
  std::fputs(in_lines(outcome.answer->body).c_str(), status == 200 ? stdout : stderr);
  if (status == 200) return std::fflush(stdout) == 0 ? 0 : static_cast<int>(ExitCode::runtime_failure);
  if (status == 401)
    std::fputs(place.token_file.empty() ? "upgrade: name the token's file: --token-file\n"
                                        : "upgrade: the daemon has another token\n",
               stderr);
  const bool refused = status == 400 || status == 409 || status == 401 || status == 403 || status == 422;
  return static_cast<int>(refused ? ExitCode::bad_usage : ExitCode::runtime_failure);
}

}  // namespace fiberd::daemon::upgrade
