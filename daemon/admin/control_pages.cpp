#include "daemon/admin/control_pages.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/listed.hpp"
#include "core/base/log.hpp"
#include "core/base/printable.hpp"
#include "core/base/units.hpp"
#include "core/http/handlers.hpp"
#include "core/http/query.hpp"
#include "core/runtime/blocking.hpp"
#include "core/runtime/sched_trace.hpp"
#include "core/runtime/spawn_sites.hpp"
#include "daemon/admin/plain_text.hpp"

namespace fiberd::daemon {

namespace {

/// Where it stands in `names`; nothing: nowhere.
template <class Names>
std::optional<std::size_t> find_in(const Names& names, std::string_view name) {
  const auto at = std::find(names.begin(), names.end(), name);
  if (at == names.end()) return std::nullopt;
  return static_cast<std::size_t>(at - names.begin());
}

/// The log's levels; POST changes them for a while.
class LogHandler final : public http::Handler {
 public:
  explicit LogHandler(const AdminState& state) : state_(state) {}

  Result<void> serve(http::Exchange& exchange) override {
    if (state_.log_levels == nullptr) return exchange.respond(501, kPlainText, "log: not here\n");
    if (exchange.request().method == http::Method::post) return change(exchange);
    return exchange.respond(200, kPlainText, state_.log_levels->describe());
  }

 private:
  static Result<void> refuse(http::Exchange& exchange, const std::string& why) {
    return exchange.respond(400, kPlainText, "log: " + why + "\n");
  }

  Result<void> change(http::Exchange& exchange) {
    const std::string_view query = exchange.request().query;
    if (const auto unknown = why_unknown("log", query, {"module", "level", "for"}))
      return exchange.respond(400, kPlainText, *unknown);
    const std::string name = http::query_value(query, "module").value_or("all");
    const auto module = find_in(kLogModules, name);
    if (!module && name != "all")
      return refuse(exchange, "no module " + quoted(name, 64) + "; there are all, " + listed(kLogModules));
    const std::string text = http::query_value(query, "level").value_or("");
    if (text == "configured") {
      state_.log_levels->reset();
      return exchange.respond(200, kPlainText, state_.log_levels->describe());
    }
    const auto level = find_in(kLogLevels, text);
    if (!level)
      return refuse(exchange, "no level " + quoted(text, 64) + "; there are " + listed(kLogLevels) +
                                  ", and configured, which ends what was asked for");
    std::chrono::nanoseconds duration = LogLevels::kUsual;
    if (const auto written = http::query_value(query, "for"); written && *written != "0") {
      const auto parsed = parse_duration(*written);
      if (!parsed || *parsed <= std::chrono::nanoseconds(0) || *parsed > LogLevels::kMost)
        return refuse(exchange,
                      "for " + quoted(*written, 64) + ": a duration like 10m, 24h at most; 0: until the next reload");
      duration = *parsed;
    } else if (written) {
      duration = std::chrono::nanoseconds(0);
    }
    std::optional<LogModule> one;
    if (module) one = static_cast<LogModule>(*module);
    if (const Result<void> asked = state_.log_levels->ask(one, static_cast<LogLevel>(*level), duration); !asked)
      return exchange.respond(503, kPlainText, "log: " + asked.error().message() + "\n");
    log(LogLevel::warning,
        "log level of " + name + ": " + text +
            (duration.count() == 0 ? std::string(" until the next reload") : " for " + format_duration(duration)));
    return exchange.respond(200, kPlainText, state_.log_levels->describe());
  }

