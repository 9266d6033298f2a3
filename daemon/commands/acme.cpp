#include "daemon/commands/acme.hpp"

#include <cstdio>
#include <ctime>

#include "core/base/printable.hpp"
#include "core/tls/certificate.hpp"
#include "daemon/acme/kept.hpp"
#include "daemon/acme/sites.hpp"
#include "daemon/acme/store.hpp"
#include "daemon/admin_client.hpp"
#include "daemon/exit_code.hpp"

namespace fiberd::daemon::commands {

/// A few lines of one; whether all is well with it.
static bool tell(const config::ListenerConfig& listener) {
  const config::AcmeConfig& acme = *listener.tls->acme;
  const acme::Store store(acme.storage, acme.directory);
  const std::int64_t now = std::time(nullptr);
  const acme::Kept kept = acme::look_at_kept(store, acme.domains, now);
  const acme::Attempts attempts = store.attempts(acme.domains);
  std::string names;
  for (const std::string& name : acme.domains) names += (names.empty() ? "" : ", ") + name;
  std::printf("%s  %s\n", printable(listener.name, 64).c_str(), printable(names, 1024).c_str());
  std::printf("  file         %s\n", printable(store.path_of(acme.domains), 1024).c_str());
  if (!kept.flaw.empty()) {
    std::printf("  certificate  nobody is shown what is there: %s\n", printable(kept.flaw, 1024).c_str());
  } else if (kept.not_after == 0) {
    std::printf("  certificate  none yet: a self-signed one is shown\n");
  } else {
    std::printf("  certificate  good until %s%s, issued by %s, serial %s\n", tls::describe_time(kept.not_after).c_str(),
                kept.not_after <= now ? " (it has ended)" : "", printable(kept.issuer, 128).c_str(),
                kept.serial.c_str());
    // The authority may have suggested another time (ARI), which the daemon knows.
    std::printf("  renewal      from %s on\n",
                tls::describe_time(acme::renewal_time(kept.not_before, kept.not_after, {}, 1)).c_str());
  }
  if (attempts.failures != 0)
    std::printf("  failed       %u times in a row, not tried before %s: %s\n", attempts.failures,
                tls::describe_time(attempts.not_before).c_str(), attempts.why.c_str());
  return kept.not_after > now && !attempts.failed();
}

int acme_list(const Program& program, const AcmeWords& words) {
  const config::Outcome outcome = load(program, words.admin.file, words.overrides);
  if (!outcome.diagnostics.empty()) {
    print(outcome.diagnostics);
    return code(ExitCode::bad_usage);
  }
  bool good = true;
  bool any = false;
  for (const config::ListenerConfig& listener : outcome.config.listeners) {
    if (!listener.tls || !listener.tls->acme) continue;
    any = true;
    good = tell(listener) && good;
  }
  if (!any) std::printf("no listener has tls.acme\n");
  const int told = printed();
  return good || told != 0 ? told : code(ExitCode::runtime_failure);
}

int acme_renew(const Program& program, const AcmeWords& words) {
  const auto admin = find_admin(program, words.admin);
  if (!admin) return code(ExitCode::bad_usage);
  const AdminRequest question{
      .address = admin->address, .method = "POST", .target = "/acme/renew", .token_file = admin->token_file};
  const AdminOutcome outcome = ask_admin(question);
  if (!outcome.answer) {
    std::fprintf(stderr, "acme renew: %s\n", describe_failure(question, outcome.failure, admin->source).c_str());
    const bool usage =
        outcome.failure.what == AdminFailure::What::no_address || outcome.failure.what == AdminFailure::What::no_token;
    return code(usage ? ExitCode::bad_usage : ExitCode::runtime_failure);
  }
  const bool done = outcome.answer->status == 200;
  std::fputs(in_lines(outcome.answer->body).c_str(), done ? stdout : stderr);
  if (done) return printed();
  return code(outcome.answer->status == 409 || outcome.answer->status == 401 ? ExitCode::bad_usage
                                                                             : ExitCode::runtime_failure);
}

}  // namespace fiberd::daemon::commands
