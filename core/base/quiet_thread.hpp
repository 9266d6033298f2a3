#pragma once
// Threads to which no signal is delivered: all of this project's but the one that acts on them.
#include <pthread.h>

#include <initializer_list>

namespace fiberd {

/// pthread_create with all signals blocked but those in `deliverable`: a thread inherits its maker's mask, so it is set
/// before and put back afterwards. Returns pthread_create's error, 0 for none. Any thread.
[[nodiscard]] int create_quiet_thread(pthread_t& thread, void* (*main)(void*), void* argument,
                                      std::initializer_list<int> deliverable = {},
                                      const pthread_attr_t* attributes = nullptr) noexcept;

}  // namespace fiberd
