#include "core/http/site/slash_redirect.hpp"

#include <new>
#include <string>
#include <string_view>

namespace fiberd::http {

Result<void> redirect_to_slash(Exchange& exchange) noexcept {
  const Request& request = exchange.request();
  // As it was sent: the last segment of the normal form, escapes kept. It is never empty nor of dots, for such a path's
  // normal form ends in a slash already.
  const std::string_view raw = request.path;
  std::string location;
  try {
    location = "./" + std::string(raw.substr(raw.rfind('/') + 1)) + "/";
    if (!request.query.empty()) location += "?" + std::string(request.query);
  } catch (const std::bad_alloc&) {
    return exchange.respond_error(503);
  }
  const Field field{"Location", location};
  const bool get = request.method == Method::get || request.method == Method::head;
  return exchange.respond(get ? 301 : 308, "text/plain; charset=utf-8",
                          get ? "301 Moved Permanently\n" : "308 Permanent Redirect\n", {&field, 1});
}

}  // namespace fiberd::http
