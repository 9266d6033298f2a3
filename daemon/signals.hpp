#pragma once
// The signals that the daemon acts on (docs/operations.md), and how they are kept from coming between.
#include <array>
#include <csignal>

namespace fiberd::daemon {

/// Each means: stop in order.
inline constexpr std::array kStopSignals{SIGTERM, SIGINT};

[[nodiscard]] const char* name_of_signal(int signo) noexcept;

/// Blocks all of them for the calling thread and those it starts. What comes before the handlers are there waits for
/// them (as PID 1 it would be lost, else it would kill a half-made daemon), and what comes when they have gone must not
/// cut the end off. The service thread alone has them unblocked.
void hold_signals() noexcept;
/// Of these the ones that a running daemon acts on and goes on: before it has read its configuration. SIGTERM and its
/// like end it meanwhile, as they end any program.
void hold_service_signals() noexcept;

}  // namespace fiberd::daemon
