#include "daemon/admin/fiber_pages.hpp"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/base/printable.hpp"
#include "core/base/read_file.hpp"
#include "core/base/units.hpp"
#include "core/http/handlers.hpp"
#include "core/http/query.hpp"
#include "core/observe/fiber_dump.hpp"
#include "core/runtime/blocking.hpp"
#include "daemon/admin/plain_text.hpp"

namespace fiberd::daemon {

namespace {

/// Of the query. What is wrong with it: a sentence.
std::optional<std::string> read_filter(std::string_view query, observe::FiberFilter& filter) {
  filter.name = http::query_value(query, "name").value_or("");
  filter.site = http::query_value(query, "site").value_or("");
  if (auto state = http::query_value(query, "state"); state && !state->empty()) {
    if (auto wrong = observe::why_no_state(*state)) return wrong;
    filter.state = std::move(*state);
  }
  if (const auto age = http::query_value(query, "min_age"); age && !age->empty()) {
    const auto duration = parse_duration(*age);
    if (!duration) return "min_age: \"" + printable(*age, 64) + "\" is no duration; write 500ms, 30s, 5m";
    filter.min_age = *duration;
  }
  return std::nullopt;
}

Result<void> fibers(http::Exchange& exchange) {
  const std::string_view query = exchange.request().query;
  observe::FiberFilter filter;
  if (const auto wrong = read_filter(query, filter)) return exchange.respond(400, kPlainText, *wrong + "\n");
  const std::string debug = http::query_value(query, "debug").value_or("0");
  if (debug != "0" && debug != "1" && debug != "2")
    return exchange.respond(400, kPlainText, "debug: 0 (pprof's protobuf), 1 (grouped) or 2 (each fiber)\n");
  // Scrapers, which take the protobuf, have parameters of their own (gc=1).
  if (debug != "0")
    if (const auto unknown = why_unknown("fibers", query, {"debug", "name", "site", "state", "min_age"}))
      return exchange.respond(400, kPlainText, *unknown);
  if (debug == "0") {
    // What is open meanwhile, fibers that end and begin, does not matter to a call beside: symbols take their time.
    const Result<std::string> profile = runtime::blocking([&] { return observe::profile_fibers(filter); });
    if (!profile) return fail(profile.error());
    const http::Field name{"Content-Disposition", "attachment; filename=\"goroutine.pb.gz\""};
    return exchange.respond(200, "application/octet-stream", *profile, {&name, 1});
  }
  http::ResponseHead head;
  head.content_type = kPlainText;
  if (const Result<void> begun = exchange.begin(head); !begun) return begun;
  if (exchange.request().method == http::Method::head) return exchange.end();  // nobody looks at what it would say
  const observe::TextSink sink = [&exchange](std::string_view piece) { return exchange.write(piece); };
  const Result<void> told = debug == "1" ? observe::group_fibers(filter, sink) : observe::dump_fibers(filter, sink);
  return told ? exchange.end() : told;
}

/// The command line, its arguments parted by zero bytes: as Go shows it.
Result<void> command_line(http::Exchange& exchange) {
  const Result<std::string> line = runtime::blocking([] { return read_file("/proc/self/cmdline", 64 * 1024); });
  if (!line) return fail(line.error());
  return exchange.respond(200, kPlainText, std::string_view(*line).substr(0, line->find_last_not_of('\0') + 1));
}

}  // namespace

std::vector<http::Route> fiber_pages() {
  std::vector<http::Route> routes;
  const auto add = [&routes](const char* path, Result<void> (*serve)(http::Exchange&)) {
    http::Route route;
    route.spec.path = path;
    route.spec.methods = http::MethodSet::of(http::Method::get);
    route.handler = http::make_handler(serve);
    routes.push_back(std::move(route));
  };
  add("/debug/fibers", &fibers);
  add("/debug/pprof/goroutine", &fibers);
  add("/debug/pprof/cmdline", &command_line);
  return routes;
}

}  // namespace fiberd::daemon
