#include "daemon/failure.hpp"

#include "core/base/log.hpp"
#include "daemon/logging.hpp"
#include "daemon/process_setup.hpp"

namespace fiberd::daemon {

bool is_shortage(std::error_code error) { return !explain_shortage(error).empty(); }

std::string with_limits(std::error_code error) { return error.message() + explain_shortage(error); }

ExitCode code_of(std::error_code error, ExitCode otherwise) {
  return is_shortage(error) ? ExitCode::runtime_failure : otherwise;
}

std::string why_unbound(std::error_code error, const config::Place& at, const char* who_has_it) {
  if (error != std::errc::address_in_use) return with_limits(error);
  const std::string place = config::diagnostic_at(at, "").to_string();
  return error.message() + "; who has it: " + who_has_it + "; written in " + place.substr(0, place.size() - 2);
}

static std::string& said_last() {
  static std::string line;
  return line;
}

const std::string& last_fatal() noexcept { return said_last(); }

void say_fatal(const std::string& line, SourceLocation place) {
  said_last() = line;
  log(LogLevel::error, line, place);
  if (!log_is_on_terminal()) say_on_stderr("fiberd: " + line);
}

}  // namespace fiberd::daemon
