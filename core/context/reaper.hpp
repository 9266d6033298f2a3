#pragma once
// Reaper: destroys what belongs to users where their code may wait.
//
// The last handle to a context can be dropped by anybody: by the callback of the deadline's own timer, by a watch that
// is told of a hang-up, by sysmon, which looks after timers while all Processors compute. None of them is a fiber and
// none may park; but with the handle goes a value, or a function that was never called, whose destructor is the user's
// and may do what destructors on fibers do: lock a mutex, close a stream, wait for an answer. So what dies there is put
// aside, and a fiber of its own destroys it.
//
// Rejected: to forbid it (nobody sees who will be last); the service thread (it runs no fibers: what parks there dies).
#include "core/context/node.hpp"

namespace fiberd::context::detail {

/// Users' code must not run here: inside the scheduler, or with a Lock held.
[[nodiscard]] bool must_bury() noexcept;
/// Takes over a link to which nobody refers any more. Never parks, never fails: where no fiber can be had it is tried
/// again after a millisecond, and whenever the next link comes.
void bury(Link& link) noexcept;

}  // namespace fiberd::context::detail
