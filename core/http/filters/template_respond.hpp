#pragma once
// An answer with variables: `respond: {body: "you asked for ${path}"}`.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/result.hpp"
#include "core/http/handler.hpp"
#include "core/http/variables.hpp"

namespace fiberd::http {

struct TemplateRespondOptions {
  unsigned status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  Template body{};                                          ///< rendered in form_for(content_type)
  std::vector<std::pair<std::string, Template>> headers{};  ///< rendered in Form::field
};
/// What is the same each time is better made by make_respond_handler(). A body of more than 64 KiB is answered 500: the
/// template multiplies what the client sends. Errors: invalid_argument (a status, a field that would split the answer,
/// variables in a body without a type). Throws std::bad_alloc.
[[nodiscard]] Result<std::shared_ptr<Handler>> make_template_respond_handler(TemplateRespondOptions options);

}  // namespace fiberd::http
