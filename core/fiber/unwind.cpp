#include "core/fiber/unwind.hpp"

#include <unwind.h>

extern "C" {
// The linker's: where the executable begins, and where its code ends.
extern const char __executable_start;
extern const char etext;
}

namespace fiberd::fiber {

namespace {

struct Unwinding {
  std::uintptr_t from;  // the first return address that is wanted
  std::span<std::uintptr_t> out;
  std::size_t count = 0;
};

_Unwind_Reason_Code on_frame(_Unwind_Context* context, void* argument) noexcept {
  auto& u = *static_cast<Unwinding*>(argument);
  const std::uintptr_t address = _Unwind_GetIP(context);
  if (address == 0 || u.count == u.out.size()) return _URC_END_OF_STACK;
  if (u.count != 0 || address == u.from) u.out[u.count++] = address;
  return _URC_NO_REASON;
}

}  // namespace

bool in_executable(const void* address) noexcept { return address >= &__executable_start && address < &etext; }

[[gnu::noinline]] std::size_t unwind_frames(const void* from, std::span<std::uintptr_t> out) noexcept {
  Unwinding u{reinterpret_cast<std::uintptr_t>(from), out};
  (void)_Unwind_Backtrace(&on_frame, &u);
  return u.count;
}

}  // namespace fiberd::fiber
