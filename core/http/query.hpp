#pragma once
// Parameters of a query, as forms and people write them (WHATWG URL standard, application/x-www-form-urlencoded).
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace fiberd::http {

/// The first value of `name` in `query` (with its '?' or without), decoded: '+' is a space, %XX a byte; what is no
/// escape stays as it is. "" where the name stands alone; nullopt where it does not stand. Throws std::bad_alloc.
[[nodiscard]] std::optional<std::string> query_value(std::string_view query, std::string_view name);

/// The first name in `query` that is none of `known`, decoded; nullopt: there is none. Throws std::bad_alloc.
[[nodiscard]] std::optional<std::string> unknown_query_name(std::string_view query,
                                                            std::initializer_list<std::string_view> known);

}  // namespace fiberd::http
