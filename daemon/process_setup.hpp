#pragma once
// What a parent may have left us: descriptors, signals, limits; and what is said when the process cannot go on.
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

namespace fiberd::daemon {

/// At the very start, before anything is opened: standard descriptors that are closed become /dev/null, opened so that
/// reading or writing still fails (else the next socket would be standard error, and log lines would go to a client);
/// signals that were blocked or ignored get their default action again, but for SIGINT and SIGHUP, which nohup and
/// shells ignore with reason; a soft limit of open files is raised to the hard one; threads get a stack of a megabyte
/// where RLIMIT_STACK would give them less; an exception that nobody caught ends the process with one line, and until
/// say_started() with exit code 1 instead of abort().
void set_up_process() noexcept;
/// A new-handler (std::set_new_handler) for the time before that: says what memory the process may have, on standard
/// error, and ends it with exit code 1. Allocates nothing.
[[noreturn]] void end_without_memory() noexcept;
void say_started() noexcept;

/// What was not to be had, by its error: which limits of this process and its user stand against it, their values and
/// how to raise them, to be put behind the error's message. Empty: they do not explain it.
[[nodiscard]] std::string explain_shortage(std::error_code error);

/// A warning where the address space is too little: the daemon may start with less, and then find no stack for a
/// client.
void warn_of_address_space(std::uint64_t stack_size);

struct Descriptors {
  std::uint64_t limit = 0;  ///< RLIMIT_NOFILE
  std::uint64_t open = 0;   ///< now
  [[nodiscard]] std::uint64_t free() const noexcept { return limit > open ? limit - open : 0; }
};
[[nodiscard]] Descriptors count_descriptors() noexcept;

/// Whether `wanted` connections find descriptors. A warning with numbers and the remedy; empty: they do.
[[nodiscard]] std::string compare_with_connections(const Descriptors& descriptors, std::uint64_t wanted);

}  // namespace fiberd::daemon
