#pragma once
// The routes that the rows of the raw-socket suite assume (raw_case.hpp).
#include <stdexcept>
#include <string>
#include <vector>

#include "core/http/files/files.hpp"
#include "tests/support/http_fixture.hpp"

namespace fiberd::protocol {

/// Reads the whole body before it answers, so that every refusal can still be told by its status.
inline Result<void> collect(http::Exchange& ex) {
  std::string body;
  for (;;) {
    const Result<std::string_view> piece = ex.read_body();
    if (!piece) return fail(piece.error());
    if (piece->empty()) return ex.respond(200, "application/octet-stream", body);
    body += *piece;
  }
}

/// `root`: what make_site() has filled.
inline std::vector<http::Route> raw_site(const std::string& root) {
  const auto files = http::make_files_handler({.root = root});
  if (!files) throw std::system_error(files.error());
  return {{.spec = {.path = "/"}, .handler = test::hello()},
          {.spec = {.path = "/sentinel"},
           .handler = *http::make_respond_handler({.content_type = "text/plain", .body = "sentinel"})},
          {.spec = {.path = "/echo"}, .handler = test::handler(collect)},
          {.spec = {.path = "/files/*", .methods = http::MethodSet::of(http::Method::get)}, .handler = *files}};
}

}  // namespace fiberd::protocol
