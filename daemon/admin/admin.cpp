#include "daemon/admin/admin.hpp"

#include <limits.h>

#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <system_error>

#include "core/base/defer.hpp"
#include "core/base/log.hpp"
#include "core/context/waits.hpp"
#include "core/http/handlers.hpp"
#include "core/http/negotiation.hpp"
#include "core/observe/context_report.hpp"
#include "core/observe/gzip.hpp"
#include "core/observe/openmetrics.hpp"
#include "core/runtime/blocking.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/wait.hpp"
#include "daemon/admin/control_pages.hpp"
#include "daemon/admin/fiber_pages.hpp"
#include "daemon/admin/health.hpp"
#include "daemon/admin/leak_pages.hpp"
#include "daemon/admin/plain_text.hpp"
#include "daemon/admin/profile_pages.hpp"
#include "daemon/admin/status_page.hpp"
#include "daemon/admin/trace_pages.hpp"
#include "daemon/upgrade/page.hpp"

namespace fiberd::daemon {

namespace {

/// In any field of that name: the list may come in several.
bool accepts_version_1(const http::HeaderView& headers) noexcept {
  for (std::size_t i = headers.index_of("accept"); i < headers.size(); i = headers.index_of("accept", i + 1))
    if (observe::accepts_version_1(headers[i].value)) return true;
  return false;
}

class MetricsHandler final : public http::Handler {
 public:
  explicit MetricsHandler(const AdminState& state) : state_(state) {}
  Result<void> serve(http::Exchange& exchange) override {
    // Each has a page of all metrics in memory, and a thread of the blocking pool: a few scrapers are served at once.
    static constexpr unsigned kMost = 4;
    const defer out([this] { rendering_.fetch_sub(1, std::memory_order_relaxed); });
    if (rendering_.fetch_add(1, std::memory_order_relaxed) >= kMost) {
      static constexpr http::Field kLater{"Retry-After", "1"};
      return exchange.respond(503, kPlainText, "metrics: as many as may are being served\n", {&kLater, 1});
    }
    static constexpr std::array<std::string_view, 2> kTypes{"text/plain", "application/openmetrics-text"};
    static constexpr std::array<std::string_view, 1> kCodings{"gzip"};
    const http::HeaderView& headers = exchange.request().headers;
    using Format = observe::Exporter::Format;
    const Format format = http::choose_media_type(headers, kTypes) == 1 && accepts_version_1(headers)
                              ? Format::openmetrics
                              : Format::text;
    bool small = http::choose_encoding(headers, kCodings) == 0;
    // Rendering walks page tables and /proc: milliseconds that other fibers need not wait for.
    const std::string page = runtime::blocking([&] {
      std::string text = state_.exporter->render(format);
      if (!small) return text;
      Result<std::string> compressed = observe::gzip(text, observe::Gzip::fast);
      small = compressed.has_value();
      return small ? std::move(*compressed) : std::move(text);
    });
    static constexpr std::array<http::Field, 2> kFields{
        {{"Vary", "Accept, Accept-Encoding"}, {"Content-Encoding", "gzip"}}};
    return exchange.respond(200, observe::Exporter::content_type(format), page,
                            std::span(kFields).first(small ? 2 : 1));
  }

 private:
  const AdminState& state_;
  std::atomic<unsigned> rendering_{0};
};

class ContextsHandler final : public http::Handler {
 public:
  Result<void> serve(http::Exchange& exchange) override {
    const std::string page = runtime::blocking([] { return observe::render_contexts(); });
    return exchange.respond(200, kPlainText, page);
  }
};

/// Alive means: every Processor takes up a new fiber. A daemon whose Processors are all held answers 503, or nothing.
class HealthHandler final : public http::Handler {
 public:
  Result<void> serve(http::Exchange& exchange) override {
    std::string why;
    if (processors_answer(std::chrono::seconds(1), why)) return exchange.respond(200, kPlainText, "ok\n");
    return exchange.respond(503, kPlainText, why + "\n");
  }
};

class ReadyHandler final : public http::Handler {
 public:
  explicit ReadyHandler(const AdminState& state) : state_(state) {}
  Result<void> serve(http::Exchange& exchange) override {
    return state_.ready.load(std::memory_order_acquire) ? exchange.respond(200, kPlainText, "ready\n")
                                                        : exchange.respond(503, kPlainText, "not ready\n");
  }

