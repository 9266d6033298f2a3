#pragma once
// The filters of a listener or a route, as they were configured: each a struct, and all of them in one vector in the
// order in which their keys were written.
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "config/place.hpp"

namespace fiberd::config {

/// `headers`: fields of answers. Values are templates of request variables (core/base/variable_names.hpp).
struct HeadersFilter {
  std::vector<std::pair<std::string, std::string>> set{};  ///< instead of what was there
  std::vector<std::pair<std::string, std::string>> add{};  ///< beside what was there
  std::vector<std::string> remove{};
  Place at{};
  bool operator==(const HeadersFilter&) const = default;
};

/// `allow`: clients whose address is in none of the ranges get 403.
struct AllowFilter {
  PlacedTexts ranges{};  ///< "192.0.2.0/24", "2001:db8::/32", "192.0.2.1", "unix:"
  bool operator==(const AllowFilter&) const = default;
};
/// `deny`: clients whose address is in one of the ranges get 403.
struct DenyFilter {
  PlacedTexts ranges{};
  bool operator==(const DenyFilter&) const = default;
};

struct BasicAuthFilter {
  std::string file{};  ///< as htpasswd writes it
  std::string realm{};
  Place file_at{};
  bool operator==(const BasicAuthFilter&) const = default;
};

struct CorsFilter {
  std::vector<std::string> origins{};  ///< "https://a.example", "https://*.a.example"; or "*" alone
  std::vector<std::string> methods{};
  std::vector<std::string> headers{};
  std::vector<std::string> expose{};
  bool credentials = false;
  std::chrono::seconds max_age{600};
  Place at{};
  bool operator==(const CorsFilter&) const = default;
};

struct CodingConfig {
  std::string coding{};        ///< "gzip", "br", "zstd"
  std::optional<int> level{};  ///< none: the coding's usual one
  bool operator==(const CodingConfig&) const = default;
};
struct CompressFilter {
  std::vector<CodingConfig> codings{};  ///< the best first
  std::vector<std::string> types{};     ///< "text/html", "text/*", lower case; empty: the usual ones
  std::uint64_t min_size = 1024;
  Place at{};
  bool operator==(const CompressFilter&) const = default;
};

struct RequestIdFilter {
  std::string header = "X-Request-Id";
  bool accept = false;  ///< an id that the request brings is taken over
  Place at{};
  bool operator==(const RequestIdFilter&) const = default;
};

/// `cache_control`: ".css", "text/css", "image/*" or "*", and the field's value; the first that fits.
struct CacheControlFilter {
  std::vector<std::pair<std::string, std::string>> rules{};
  Place at{};
  bool operator==(const CacheControlFilter&) const = default;
};

/// A filter of the program's own, by its name: whether the program has it is known to check_handlers() (handlers.hpp)
/// only. `filters: [a, b]` is two of them.
struct NamedFilter {
  std::string name{};
  Place name_at{};
  bool operator==(const NamedFilter&) const = default;
};

using FilterConfig = std::variant<HeadersFilter, AllowFilter, DenyFilter, BasicAuthFilter, CorsFilter, CompressFilter,
                                  RequestIdFilter, CacheControlFilter, NamedFilter>;

}  // namespace fiberd::config
