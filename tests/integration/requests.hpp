#pragma once
// Requests with a body, for tests of what a server does with one.
#include <string>
#include <string_view>

namespace fiberd::test {

/// `fields` say how long it is; `body` may be less than that.
inline std::string post(std::string_view path, std::string_view fields, std::string_view body = {}) {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n" + std::string(body);
}

}  // namespace fiberd::test
