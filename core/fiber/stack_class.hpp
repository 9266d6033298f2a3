#pragma once
// StackClass: how large a fiber's stack is; one of three sizes, since stacks of one size are what a pool can reuse.
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fiberd::fiber {

enum class StackClass : std::uint8_t {
  normal,  ///< what handlers get
  small,   ///< for very many that only wait: less address space and page tables; memory is used page by page anyway
  large,   ///< for what recurses, or calls libraries that were written for a thread's stack
};
inline constexpr std::size_t kStackClasses = 3;

[[nodiscard]] constexpr std::string_view to_string(StackClass c) noexcept {
  switch (c) {
    case StackClass::normal: return "normal";
    case StackClass::small: return "small";
    case StackClass::large: return "large";
  }
  return "unknown";
}

}  // namespace fiberd::fiber
