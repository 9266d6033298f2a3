#pragma once
// An error's answer where a site wants one: `respond: {status: 404}`.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/result.hpp"
#include "core/http/handler.hpp"
#include "core/http/variables.hpp"

namespace fiberd::http {

struct ErrorRespondOptions {
  unsigned status = 404;                                    ///< 400 … 599
  std::vector<std::pair<std::string, Template>> headers{};  ///< rendered in Form::field
};
/// Answers as Exchange::respond_error does: the route's or the listener's page for that status, else text, JSON or HTML
/// by Accept. Errors: invalid_argument (a status, or a field that would split the answer). Throws std::bad_alloc.
[[nodiscard]] Result<std::shared_ptr<Handler>> make_error_respond_handler(ErrorRespondOptions options);

}  // namespace fiberd::http
