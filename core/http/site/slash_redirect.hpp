#pragma once
#include <system_error>

#include "core/http/exchange.hpp"

namespace fiberd::http {

/// Answers with a redirect to the request's own path and a slash, query kept: 301 to GET and HEAD, 308 to others, whose
/// method and body are to be kept. The target is relative ("./name/"), so that a path that begins with "//" cannot
/// become another host. 503 when memory is out.
Result<void> redirect_to_slash(Exchange& exchange) noexcept;

}  // namespace fiberd::http