  const AdminState& state_;
};

/// Gives back what memory can be had back without hurting anybody.
Result<void> trim(const AdminState& state, http::Exchange& exchange) {
  if (!state.trim) return exchange.respond(501, kPlainText, "trim: not here\n");
  // System calls by the thousand, and locks of malloc.
  const Result<std::string> done = runtime::blocking([&state] { return state.trim(); });
  if (!done)
    return exchange.respond(done.error() == std::errc::device_or_resource_busy ? 409 : 503, kPlainText,
                            "trim: " + done.error().message() + "\n");
  return exchange.respond(200, kPlainText, *done);
}

Result<void> dump(const AdminState& state, http::Exchange& exchange) {
  if (!state.dump) return exchange.respond(501, kPlainText, "dump: not here\n");
  const Result<void> begun = state.dump();
  if (begun) return exchange.respond(200, kPlainText, "dump: all fibers go to the log, a thousand at most\n");
  return exchange.respond(begun.error() == std::errc::device_or_resource_busy ? 409 : 503, kPlainText,
                          "dump: " + begun.error().message() + "\n");
}

/// The scheduler now; ?sites=1: the usual number of places where fibers are spawned; a larger one: so many.
Result<void> sched(const AdminState& state, http::Exchange& exchange, bool detailed) {
  static constexpr unsigned kUsual = 20;
  unsigned sites = 0;
  const std::string wanted = http::query_value(exchange.request().query, "sites").value_or("");
  (void)std::from_chars(wanted.data(), wanted.data() + wanted.size(), sites);
  if (sites != 0) return exchange.respond(200, kPlainText, runtime::describe_spawn_sites(sites == 1 ? kUsual : sites));
  // What the recorder's rings hold is read for it: milliseconds.
  const std::string page = runtime::blocking([&] { return runtime::describe_scheduler(state.began, detailed) + "\n"; });
  return exchange.respond(200, kPlainText, page);
}

/// The same to the log again and again.
Result<void> sched_trace(const AdminState& state, http::Exchange& exchange, bool detailed) {
  if (!state.sched_trace) return exchange.respond(501, kPlainText, "schedtrace: not here\n");
  if (const auto unknown = why_unknown("schedtrace", exchange.request().query, {"period", "detail"}))
    return exchange.respond(400, kPlainText, *unknown);
  const std::string period = http::query_value(exchange.request().query, "period").value_or("");
  const auto parsed = period == "0" ? std::chrono::nanoseconds(0) : parse_duration(period);
  if (!parsed)
    return exchange.respond(400, kPlainText, "schedtrace: ?period=1s, between 10ms and 1h; 0 ends it; &detail=1\n");
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(*parsed);
  if (ms.count() == 0 && parsed->count() != 0)
    return exchange.respond(400, kPlainText, "schedtrace: a period is 10ms at least\n");
  if (const Result<void> set = state.sched_trace(ms, detailed); !set) {
    const bool invalid = set.error() == std::errc::invalid_argument;
    return exchange.respond(
        invalid ? 400 : 503, kPlainText,
        "schedtrace: " + (invalid ? std::string("a period is between 10ms and 1h") : set.error().message()) + "\n");
  }
  return exchange.respond(200, kPlainText, ms.count() == 0 ? "schedtrace: off\n" : "schedtrace: to the log\n");
}

/// Certificates that come by themselves are asked for, whether they are due or not.
Result<void> renew(const AdminState& state, http::Exchange& exchange) {
  if (!state.renew) return exchange.respond(501, kPlainText, "acme: not here\n");
  const std::size_t count = state.renew();
  if (count == 0)
    return exchange.respond(409, kPlainText, "acme: no listener has tls.acme: nothing is to be renewed\n");
  return exchange.respond(200, kPlainText,
                          "acme: " + std::to_string(count) + (count == 1 ? " certificate is" : " certificates are") +
                              " asked for; the log, and fiberd acme list, say what comes of it\n");
}

}  // namespace

std::vector<http::Route> control_pages(AdminState& state) {
  const http::MethodSet get = http::MethodSet::of(http::Method::get);
  const http::MethodSet post = http::MethodSet::of(http::Method::post);
  std::vector<http::Route> routes;
  const auto add = [&](const char* path, http::MethodSet methods, std::shared_ptr<http::Handler> handler) {
    http::Route route;
    route.spec.path = path;
    route.spec.methods = methods;
    route.handler = std::move(handler);
    routes.push_back(std::move(route));
  };
  const auto with = [&state](auto* serve) {
    return http::make_handler([&state, serve](http::Exchange& exchange) { return serve(state, exchange); });
  };
  const auto with_detail = [&state](auto* serve) {
    return http::make_handler([&state, serve](http::Exchange& exchange) {
      const std::string detail = http::query_value(exchange.request().query, "detail").value_or("");
      return serve(state, exchange, !detail.empty() && detail != "0");
    });
  };
  add("/debug/sched", get, with_detail(&sched));
  add("/debug/schedtrace", post, with_detail(&sched_trace));
  add("/debug/log", get | post, std::make_shared<LogHandler>(state));
  add("/debug/trim", post, with(&trim));
  add("/debug/dump", post, with(&dump));
  add("/acme/renew", post, with(&renew));
  return routes;
}

}  // namespace fiberd::daemon
