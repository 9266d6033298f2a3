#pragma once
// What the primitives of this room say beside context::errc.
#include <system_error>

namespace fiberd::sync {

enum class errc {       // NOLINT: named like std::errc
  closed = 1,           ///< the channel is closed (sending), or closed and drained (receiving)
  not_owner,            ///< unlock by a fiber that does not hold the lock
  negative_wait_group,  ///< more done() than add()
  too_many,             ///< more units asked for, or given back, than the semaphore has
  already_joined,       ///< the task's value has gone to another one who joined it
  exception,            ///< the cause of an error group's context: a part ended by an exception
  would_wait,           ///< a call that never waits would have to: the channel is full (sending), or empty (receiving)
};

[[nodiscard]] const std::error_category& category() noexcept;
[[nodiscard]] inline std::error_code make_error_code(errc code) noexcept {
  return {static_cast<int>(code), category()};
}

}  // namespace fiberd::sync

template <>
struct std::is_error_code_enum<fiberd::sync::errc> : std::true_type {};
