#include "daemon/admin/trace_pages.hpp"

#include <atomic>
#include <charconv>
#include <chrono>
#include <string>
#include <utility>

#include "core/base/defer.hpp"
#include "core/base/printable.hpp"
#include "core/http/handlers.hpp"
#include "core/http/query.hpp"
#include "core/observe/perfetto_trace.hpp"
#include "core/runtime/scheduler.hpp"
#include "daemon/admin/plain_text.hpp"

namespace fiberd::daemon {

namespace {

constexpr unsigned kLongestTrace = 60;

/// Two would look at the same rings twice as often, and mostly it is one person who has asked twice.
std::atomic<bool> being_written{false};

Result<void> trace(http::Exchange& exchange) {
  const std::string text = http::query_value(exchange.request().query, "seconds").value_or("0");
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds, std::chars_format::fixed);
  if (error != std::errc() || end != text.data() + text.size() || !(seconds >= 0 && seconds <= kLongestTrace))
    return exchange.respond(400, kPlainText,
                            "seconds: " + quoted(text, 64) + " is not between 0 (what is held) and " +
                                std::to_string(kLongestTrace) + "\n");
  if (runtime::Scheduler* const s = runtime::Scheduler::instance(); s == nullptr || !s->tracer().on())
    return exchange.respond(501, kPlainText, "trace: trace.buffer is 0, so nothing is recorded\n");
  http::ResponseHead head;
  head.content_type = "application/octet-stream";
  const http::Field name{"Content-Disposition", "attachment; filename=\"fiberd.pftrace\""};
  head.fields = {&name, 1};
  if (exchange.request().method == http::Method::head) {  // nobody looks at what it would say
    const Result<void> begun = exchange.begin(head);
    return begun ? exchange.end() : begun;
  }
  if (being_written.exchange(true, std::memory_order_acq_rel))
    return exchange.respond(409, kPlainText, "trace: one is being written already\n");
  const defer over([] { being_written.store(false, std::memory_order_release); });
  if (const Result<void> begun = exchange.begin(head); !begun) return begun;
  const auto sink = [&exchange](std::string_view piece) -> Result<void> {
    // Whoever has gone does not keep others from theirs.
    if (const Result<void> written = exchange.write(piece); !written) return written;
    return exchange.flush();
  };
  // A stop does not wait for it, and whoever asked has what was recorded until then.
  const Result<void> told = observe::write_trace(std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9)),
                                                 sink, [&exchange] { return exchange.context().done(); });
  return told ? exchange.end() : told;
}

}  // namespace

std::vector<http::Route> trace_pages() {
  http::Route route;
  route.spec.path = "/debug/trace";
  route.spec.methods = http::MethodSet::of(http::Method::get);
  // The admin's time-out for requests is a minute: the answer has begun long before.
  route.handler = http::make_handler(&trace);
  std::vector<http::Route> routes;
  routes.push_back(std::move(route));
  return routes;
}

}  // namespace fiberd::daemon
