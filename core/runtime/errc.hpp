#pragma once
// What only the runtime can say about a spawn.
#include <string_view>
#include <system_error>
#include <type_traits>

namespace fiberd::runtime {

enum class errc : int {
  out_of_stacks = 1,  ///< no stack for one more fiber: maps, guards or address space are out; is not_enough_memory, too
  out_of_small_stacks,  ///< the same of the size that was asked for (StackClass)
  out_of_large_stacks,
  out_of_threads,  ///< machines_max, or the system, allows no thread for a LockThread; resource_unavailable_try_again
};

[[nodiscard]] const std::error_category& category() noexcept;
[[nodiscard]] inline std::error_code make_error_code(errc code) noexcept {
  return {static_cast<int>(code), category()};
}

}  // namespace fiberd::runtime

template <>
struct std::is_error_code_enum<fiberd::runtime::errc> : std::true_type {};
