#include "core/fiber/context.hpp"

#include <pthread.h>

#include <boost/context/detail/fcontext.hpp>
#include <cstdlib>
#include <cstring>

#if defined(FIBERD_ASAN)
#include <sanitizer/asan_interface.h>
#endif

// The frame of Boost.Context 1.81 on x86-64 System V, from its lowest address (also where make_fcontext leaves it):
//
//   0x00 mxcsr (4)   0x04 x87 control word (4)   0x08 unused (stack protector slot)
//   0x10 r12   0x18 r13   0x20 r14   0x28 r15   0x30 rbx   0x38 rbp   0x40 rip
//
// A new frame's rip is a stub in make_fcontext that pushes rbp and jumps to rbx, which we set to fiberd_context_start.
// It finds entry, argument and the address of context_main in r12, r13 and r14: slots of the frame that make_fcontext
// leaves free. (Assembly names no symbol: link-time optimisation may make it local to another partition.)
//
// The switch is a naked function, not a top-level asm block nor a .S file: link-time optimisation then knows it as a
// symbol of this file, so an archive's index and the linker's plugin find it with both compilers. noipa and noinline
// keep the optimiser from reasoning about a body that it cannot read.

#if defined(__clang__)
#define FIBERD_NAKED                                                                                     \
  __attribute__((naked, noinline, no_instrument_function, no_sanitize("address", "thread", "undefined"), \
                 visibility("hidden"), used))
#else
#define FIBERD_NAKED                                                                                            \
  __attribute__((naked, noinline, noipa, no_instrument_function, no_sanitize("address", "thread", "undefined"), \
                 visibility("hidden"), used))
#endif

