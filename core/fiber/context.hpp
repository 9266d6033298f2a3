#pragma once
// Context: one suspended flow of control, and the switch between two of them.
//
// A SavedContext is either a fiber's (init_context) or a thread's own stack (init_thread_context, Go's g0).
//
//   switch_context(from, to, eh)   saves the caller in `from` and continues `to`.
//
// What a switch must carry over, and why:
//   * Callee-saved registers, mxcsr and the x87 control word: the frame that Boost.Context's make_fcontext lays out.
//   * The 16 bytes behind __cxa_get_globals() (the stack of caught exceptions and the count of uncaught ones): they
//     are per thread, but belong to the fiber; a park inside a catch block would otherwise rethrow another fiber's
//     exception. Both sides of the exchange happen before the jump, on the thread that jumps: after the jump the
//     caller's code may continue on another thread, whose switching-in side has put the right values there.
//   * The sanitizers' idea of the current stack.
//
// Two forms of the jump on the same frame. Ours ends in `ret`, so the processor's return predictor stays in step with
// the code: 11 ns against 71 ns for jump_fcontext, which ends in `jmp`. Ours is x86-64 only; elsewhere switch_context
// is switch_context_boost. The two forms must not be mixed on contexts that switch between each other.
//
// Nothing here may be cached across a switch: not a thread's address (errno, pthread_self), not `thread_eh`.
#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#define FIBERD_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBERD_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define FIBERD_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FIBERD_TSAN 1
#endif
#endif

#if defined(FIBERD_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(FIBERD_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace fiberd::fiber {

/// What a new context runs, on its own stack. Must never return: it ends by a last switch_context(…, dying).
using Entry = void (*)(void* argument) noexcept;

/// The contents of __cxa_eh_globals (Itanium C++ ABI, 2.2.2).
struct EhGlobals {
  void* caught = nullptr;
  unsigned int uncaught = 0;
};
static_assert(sizeof(EhGlobals) == 2 * sizeof(void*));

/// Of the calling thread; constant for the thread's life. Look it up once per thread and keep the pointer with the
/// thread (not with a fiber). Never parks.
[[nodiscard]] EhGlobals* thread_eh_globals() noexcept;

struct SavedContext {
  void* frame = nullptr;  ///< the stack pointer while suspended, else stale
  EhGlobals eh;
#if !defined(__x86_64__)
  Entry entry = nullptr;
  void* argument = nullptr;
#endif
#if defined(FIBERD_ASAN)
  void* fake_stack = nullptr;
  const void* stack_bottom = nullptr;
  std::size_t stack_size = 0;
#endif
#if defined(FIBERD_TSAN)
  void* tsan_fiber = nullptr;
  bool tsan_owned = false;
#endif
};

/// Prepares `context` to run entry(argument) on [stack_bottom, stack_top) at the first switch to it. Any alignment of
/// stack_top. Writes to the topmost ~150 bytes of the stack only. Entry must never return.
void init_context(SavedContext& context, void* stack_top, void* stack_bottom, Entry entry, void* argument) noexcept;

/// Makes `context` stand for the calling thread's own stack; only that thread may switch away from it first.
void init_thread_context(SavedContext& context) noexcept;

/// Gives back what the sanitizers hold for a context; nothing else is held. Call it from another stack, after the
/// context's last switch away. For a thread's context: does nothing.
void destroy_context(SavedContext& context) noexcept;

/// True where switch_context is the `ret`-ending form.
[[nodiscard]] constexpr bool fast_switch_available() noexcept {
#if defined(__x86_64__)
  return true;
#else
  return false;
#endif
}

/// Where a suspended context stands, for frame-pointer walks. Zeros on architectures other than x86-64 and AArch64.
struct FrameRegisters {
  std::uintptr_t rbp = 0;
  std::uintptr_t rip = 0;
  std::uintptr_t rsp = 0;
};
/// `context` must be suspended, and stay so during the call. What it goes on with is saved below `rsp`, from
/// SavedContext::frame on.
[[nodiscard]] FrameRegisters parked_registers(const SavedContext& context) noexcept;

namespace detail {

#if defined(__x86_64__)
extern "C" void fiberd_switch_frames(void** save, void* load) noexcept;
#endif
void switch_frames_boost(SavedContext& from, SavedContext& to) noexcept;

[[gnu::always_inline]] inline void before_switch([[maybe_unused]] SavedContext& from, SavedContext& to,
                                                 EhGlobals* thread_eh, [[maybe_unused]] bool from_is_dying) noexcept {
  from.eh = *thread_eh;
  *thread_eh = to.eh;
#if defined(FIBERD_ASAN)
  __sanitizer_start_switch_fiber(from_is_dying ? nullptr : &from.fake_stack, to.stack_bottom, to.stack_size);
#endif
#if defined(FIBERD_TSAN)
  __tsan_switch_to_fiber(to.tsan_fiber, 0);
#endif
}

[[gnu::always_inline]] inline void after_switch([[maybe_unused]] SavedContext& from) noexcept {
#if defined(FIBERD_ASAN)
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

}  // namespace detail

/// As switch_context, through Boost.Context's jump_fcontext.
[[gnu::always_inline]] inline void switch_context_boost(SavedContext& from, SavedContext& to, EhGlobals* thread_eh,
                                                        bool from_is_dying = false) noexcept {
  detail::before_switch(from, to, thread_eh, from_is_dying);
  detail::switch_frames_boost(from, to);
  detail::after_switch(from);
}

/// Suspends the caller in `from` and continues `to`, which must be suspended. Returns when somebody switches to `from`,
/// perhaps on another thread. `thread_eh` is the calling thread's thread_eh_globals(). With `from_is_dying` nobody
/// may switch to `from` again. Publishing `from` to other threads is the business of `to`: until the switch is done,
/// the caller's stack is in use.
[[gnu::always_inline]] inline void switch_context(SavedContext& from, SavedContext& to, EhGlobals* thread_eh,
                                                  bool from_is_dying = false) noexcept {
#if defined(__x86_64__)
  detail::before_switch(from, to, thread_eh, from_is_dying);
  detail::fiberd_switch_frames(&from.frame, to.frame);
  detail::after_switch(from);
#else
  switch_context_boost(from, to, thread_eh, from_is_dying);
#endif
}

}  // namespace fiberd::fiber
