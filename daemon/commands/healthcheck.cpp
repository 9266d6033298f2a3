#include "daemon/commands/healthcheck.hpp"

#include <chrono>
#include <cstdio>

#include "core/base/printable.hpp"

namespace fiberd::daemon::commands {

static int unhealthy(const std::string& why) {
  std::fprintf(stderr, "unhealthy: %s\n", in_one_line(why).c_str());
  return code(ExitCode::runtime_failure);
}

/// Its port is one that the kernel chose at the start.
static bool is_anywhere(const std::string& address) { return address.ends_with(":0"); }

int healthcheck(const Program& program, const AdminWords& words) {
  AdminRequest request{.address = words.address,
                       .target = "/readyz",
                       .patience = std::chrono::seconds(5),
                       .most_bytes = std::size_t{64} * 1024};
  AddressSource source = AddressSource::named;
  std::string wrong;  // with the file that says where to ask
  if (words.address.empty()) {
    const config::Outcome loaded = load(program, words.file, {});
    // What is wrong in a line of it the daemon need not have read yet. But of one that says nothing at all nobody knows
    // whose health is meant: whoever listens at the default address may be another.
    if (!loaded.readable && !loaded.ok())
      return unhealthy(loaded.diagnostics.front().to_string() + "; nobody was asked: --address");
    const config::Config& c = loaded.config;
    if (!loaded.ok()) wrong = "; the file is wrong, too: " + loaded.diagnostics.front().to_string();
    source = words.file.empty() ? AddressSource::by_default : AddressSource::in_file;
    request.address = c.admin.address;
    if ((request.address.empty() || is_anywhere(request.address)) && !c.metrics.addresses.empty())
      request.address = c.metrics.addresses.front().text;
    if (request.address.empty())
      return unhealthy("the configuration has neither admin.address nor metrics.address: nobody can be asked");
    if (is_anywhere(request.address))
      return unhealthy("the port of " + request.address + " is another at each start: name one, or say --address");
  }
  if (request.address.starts_with(':')) request.address.insert(0, "0.0.0.0");
  const AdminOutcome outcome = ask_admin(request);
  if (!outcome.answer) return unhealthy(describe_failure(request, outcome.failure, source) + wrong);
  const std::string said = outcome.answer->body.substr(0, outcome.answer->body.find('\n'));
  if (outcome.answer->status != 200 || said != "ready")
    return unhealthy(request.address + ": /readyz is answered " + std::to_string(outcome.answer->status) + ": " +
                     printable(said, 200));
  (void)std::printf("healthy: %s\n", request.address.c_str());
  return printed();
}

}  // namespace fiberd::daemon::commands
