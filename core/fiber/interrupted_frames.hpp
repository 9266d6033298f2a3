#pragma once
// The stack of code that a signal has interrupted anywhere: in a library, too.
//
// Libraries are compiled without frame pointers. In one of their leaf functions (memcpy, a system call) the frame
// pointer is still its caller's, whose own name would be missing: the return address into it stands somewhere between
// the stack pointer and its frame, and is looked for there: the first word that points into the program's code behind a
// call instruction. Where the library has used the register for itself, the first such word with a plausible frame
// pointer before it is where the chain goes on. Both are bounded by kSearch words. A stale word may be taken for one:
// rare, and it costs a wrong frame in one sample. Nor have the program's own leaf functions a frame when they need no
// stack (gcc), nor any function in its first and last instructions: there the return address is at the stack pointer,
// and is believed if its call leads to where we are.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace fiberd::fiber {

/// The program's own code, which has frame pointers.
struct ProgramCode {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  [[nodiscard]] bool holds(std::uintptr_t address) const noexcept { return address > begin && address < end; }
  /// What a call would return to.
  [[nodiscard]] bool is_return_address(std::uintptr_t address) const noexcept {
#if defined(__x86_64__)
    static constexpr std::uintptr_t kLongestCall = 7;
    if (address < begin + kLongestCall || address >= end) return false;
    const auto* const at = reinterpret_cast<const unsigned char*>(address);
    const auto calls = [at](int opcode, int mode) {  // call r/m64 (FF /2), by what follows the opcode
      return at[-opcode] == 0xFF && (at[1 - opcode] & 0x38U) == 0x10 && at[1 - opcode] >> 6U == mode;
    };
    return at[-5] == 0xE8 || calls(2, 3) || calls(3, 1) || calls(4, 1) || calls(6, 2) || calls(7, 2) || calls(6, 0) ||
           calls(2, 0);
#else
    return address > begin && address < end && address % 4 == 0;
#endif
  }
  /// What a call that has led to `rip` would return to.
  [[nodiscard]] bool returns_from(std::uintptr_t address, std::uintptr_t rip) const noexcept {
#if defined(__x86_64__)
    if (!is_return_address(address)) return false;
    const auto* const at = reinterpret_cast<const unsigned char*>(address);
    if (at[-5] != 0xE8) return true;  // whereto is not known
    std::int32_t distance = 0;
    std::memcpy(&distance, at - sizeof distance, sizeof distance);
    static constexpr std::uintptr_t kLargest = 64 * 1024;
    return rip - (address + static_cast<std::uintptr_t>(static_cast<std::intptr_t>(distance))) < kLargest;
#else
    (void)address;
    (void)rip;
    return false;
#endif
  }
};

/// Takes locks of the loader: not in a signal handler.
[[nodiscard]] ProgramCode program_code() noexcept;

/// The registers of where it was.
struct InterruptedAt {
  std::uintptr_t rip = 0;
  std::uintptr_t rbp = 0;
  std::uintptr_t rsp = 0;
};

/// Frames from where it was interrupted: the instruction's own address, then return addresses, innermost first. `stack`
/// has bool read(std::uintptr_t at, std::uintptr_t& word) noexcept, and says no to what is none of the stack's.
/// Async-signal-safe, as far as `stack` is.
template <class Stack>
std::size_t walk_interrupted(const InterruptedAt& at, const ProgramCode& code, Stack& stack,
                             std::span<std::uintptr_t> frames) noexcept {
  constexpr std::size_t kWord = sizeof(std::uintptr_t);
  constexpr std::size_t kSearch = 64;  // words
  std::size_t n = 0;
  if (at.rip == 0 || frames.size() < 2) return 0;
  frames[n++] = at.rip;
  std::uintptr_t frame = at.rbp;
  const auto plausible = [&at](std::uintptr_t f, std::uintptr_t above) {
    static constexpr std::uintptr_t kMostStack = 1ULL << 30U;
    return f % kWord == 0 && f > above && f - at.rsp < kMostStack;
  };
  std::uintptr_t word = 0;
  if (code.holds(at.rip)) {
    if (stack.read(at.rsp, word) && code.returns_from(word, at.rip)) frames[n++] = word;
  } else {
    const bool chain = plausible(frame, at.rsp - 1);
    const std::uintptr_t end = chain ? std::min(frame, at.rsp + kSearch * kWord) : at.rsp + kSearch * kWord;
    std::uintptr_t before = 0;
    for (std::uintptr_t place = at.rsp / kWord * kWord; place < end; place += kWord) {
      if (!stack.read(place, word)) break;
      const bool returns = code.is_return_address(word);
      if (returns && chain) {
        frames[n++] = word;
        break;
      }
      // The frame pointer that a function of the program has pushed below its return address.
      if (returns && plausible(before, place)) {
        frames[n++] = word;
        frame = before;
        break;
      }
      before = word;
    }
  }
  std::uintptr_t above = at.rsp - 1;
  while (n < frames.size() && plausible(frame, above)) {
    std::uintptr_t caller = 0;
    std::uintptr_t returns_to = 0;
    // A return address among the first 4 KiB is none.
    static constexpr std::uintptr_t kFirstPage = 4096;
    if (!stack.read(frame, caller) || !stack.read(frame + kWord, returns_to) || returns_to < kFirstPage) break;
    if (caller == 0) break;  // the outermost frame: what it would return to is a stub of the context's start
    frames[n++] = returns_to;
    above = frame;
    frame = caller;
  }
  return n;
}

}  // namespace fiberd::fiber
