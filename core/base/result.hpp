#pragma once
// Result<T>: a value or a std::error_code; Result<void>: only whether it went well. What may fail and is for others to
// call returns one of them, so that `if (!call())` is a failure whatever was called. (Helpers of one room hand the
// error_code itself from one to the other, in two registers.)
//
// tl::expected is the published implementation of C++23's std::expected (Debian: libexpected-dev); the alias keeps the
// switch to the standard one to this file.
#include <system_error>
#include <tl/expected.hpp>

namespace fiberd {

template <class T>
using Result = tl::expected<T, std::error_code>;

/// Whether a function that returns T says by it whether it failed.
template <class T>
inline constexpr bool is_result = false;
template <class T>
inline constexpr bool is_result<Result<T>> = true;

/// Makes the error side of a Result: `return fail(std::errc::invalid_argument);`
template <class E>
[[nodiscard]] tl::unexpected<std::error_code> fail(E code) {
  return tl::unexpected<std::error_code>(make_error_code(code));
}
[[nodiscard]] inline tl::unexpected<std::error_code> fail(std::error_code code) {
  return tl::unexpected<std::error_code>(code);
}
/// From a leaf system call's `-errno`.
[[nodiscard]] inline tl::unexpected<std::error_code> fail_errno(int negative_errno) {
  return tl::unexpected<std::error_code>(std::error_code(-negative_errno, std::system_category()));
}

/// What a call failed with; no error when it went well: `switch (error_of(result).value())`, or to keep the first of
/// many.
template <class T>
[[nodiscard]] std::error_code error_of(const Result<T>& result) noexcept {
  return result ? std::error_code() : result.error();
}
/// The other way: of what says by "no error" that it went well, as the system and std do.
[[nodiscard]] inline Result<void> as_result(std::error_code error) noexcept {
  if (error) return fail(error);
  return {};
}

}  // namespace fiberd
