#pragma once
// Failure: why a configuration cannot be served, in words for people: at the start the process ends with it, at a
// reload the old configuration goes on and the log and the answer say it.
#include <string>
#include <system_error>

#include "config/config.hpp"
#include "core/base/source_location.hpp"
#include "daemon/exit_code.hpp"

namespace fiberd::daemon {

struct Failure {
  std::string message{};
  ExitCode code = ExitCode::runtime_failure;
};

/// Limits are no mistakes in the configuration, nor is an address taken for want of a descriptor.
[[nodiscard]] bool is_shortage(std::error_code error);
/// What there is to say about an error that a limit of the process may have caused.
[[nodiscard]] std::string with_limits(std::error_code error);
/// runtime_failure for a shortage, else `otherwise`.
[[nodiscard]] ExitCode code_of(std::error_code error, ExitCode otherwise);
/// What there is to say about an address, written at `at`, that could not be bound.
[[nodiscard]] std::string why_unbound(std::error_code error, const config::Place& at, const char* who_has_it);

/// To the log, as of `place`; where that is a file, whoever started us by hand looks at the terminal.
void say_fatal(const std::string& line, SourceLocation place = SourceLocation::current());
/// What it said last, for a process that waits for this one; empty: nothing.
[[nodiscard]] const std::string& last_fatal() noexcept;

}  // namespace fiberd::daemon
