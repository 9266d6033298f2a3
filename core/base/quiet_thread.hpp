#pragma once
// Threads to which no signal is delivered: all of this project's but the one that acts on them. SIGPROF is the
// exception: it is sent to single threads, by who samples their CPU time (core/observe/cpu_profile.hpp).
#include <pthread.h>

#include <initializer_list>

namespace fiberd {

/// pthread_create with all signals blocked but SIGPROF and those in `deliverable`: a thread inherits its maker's mask,
/// so it is set before and put back afterwards. Returns pthread_create's error, 0 for none. Any thread.
[[nodiscard]] int create_quiet_thread(pthread_t& thread, void* (*main)(void*), void* argument,
                                      std::initializer_list<int> deliverable = {},
                                      const pthread_attr_t* attributes = nullptr) noexcept;

/// Called by who has created one, on success: for who counts them. It must not fail and not create threads. One;
/// nullptr: none. Any thread.
using ThreadCreated = void (*)() noexcept;
void on_thread_created(ThreadCreated hook) noexcept;

}  // namespace fiberd
