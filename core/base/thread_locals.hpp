#pragma once
// The one door to this project's thread-local state.
//
// A fiber that parks may wake on another thread. Compilers assume that the address of a thread_local cannot change
// inside a function, so a cached address would silently belong to the thread the fiber left. On x86-64 the address is
// computed by inline assembly that is volatile, hence never merged or hoisted across a switch; a noinline getter is
// not enough (clang infers that it is pure and merges the calls). Elsewhere the getter is hidden behind an opaque
// pointer that the optimiser must reload.
#include <cstdint>

namespace fiberd {

namespace runtime {
class Machine;
}

/// What a thread of the process knows about itself. Plain data: no constructor runs, so access costs two instructions.
struct ThreadLocals {
  runtime::Machine* machine = nullptr;  ///< set while the thread is a scheduler machine
  std::uint32_t shard = 0;              ///< metric shard; 0 is shared by all threads that own none
  std::uint32_t lock_depth = 0;         ///< fiberd::Lock held by this thread; a wait requires 0
  std::uint32_t fiber = 0;              ///< index of the fiber that runs here, or ran last
  std::uint32_t little = 0;             ///< small operations so far: runtime::spend_little()
  bool serves_timers = false;           ///< sysmon: runs the scheduler's callbacks, never a fiber
};

#if defined(__x86_64__)
extern "C" __thread ThreadLocals fiberd_thread_locals __attribute__((tls_model("initial-exec")));

// A reference that link-time optimisation sees too, so that the variable's object is taken from its archive.
extern const char thread_locals_anchor;
[[gnu::used]] inline const char* const thread_locals_reference = &thread_locals_anchor;

[[gnu::always_inline]] inline ThreadLocals* thread_locals() noexcept {
  ThreadLocals* p;
  asm volatile("movq %%fs:0, %0\n\taddq fiberd_thread_locals@gottpoff(%%rip), %0" : "=r"(p) : : "cc");
  return p;
}
#else
ThreadLocals* thread_locals_slow() noexcept;
extern ThreadLocals* (*volatile thread_locals_getter)() noexcept;
inline ThreadLocals* thread_locals() noexcept { return thread_locals_getter(); }
#endif

}  // namespace fiberd
