#pragma once
// The console: one web page over the admin listener's /debug/status. Its files are in the binary (deploy/cmake/
// embed-console.cmake), some 33 KiB by gzip in all, and fetch nothing from elsewhere.
#include <span>
#include <string_view>
#include <vector>

#include "core/http/server.hpp"

namespace fiberd::daemon {

struct ConsoleFile {
  std::string_view path;  ///< below /console/; empty: the page itself, /console
  std::string_view media_type;
  std::string_view plain;  ///< live for ever, as all of it
  std::string_view gzip;
  std::string_view plain_tag;  ///< ETag of each
  std::string_view gzip_tag;
};
[[nodiscard]] std::span<const ConsoleFile> console_files() noexcept;

/// Where the page may load from and what may frame it: from itself alone, and nobody. Styles that scripts set one by
/// one (uPlot does) are allowed by it, style attributes and elements are not.
inline constexpr std::string_view kConsolePolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// GET /console and what it loads below /console/, with ETags (304), by gzip for who takes it, as they are for others.
/// /console/pages.json: the paths of `routes`, a JSON list: the page links those that this daemon has. On any number of
/// fibers; nothing waits.
[[nodiscard]] std::vector<http::Route> console_pages(const std::vector<http::Route>& routes);

}  // namespace fiberd::daemon
