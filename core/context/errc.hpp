#pragma once
// Why a context is done, as std::error_code. Both compare equal to what the runtime's own waits say: canceled to
// std::errc::operation_canceled, deadline_exceeded to std::errc::timed_out.
#include <system_error>

namespace fiberd::context {

enum class errc {  // NOLINT: named like std::errc
  canceled = 1,
  deadline_exceeded,
};

[[nodiscard]] const std::error_category& category() noexcept;
[[nodiscard]] inline std::error_code make_error_code(errc code) noexcept {
  return {static_cast<int>(code), category()};
}

}  // namespace fiberd::context

template <>
struct std::is_error_code_enum<fiberd::context::errc> : std::true_type {};
