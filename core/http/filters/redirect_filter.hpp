#pragma once
// Redirects with variables: to https, to or from www, to another path.
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/http/filter.hpp"
#include "core/http/handler.hpp"
#include "core/http/variables.hpp"
#include "core/metric/metrics.hpp"

namespace fiberd::http {

struct RedirectRule {
  /// Of request_variables(), such as "https://${host}${path}${query}".
  Template location;
  unsigned status = 308;  ///< 301, 302, 303, 307, 308
  /// Requests by this scheme alone: "http" for what is to be https. Empty: all.
  std::string scheme{};
  /// Requests for these hosts alone, in lower case, "*.example.org" for all below. Empty: all.
  std::vector<std::string> hosts{};
  metric::Counter* redirected = nullptr;
};
/// Answers what the rule is for, and passes on the rest. A location that would lead to the request's own URI is passed
/// on too: it would be a loop. One of more than 8 KiB is answered 414. Errors: invalid_argument (`why`, if given, says
/// what is wrong): another status, or as check_location(). Throws std::bad_alloc.
[[nodiscard]] Result<std::shared_ptr<Filter>> make_redirect_filter(RedirectRule rule, std::string* why = nullptr);
/// The same as a handler, for a route that is nothing else: what the rule is not for is answered 404.
[[nodiscard]] Result<std::shared_ptr<Handler>> make_template_redirect_handler(RedirectRule rule,
                                                                              std::string* why = nullptr);

}  // namespace fiberd::http
