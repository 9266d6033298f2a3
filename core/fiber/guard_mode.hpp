#pragma once
#include <cstdint>
#include <string_view>

namespace fiberd::fiber {

/// What the operator asks for (`runtime.stack_guards`).
enum class GuardMode : std::uint8_t {
  automatic,  ///< MADV_GUARD_INSTALL, else mprotect as far as vm.max_map_count goes, then spawn fails
  require,    ///< as automatic, but refuse to start where no guard can be had
  canary      ///< as automatic, but beyond the limit go on unguarded with a canary checked at each fiber's end
};

/// What is in force.
enum class GuardKind : std::uint8_t { guard_install, mprotect, canary };

[[nodiscard]] constexpr std::string_view to_string(GuardKind kind) noexcept {
  switch (kind) {
    case GuardKind::guard_install: return "guard_install";
    case GuardKind::mprotect: return "mprotect";
    case GuardKind::canary: return "canary";
  }
  return "unknown";
}

}  // namespace fiberd::fiber