namespace fiberd::fiber {

// <cxxabi.h> declares __cxa_get_globals const, so compilers merge the calls around a switch.
EhGlobals* cxa_get_globals() noexcept asm("__cxa_get_globals");

EhGlobals* thread_eh_globals() noexcept { return cxa_get_globals(); }

namespace detail {
namespace {

#if !defined(__x86_64__)
struct HandOver {
  SavedContext* from;
  SavedContext* to;
};
#endif

[[noreturn]] void run(Entry entry, void* argument) noexcept {
#if defined(FIBERD_ASAN)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  entry(argument);
  std::abort();  // an entry that returns has no caller
}

}  // namespace

#if defined(__x86_64__)

/// Saves the caller's frame in *save and continues the frame `load`.
extern "C" FIBERD_NAKED void fiberd_switch_frames(void** save [[maybe_unused]], void* load [[maybe_unused]]) noexcept {
  asm("leaq -0x40(%rsp), %rsp\n\t"
      ".cfi_adjust_cfa_offset 0x40\n\t"
      "stmxcsr (%rsp)\n\t"
      "fnstcw 0x4(%rsp)\n\t"
      "movq %r12, 0x10(%rsp)\n\t"
      "movq %r13, 0x18(%rsp)\n\t"
      "movq %r14, 0x20(%rsp)\n\t"
      "movq %r15, 0x28(%rsp)\n\t"
      "movq %rbx, 0x30(%rsp)\n\t"
      "movq %rbp, 0x38(%rsp)\n\t"
      "movq %rsp, (%rdi)\n\t"
      "movq %rsi, %rsp\n\t"
      "ldmxcsr (%rsp)\n\t"
      "fldcw 0x4(%rsp)\n\t"
      "movq 0x10(%rsp), %r12\n\t"
      "movq 0x18(%rsp), %r13\n\t"
      "movq 0x20(%rsp), %r14\n\t"
      "movq 0x28(%rsp), %r15\n\t"
      "movq 0x30(%rsp), %rbx\n\t"
      "movq 0x38(%rsp), %rbp\n\t"
      "leaq 0x40(%rsp), %rsp\n\t"
      ".cfi_adjust_cfa_offset -0x40\n\t"
      "xorl %esi, %esi\n\t"  // tells a new context that nobody waits for the sender's frame
      "ret");
}

/// First code of a new context. `frame` and `from` come from jump_fcontext; from is null after our own switch.
[[noreturn]] static void context_main(void* frame, SavedContext* from, Entry entry, void* argument) noexcept {
  if (from != nullptr) from->frame = frame;
  run(entry, argument);
}

/// Entered by make_fcontext's stub, which has pushed a return address. rbp = 0 ends frame-pointer walks here.
extern "C" FIBERD_NAKED void fiberd_context_start(boost::context::detail::transfer_t) {
  asm("xorl %ebp, %ebp\n\t"
      "movq %r12, %rdx\n\t"
      "movq %r13, %rcx\n\t"
      "jmp *%r14");
}

void switch_frames_boost(SavedContext& from, SavedContext& to) noexcept {
  const boost::context::detail::transfer_t t = boost::context::detail::jump_fcontext(to.frame, &from);
  static_cast<SavedContext*>(t.data)->frame = t.fctx;
}

#else

[[noreturn]] static void start(boost::context::detail::transfer_t t) {
  const HandOver* hand_over = static_cast<HandOver*>(t.data);
  hand_over->from->frame = t.fctx;
  run(hand_over->to->entry, hand_over->to->argument);
}

void switch_frames_boost(SavedContext& from, SavedContext& to) noexcept {
  // On the sender's stack, which stays untouched until the receiver has read it.
  HandOver hand_over{&from, &to};
  const boost::context::detail::transfer_t t = boost::context::detail::jump_fcontext(to.frame, &hand_over);
  static_cast<HandOver*>(t.data)->from->frame = t.fctx;
}

#endif

}  // namespace detail

void init_context(SavedContext& context, void* stack_top, void* stack_bottom, Entry entry, void* argument) noexcept {
  const auto size =
      static_cast<std::size_t>(static_cast<std::byte*>(stack_top) - static_cast<std::byte*>(stack_bottom));
  context = SavedContext{};
#if defined(FIBERD_ASAN)
  context.stack_bottom = stack_bottom;
  context.stack_size = size;
  // A stack's last user never returned, so its frames' red zones are still poisoned.
  __asan_unpoison_memory_region(stack_bottom, size);
#endif
#if defined(FIBERD_TSAN)
  context.tsan_fiber = __tsan_create_fiber(0);
  context.tsan_owned = true;
#endif
#if defined(__x86_64__)
  context.frame = boost::context::detail::make_fcontext(stack_top, size, &detail::fiberd_context_start);
  auto* frame = static_cast<std::byte*>(context.frame);
  std::memcpy(frame + 0x10, &entry, sizeof entry);
  std::memcpy(frame + 0x18, &argument, sizeof argument);
  void (*const main)(void*, SavedContext*, Entry, void*) noexcept = &detail::context_main;
  std::memcpy(frame + 0x20, &main, sizeof main);
#else
  context.entry = entry;
  context.argument = argument;
  context.frame = boost::context::detail::make_fcontext(stack_top, size, &detail::start);
#endif
}

void init_thread_context(SavedContext& context) noexcept {
  context = SavedContext{};
#if defined(FIBERD_ASAN)
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
    void* bottom = nullptr;
    if (pthread_attr_getstack(&attributes, &bottom, &context.stack_size) == 0) context.stack_bottom = bottom;
    pthread_attr_destroy(&attributes);
  }
#endif
#if defined(FIBERD_TSAN)
  context.tsan_fiber = __tsan_get_current_fiber();
#endif
}

void destroy_context([[maybe_unused]] SavedContext& context) noexcept {
#if defined(FIBERD_TSAN)
  if (context.tsan_owned && context.tsan_fiber != nullptr) __tsan_destroy_fiber(context.tsan_fiber);
  context.tsan_fiber = nullptr;
#endif
}

FrameRegisters parked_registers(const SavedContext& context) noexcept {
  FrameRegisters registers;
  const auto* frame = static_cast<const std::byte*>(context.frame);
  if (frame == nullptr) return registers;
#if defined(__x86_64__)
  constexpr std::size_t kFramePointer = 0x38, kReturn = 0x40, kSize = 0x48;
#elif defined(__aarch64__)
  constexpr std::size_t kFramePointer = 0x90, kReturn = 0xa0, kSize = 0xb0;
#endif
#if defined(__x86_64__) || defined(__aarch64__)
  std::memcpy(&registers.rbp, frame + kFramePointer, sizeof registers.rbp);
  std::memcpy(&registers.rip, frame + kReturn, sizeof registers.rip);
  registers.rsp = reinterpret_cast<std::uintptr_t>(frame) + kSize;
#endif
  return registers;
}

}  // namespace fiberd::fiber
