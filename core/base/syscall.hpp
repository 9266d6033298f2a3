#pragma once
// system_call: a system call of the hot path without the C library around it. In a program with threads glibc makes
// recv, send and epoll_wait points of pthread cancellation, which costs two atomic exchanges a call; nobody cancels
// threads here. It returns -errno and never touches errno, so it may stand in a function that parks (a compiler may
// keep the address of a thread's errno across a park).
//
// Under the sanitizers the library's functions are used: their interceptors learn from them which memory the kernel
// wrote and what a descriptor synchronises.
#include <errno.h>
#include <unistd.h>

namespace fiberd {

#if defined(__x86_64__) && defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FIBERD_DIRECT_SYSTEM_CALLS 1
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#undef FIBERD_DIRECT_SYSTEM_CALLS
#endif
#endif
#endif

#if defined(FIBERD_DIRECT_SYSTEM_CALLS)
inline long system_call(long number, long a, long b, long c, long d = 0, long e = 0, long f = 0) noexcept {
  long result = number;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall" : "+a"(result) : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return result;
}
#endif

}  // namespace fiberd
