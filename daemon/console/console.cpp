#include "daemon/console/console.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <memory>
#include <string>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/json_writer.hpp"
#include "core/http/files/conditional.hpp"
#include "core/http/handlers.hpp"
#include "core/http/negotiation.hpp"

namespace fiberd::daemon {

namespace {

Result<void> answer(http::Exchange& exchange, const ConsoleFile& file) {
  static constexpr std::array<std::string_view, 1> kCodings{"gzip"};
  const bool packed = http::choose_encoding(exchange.request().headers, kCodings) == 0;
  const std::string_view tag = packed ? file.gzip_tag : file.plain_tag;
  // Asked for anew each time, and sent when another build answers: a page must not meet the scripts of another.
  const std::array<http::Field, 8> fields{{{"ETag", tag},
                                           {"Vary", "Accept-Encoding"},
                                           {"Cache-Control", "no-cache"},
                                           {"Content-Security-Policy", kConsolePolicy},
                                           {"X-Content-Type-Options", "nosniff"},
                                           {"Referrer-Policy", "no-referrer"},
                                           {"Cross-Origin-Resource-Policy", "same-origin"},
                                           {"Content-Encoding", "gzip"}}};
  const std::span<const http::Field> all(fields);
  const std::time_t now = std::chrono::system_clock::to_time_t(wall_now());
  http::ResponseHead head;
  if (http::evaluate_preconditions(exchange.request(), {.etag = tag}, now) == http::Precondition::not_modified) {
    head.status = 304;
    head.fields = all.first(all.size() - 1);
    return exchange.respond(head, {});
  }
  head.content_type = file.media_type;
  head.fields = packed ? all : all.first(all.size() - 1);
  return exchange.respond(head, packed ? file.gzip : file.plain);
}

http::Route route_of(const char* path, std::shared_ptr<http::Handler> handler) {
  http::Route route;
  route.spec.path = path;
  route.spec.methods = http::MethodSet::of(http::Method::get);
  route.handler = std::move(handler);
  return route;
}

std::string paths_of(const std::vector<http::Route>& routes) {
  JsonWriter json;
  json.begin_array();
  for (const http::Route& route : routes)
    if (!route.spec.path.ends_with('*') && route.spec.methods.has(http::Method::get)) json.value(route.spec.path);
  return json.end_array().take() + "\n";
}

}  // namespace

std::vector<http::Route> console_pages(const std::vector<http::Route>& routes) {
  std::vector<http::Route> pages;
  pages.push_back(route_of("/console", http::make_handler([](http::Exchange& exchange) {
                             return answer(exchange, console_files().front());
                           })));
  pages.push_back(
      route_of("/console/*", http::make_handler([paths = paths_of(routes)](http::Exchange& exchange) -> Result<void> {
                 const std::string_view rest = exchange.rest();
                 if (rest == "pages.json") return exchange.respond(200, "application/json", paths);
                 if (rest.empty()) {
                   // The page's links are relative to the directory above, wherever a proxy in front has put that.
                   const http::Field home{"Location", "../console"};
                   return exchange.respond(308, "text/plain; charset=utf-8", "/console\n", {&home, 1});
                 }
                 const auto files = console_files();
                 const auto found = std::ranges::find(files, rest, &ConsoleFile::path);
                 return found != files.end() ? answer(exchange, *found) : exchange.respond_error(404);
               })));
  return pages;
}

}  // namespace fiberd::daemon
