#pragma once
// Fields of answers: set, added, removed.
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/http/filter.hpp"
#include "core/http/variables.hpp"

namespace fiberd::http {

struct HeadersOptions {
  struct Value {
    std::string name;
    Template value;  ///< rendered in Form::field
  };
  std::vector<Value> set{};           ///< in place of those of that name
  std::vector<Value> add{};           ///< beside those of that name
  std::vector<std::string> remove{};  ///< first of all
};
/// Applied when the head of the answer is committed, whoever gave it: the handler, or the server for an error. A value
/// that renders to nothing leaves its field out. Errors: invalid_argument (`why`, if given, says which name): no field
/// name, or one that the server alone writes (Date, Connection, Content-Length, Transfer-Encoding). Throws
/// std::bad_alloc.
[[nodiscard]] Result<std::shared_ptr<Filter>> make_headers_filter(HeadersOptions options, std::string* why = nullptr);

}  // namespace fiberd::http
