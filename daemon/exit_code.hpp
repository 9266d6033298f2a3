#pragma once
// ExitCode: what a process of ours says at its end.

namespace fiberd::daemon {

/// Part of the contract with init systems and scripts.
enum class ExitCode : int { clean = 0, runtime_failure = 1, bad_usage = 2, cannot_bind = 3 };

}  // namespace fiberd::daemon
