#pragma once
// StackClass: how large a fiber's stack is; one of a few sizes, since stacks of one size are what a pool can reuse.
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fiberd::fiber {

enum class StackClass : std::uint8_t {
  normal,  ///< what handlers get
  small,   ///< for very many that only wait: less address space and page tables; memory is used page by page anyway
  large,   ///< for what recurses, or calls libraries that were written for a thread's stack
  // What a spawn site is given when its fibers have shown how little they need (Options::stack_learning): so many KiB
  // and an emergency page below them, which opens once they are not enough.
  learnt_16,
  learnt_32,
  learnt_64,
};
inline constexpr std::size_t kStackClasses = 6;

/// Bytes that a fiber of a learnt class may use, the emergency page left out; 0 of the other classes, whose size is
/// configured.
[[nodiscard]] constexpr std::size_t learnt_size(StackClass c) noexcept {
  switch (c) {
    case StackClass::learnt_16: return std::size_t{16} * 1024;
    case StackClass::learnt_32: return std::size_t{32} * 1024;
    case StackClass::learnt_64: return std::size_t{64} * 1024;
    case StackClass::normal:
    case StackClass::small:
    case StackClass::large: break;
  }
  return 0;
}

[[nodiscard]] constexpr std::string_view to_string(StackClass c) noexcept {
  switch (c) {
    case StackClass::normal: return "normal";
    case StackClass::small: return "small";
    case StackClass::large: return "large";
    case StackClass::learnt_16: return "learnt_16k";
    case StackClass::learnt_32: return "learnt_32k";
    case StackClass::learnt_64: return "learnt_64k";
  }
  return "unknown";
}

}  // namespace fiberd::fiber
