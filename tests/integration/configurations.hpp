#pragma once
// Pieces of which tests put a daemon's configuration together.
#include <cstdint>
#include <string>

namespace fiberd::test {

inline const std::string kAdmin = "admin: {address: \"127.0.0.1:0\"}\n";

/// An address, quoted as YAML wants it for its colon.
inline std::string at(std::uint16_t port) { return "\"127.0.0.1:" + std::to_string(port) + "\""; }

/// A listener `name` with these routes; `rest` are further keys of its http.
inline std::string http_listener(const std::string& name, const std::string& routes, const std::string& rest = {},
                                 const std::string& address = at(0)) {
  return "  - {name: " + name + ", address: " + address + ", http: {routes: [" + routes + "]" + rest + "}}\n";
}
/// A route.
inline std::string says(const std::string& path, const std::string& body) {
  return "{path: " + path + ", respond: {body: " + body + "}}";
}
inline std::string with_listeners(const std::string& listeners, const std::string& rest = {}) {
  return kAdmin + rest + "listeners:\n" + listeners;
}

/// A listener "web" that says hello at / and echoes at /echo. `http`: further keys of its http, which begin in column
/// 7, and what may follow listeners; `rest`: what stands before them.
inline std::string web(const std::string& http = {}, const std::string& rest = {}) {
  return with_listeners(
      "  - name: web\n"
      "    address: \"127.0.0.1:0\"\n"
      "    http:\n"
      "      routes: [{path: /, respond: {body: hello}}, {path: /echo, echo: {}}]\n" +
          http,
      rest);
}

}  // namespace fiberd::test
