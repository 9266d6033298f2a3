// What a handler returns: an error of its own is logged once and answered for; what the client, the request's deadline
// or a stop brought about is counted where it was found, and is no line in the log.
#include <atomic>
#include <catch2/catch.hpp>
#include <string>

#include "core/context/context.hpp"
#include "core/context/waits.hpp"
#include "core/metric/registry.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/kept_log.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

std::size_t lines(const std::string& what) {
  const std::string text = KeptLog::text();
  std::size_t n = 0;
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) ++n;
  return n;
}

}  // namespace

TEST_CASE("an error that a handler returns is logged once and counted for what it is", "[integration][http]") {
  const KeptLog log;
  metric::Registry registry;
  const auto counter = [&](const char* name) {
    return &registry.counter(registry.family({.name = name, .help = "h"}));
  };
  http::ServerOptions options;
  metric::Counter& truncated = *(options.metrics.closed_truncated = counter("truncated_total"));
  metric::Counter& late_requests = *(options.metrics.request_timeouts = counter("request_total"));
  const auto begun = [](std::errc how) {
    return handler([how](http::Exchange& ex) -> Result<void> {
      if (const auto sent = ex.begin({}); !sent) return sent;
      if (const auto sent = ex.write("begun"); !sent) return sent;
      if (const auto sent = ex.flush(); !sent) return sent;
      return fail(how);
    });
  };
  http::Route late =
      route("/late", handler([](http::Exchange& ex) -> Result<void> { return context::sleep(ex.context(), 10s); }));
  late.request_timeout = 20ms;
  std::atomic<int> working{0};
  const auto until_gone = [&working](bool streams) {
    return handler([&working, streams](http::Exchange& ex) -> Result<void> {
      if (streams) {
        if (const auto sent = ex.begin({}); !sent) return sent;
        if (const auto sent = ex.write("begun"); !sent) return sent;
        if (const auto sent = ex.flush(); !sent) return sent;
      }
      ++working;
      const std::error_code error = error_of(context::sleep(ex.client_context(), 10s));
      --working;
      return as_result(error);
    });
  };
  HttpServer server({route("/", hello()), route("/waits", until_gone(false)), route("/streams", until_gone(true)),
                     route("/fails", handler([](http::Exchange&) { return fail(std::errc::io_error); })),
                     route("/elsewhere", handler([](http::Exchange&) { return fail(std::errc::timed_out); })),
                     route("/after", handler([](http::Exchange& ex) -> Result<void> {
                             if (const auto sent = ex.respond(200, "text/plain", "all of it"); !sent) return sent;
                             return fail(std::errc::no_space_on_device);
                           })),
                     route("/half", begun(std::errc::protocol_error)), late},
                    std::move(options));
  const auto status = [&](const char* path) {
    const auto answer = HttpClient(server.port()).ask(get(path));
    return answer ? answer->status : 0U;
  };
  CHECK(status("/") == 200);
  CHECK(status("/fails") == 500);
  CHECK(lines("handler of /fails failed: Input/output error\n") == 1);
  CHECK(status("/elsewhere") == 503);
  CHECK(lines("handler of /elsewhere failed: ") == 1);
  CHECK(late_requests.value() == 0);
  CHECK(status("/after") == 200);
  CHECK(eventually([&] { return lines("handler of /after failed: ") == 1; }));
  CHECK(status("/late") == 503);
  CHECK(late_requests.value() == 1);
  CHECK(truncated.value() == 0);
  CHECK(status("/half") == 0);
  CHECK(eventually([&] { return truncated.value() == 1; }));
  CHECK(lines("handler of /half failed: Protocol error\n") == 1);
  // A client that goes away while the handler works, before or after the answer began, is no failure of the handler.
  for (const char* path : {"/waits", "/streams"}) {
    {
      HttpClient gone(server.port());
      gone.send(get(path));
      CHECK(eventually([&] { return working == 1; }));
    }
    CHECK(eventually([&] { return working == 0; }));
  }
  (void)server.stop(5s);  // what these handlers returned has been judged then
  CHECK(truncated.value() == 1);
  CHECK(lines("handler of ") == 4);
}