 private:
  const AdminState& state_;
};

class ReloadHandler final : public http::Handler {
 public:
  explicit ReloadHandler(const AdminState& state) : state_(state) {}
  Result<void> serve(http::Exchange& exchange) override {
    if (!state_.reload) return exchange.respond(501, kPlainText, "reload: not here\n");
    std::string meant;
    for (;;) {
      const Result<std::string_view> piece = exchange.read_body();
      if (!piece) return fail(piece.error());
      if (piece->empty()) break;
      meant += *piece;
      if (meant.size() > PATH_MAX) return exchange.respond(413, kPlainText, "reload: a body is the name of one file\n");
    }
    if (meant.ends_with('\n')) meant.pop_back();  // as echo writes it
    if (!meant.empty()) {
      const Result<bool> same = is_own_file(exchange.context(), std::move(meant));
      if (!same && left(exchange))
        return exchange.respond(400, kPlainText,
                                "reload: the client has ended its side of the connection; nothing has changed\n");
      if (!same) return fail(same.error());
      if (!*same)
        return exchange.respond(
            409, kPlainText,
            "reload: this daemon was started with " + state_.config_name +
                ", which a reload loads again; what was named is not that file, or none that it can see, and needs a "
                "restart. Nothing has changed\n");
    }
    // Who has left does not wait on: reloads that hang must not use up the admin's places.
    const Result<ReloadAnswer> answer = state_.reload(exchange.context());
    if (!answer) {
      // A FIN says as much of who reads on; he is not told that something failed.
      if (left(exchange))
        return exchange.respond(202, kPlainText,
                                "reload: it goes on, but the client has ended its side of the connection and is not "
                                "waited for; the log tells what comes of it\n");
      return fail(answer.error());
    }
    static constexpr std::array<unsigned, 3> kStatus{200, 422, 503};
    return exchange.respond(kStatus[static_cast<std::size_t>(answer->verdict)], kPlainText, answer->text);
  }

 private:
  /// The client has ended its side of the connection: it has left, or reads on.
  [[nodiscard]] static bool left(http::Exchange& exchange) {
    return exchange.client_context().cause() == std::errc::connection_aborted;
  }
  /// Looks at a path of the client's, which may hang: the call owns what it looks at, and the client may leave it.
  [[nodiscard]] Result<bool> is_own_file(const context::Context& ctx, std::string meant) const {
    const std::string& own = state_.config_file;
    if (meant == own) return true;
    if (own.empty()) return false;
    return context::blocking(ctx, [meant = std::move(meant), own]() -> Result<bool> {
      std::error_code missing;
      return std::filesystem::equivalent(meant, own, missing);
    });
  }

  const AdminState& state_;
};

}  // namespace

static void add(std::vector<http::Route>& routes, const char* path, std::shared_ptr<http::Handler> handler,
                http::Method method = http::Method::get) {
  http::Route route;
  route.spec.path = path;
  route.spec.methods = http::MethodSet::of(method);
  route.handler = std::move(handler);
  routes.push_back(std::move(route));
}

std::vector<http::Route> scrape_routes(AdminState& state) {
  std::vector<http::Route> routes;
  add(routes, "/metrics", std::make_shared<MetricsHandler>(state));
  add(routes, "/healthz", std::make_shared<HealthHandler>());
  add(routes, "/readyz", std::make_shared<ReadyHandler>(state));
  return routes;
}

std::vector<http::Route> admin_routes(AdminState& state) {
  std::vector<http::Route> routes = scrape_routes(state);
  add(routes, "/debug/contexts", std::make_shared<ContextsHandler>());
  for (http::Route& page : fiber_pages()) routes.push_back(std::move(page));
  for (http::Route& page : profile_pages()) routes.push_back(std::move(page));
  if (state.leaks != nullptr)
    for (http::Route& page : leak_pages(*state.leaks)) routes.push_back(std::move(page));
  routes.push_back(status_page(state.status));
  for (http::Route& page : trace_pages()) routes.push_back(std::move(page));
  for (http::Route& page : control_pages(state)) routes.push_back(std::move(page));
  add(routes, "/reload", std::make_shared<ReloadHandler>(state), http::Method::post);
  routes.push_back(upgrade::page(state));
  return routes;
}

void answer_own_hosts_only(http::SiteOptions& options, const std::vector<std::string>& hosts) {
  static constexpr unsigned kMisdirected = 421;
  options.hosts = hosts;
  options.hosts.emplace_back("localhost");
  options.address_hosts = true;
  options.error_pages.push_back(
      {kMisdirected, std::string(kPlainText),
       "421 Misdirected Request\nThe admin listener answers when it is asked for by an IP address, by localhost, or by "
       "a name that its configuration lists in admin.hosts.\n"});
}

http::Route admin_index(const std::vector<http::Route>& routes) {
  std::string page = "fiberd admin\n";
  for (const http::Route& r : routes) {
    if (r.spec.path.ends_with('*')) continue;
    if (r.spec.methods.has(http::Method::get)) page += r.spec.path + "\n";
    if (r.spec.methods.has(http::Method::post)) page += "POST " + r.spec.path + "\n";
  }
  http::Route route;
  route.spec.path = "/";
  route.spec.methods = http::MethodSet::of(http::Method::get);
  route.handler =
      http::make_handler([page](http::Exchange& exchange) { return exchange.respond(200, kPlainText, page); });
  return route;
}

}  // namespace fiberd::daemon
