#pragma once
// Why HTTP ends what goes on for longer than a request, as std::error_code, where std::errc has no word for it.
#include <system_error>

namespace fiberd::http {

enum class errc {  // NOLINT: named like std::errc
  draining = 1,    ///< the server stops: what has no end of its own comes to one. Equals std::errc::operation_canceled
};

[[nodiscard]] const std::error_category& http_category() noexcept;
[[nodiscard]] inline std::error_code make_error_code(errc code) noexcept {
  return {static_cast<int>(code), http_category()};
}

}  // namespace fiberd::http

template <>
struct std::is_error_code_enum<fiberd::http::errc> : std::true_type {};
