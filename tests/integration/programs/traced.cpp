// The daemon with a handler that asks another server, whose URL stands in UPSTREAM, within a span of its own.
#include <chrono>
#include <cstdlib>
#include <fiberd/core/http/client/client.hpp>
#include <fiberd/core/net/tcp_stream.hpp>
#include <fiberd/core/runtime/runtime.hpp>
#include <fiberd/core/trace/span.hpp>
#include <fiberd/daemon/daemon.hpp>
#include <memory>
#include <span>
#include <string>

using namespace fiberd;
using namespace std::chrono_literals;

namespace {

http::Client& client() {
  static http::Client one;
  return one;
}

Result<void> ask(http::Exchange& exchange) {
  trace::Span span(exchange.context(), "look up");
  span.set("lookup.size", 3).event("asked", {{"attempt", 1}});
  auto answer = client().get(span.context(), std::getenv("UPSTREAM"));
  if (!answer) {
    span.fail(answer.error().message());
    return exchange.respond_error(502);
  }
  auto text = answer->read_all(span.context(), 64 * 1024);
  if (!text) return fail(text.error());
  return exchange.respond(answer->status(), "text/plain", *text);
}

}  // namespace

int main(int argc, char** argv) {
  daemon::Daemon daemon;
  daemon.on_start([](const context::Context& ctx) {
    if (std::getenv("WARM_UP") == nullptr) return;
    trace::Span span(ctx, "warm up");  // no request has begun it: it begins a trace
    const auto answer = client().get(span.context(), std::getenv("UPSTREAM"));
    if (!answer) span.fail(answer.error().message());
  });
  daemon.serve_tcp("lines", [](const context::Context& ctx, net::TcpStream& stream) {
    std::byte line[64];
    while (const auto n = stream.read_some(ctx, line)) {
      if (*n == 0) return;
      trace::Span span(ctx, "line");
      if (!stream.write_all(span.context(), std::span(line).first(*n))) span.fail("not answered");
    }
  });
  daemon.handle("ask", &ask);
  daemon.handle("fails", [](http::Exchange& ex) { return ex.respond_error(500); });
  daemon.handle("slow", [](http::Exchange& ex) -> Result<void> {
    if (const auto slept = runtime::sleep_for(300ms); !slept) return slept;
    return ex.respond(200, "text/plain", "slow");
  });
  return daemon.main(argc, argv);
}
