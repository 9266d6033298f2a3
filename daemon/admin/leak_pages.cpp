#include "daemon/admin/leak_pages.hpp"

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/base/defer.hpp"
#include "core/base/printable.hpp"
#include "core/base/units.hpp"
#include "core/http/handlers.hpp"
#include "core/http/query.hpp"
#include "core/runtime/blocking.hpp"
#include "daemon/admin/plain_text.hpp"

namespace fiberd::daemon {

namespace {

using observe::LeakReport;

class LeakPage {
 public:
  explicit LeakPage(observe::LeakWatch& watch) noexcept : watch_(watch) {}

 protected:
  /// What the query asks for; nullptr: it has been answered, with `answered`.
  std::shared_ptr<const LeakReport> find(http::Exchange& exchange, Result<void>& answered) {
    observe::LeakOptions options = watch_.options();
    const auto threshold = http::query_value(exchange.request().query, "threshold");
    if (!threshold || threshold->empty()) {
      if (auto last = watch_.last()) return last;
      // None was made yet, or nobody looks.
      if (options.threshold.count() == 0) options.threshold = std::chrono::minutes(10);
    } else {
      const auto duration = parse_duration(*threshold);
      if (!duration || duration->count() <= 0) {
        answered = exchange.respond(
            400, kPlainText,
            "threshold: \"" + printable(*threshold, 64) + "\" is no duration above 0; write 500ms, 30s, 5m\n");
        return nullptr;
      }
      options.threshold = *duration;
    }
    if (asked_.exchange(true)) {
      answered = exchange.respond(409, kPlainText, "another look is being made; ask again in a moment\n");
      return nullptr;
    }
    const defer over([] { asked_.store(false); });
    return std::make_shared<const LeakReport>(observe::find_leaks(options));
  }

 private:
  static inline std::atomic<bool> asked_{false};  // each reads all memory: one at a time
  observe::LeakWatch& watch_;
};

class LeaksHandler final : public http::Handler, private LeakPage {
 public:
  using LeakPage::LeakPage;
  Result<void> serve(http::Exchange& exchange) override {
    const std::string format = http::query_value(exchange.request().query, "format").value_or("text");
    if (format != "text" && format != "json") return exchange.respond(400, kPlainText, "format: text or json\n");
    Result<void> answered;
    const auto report = find(exchange, answered);
    if (report == nullptr) return answered;
    const bool json = format == "json";
    // Names of functions are looked up, which takes its time.
    const Result<std::string> page = runtime::blocking([&]() -> Result<std::string> {
      return json ? observe::render_leaks_json(*report) : observe::render_leaks(*report);
    });
    if (!page) return fail(page.error());
    return exchange.respond(200, json ? "application/json" : kPlainText, *page);
  }
};

class GoroutineLeakHandler final : public http::Handler, private LeakPage {
 public:
  using LeakPage::LeakPage;
  Result<void> serve(http::Exchange& exchange) override {
    const std::string_view query = exchange.request().query;
    const std::string debug = http::query_value(query, "debug").value_or("0");
    if (debug != "0" && debug != "1" && debug != "2")
      return exchange.respond(400, kPlainText, "debug: 0 (pprof's protobuf), 1 or 2 (text)\n");
    const bool suspects = http::query_value(query, "suspects").value_or("0") == "1";
    Result<void> answered;
    const auto report = find(exchange, answered);
    if (report == nullptr) return answered;
    const bool text = debug != "0";
    const Result<std::string> page = runtime::blocking([&]() -> Result<std::string> {
      if (text) return observe::render_leak_profile(*report, suspects);
      return observe::profile_leaks(*report, suspects);
    });
    if (!page) return fail(page.error());
    if (text) return exchange.respond(200, kPlainText, *page);
    const http::Field name{"Content-Disposition", "attachment; filename=\"goroutineleak.pb.gz\""};
    return exchange.respond(200, "application/octet-stream", *page, {&name, 1});
  }
};

}  // namespace

std::vector<http::Route> leak_pages(observe::LeakWatch& watch) {
  std::vector<http::Route> routes;
  const auto add = [&routes](const char* path, std::shared_ptr<http::Handler> handler) {
    http::Route route;
    route.spec.path = path;
    route.spec.methods = http::MethodSet::of(http::Method::get);
    route.handler = std::move(handler);
    routes.push_back(std::move(route));
  };
  add("/debug/leaks", std::make_shared<LeaksHandler>(watch));
  add("/debug/pprof/goroutineleak", std::make_shared<GoroutineLeakHandler>(watch));
  return routes;
}

}  // namespace fiberd::daemon
