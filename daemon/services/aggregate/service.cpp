#include "daemon/services/aggregate/service.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/context/waits.hpp"
#include "core/observe/catalogue.hpp"
#include "core/runtime/blocking.hpp"
#include "core/runtime/runtime.hpp"
#include "daemon/client_tls.hpp"
#include "daemon/services/tcp_service.hpp"

namespace fiberd::daemon::aggregate {

static metric::Counter& counter(metric::Leases& leases, std::string_view family, metric::LabelValues labels) {
  return leases.counter(observe::register_metric(leases.registry(), family), labels);
}

static AggregatorOptions options_of(const std::string& listener, const config::AggregateConfig& config,
                                    const flow::Pressure* pressure) {
  AggregatorOptions o;
  o.pressure = pressure;
  o.listener = listener;
  o.series = config.series;
  o.set_members = config.set_members;
  o.line_size = config.line_size;
  o.percentiles = config.percentiles;
  if (config.expire.count() != 0)
    o.expire_intervals = static_cast<std::uint32_t>(std::max<std::int64_t>(
        1, (config.expire.count() + config.flush_interval.count() - 1) / config.flush_interval.count()));
  o.keep_distributions = std::any_of(config.flush.begin(), config.flush.end(),
                                     [](const config::AggregateFlush& f) { return !f.statsd.empty(); });
  return o;
}

static AggregatorMetrics aggregator_metrics(const std::string& listener, metric::Leases& leases) {
  AggregatorMetrics m;
  for (std::size_t i = 0; i < m.lines.size(); ++i)
    m.lines[i] = &counter(leases, "fiberd_aggregate_lines_total", {listener, to_string(static_cast<StatsdType>(i))});
  for (std::size_t i = 0; i < m.refused.size(); ++i)
    m.refused[i] = &counter(leases, "fiberd_aggregate_refused_total", {listener, to_string(static_cast<Refusal>(i))});
  m.expired = &counter(leases, "fiberd_aggregate_series_expired_total", {listener});
  m.series = &leases.gauge(observe::register_metric(leases.registry(), "fiberd_aggregate_series"), {listener});
  return m;
}

static IntakeMetrics intake_metrics(const std::string& listener, metric::Leases& leases) {
  IntakeMetrics m;
  m.datagrams = &counter(leases, "fiberd_aggregate_datagrams_total", {listener});
  m.dropped_queue = &counter(leases, "fiberd_aggregate_datagrams_dropped_total", {listener, "queue"});
  m.dropped_kernel = &counter(leases, "fiberd_aggregate_datagrams_dropped_total", {listener, "kernel"});
  m.receive_errors = &counter(leases, "fiberd_aggregate_receive_errors_total", {listener});
  m.unfinished = &counter(leases, "fiberd_aggregate_refused_total", {listener, "unfinished"});
  m.cut = &counter(leases, "fiberd_aggregate_refused_total", {listener, "shutdown"});
  return m;
}

UpstreamMetrics Service::upstream_metrics(const std::string& upstream) {
  metric::Leases& leases = leases_;
  const auto result = [&](std::string_view what) {
    return &counter(leases, "fiberd_aggregate_flushes_total", {listener_, upstream, what});
  };
  UpstreamMetrics m;
  m.delivered = result("delivered");
  m.uncertain = result("uncertain");
  m.rejected = result("rejected");
  m.dropped = result("dropped");
  m.superseded = result("superseded");
  m.failed = &counter(leases, "fiberd_aggregate_flush_errors_total", {listener_, upstream});
  return m;
}

Service::Service(const std::string& listener, const config::AggregateConfig& config, unsigned dispatchers,
                 metric::Registry& registry, const flow::Pressure* pressure, const context::Context& above)
    : listener_(listener),
      leases_(registry),
      config_(config),
      soft_(context::with_cancel(context::background())),
      hard_(context::with_cancel(above)),
      aggregator_(options_of(listener, config, pressure), aggregator_metrics(listener, leases_)),
      view_(aggregator_.collect(config.flush_interval)),
      intake_(aggregator_, intake_metrics(listener, leases_), dispatchers, config.line_size, hard_.context) {
  for (const config::AggregateFlush& f : config.flush) {
    const bool statsd = !f.statsd.empty();
    const std::string& where = statsd ? f.statsd : f.prometheus;
    const UpstreamMetrics metrics = upstream_metrics(upstream_name(where));
    std::string why;
    config::Place at;
    auto tls = runtime::blocking([&] { return make_client_tls(f.tls, why, at); });
    if (!tls) {  // it was right when it was proved, a moment ago
      std::string line = "listener ";
      line.append(listener).append(": ").append(at.key).append(": ").append(why);
      log(LogLevel::error, line.append(": nothing is sent to ").append(upstream_name(where)));
      continue;
    }
    auto upstream =
        statsd ? make_statsd_upstream(where, metrics) : make_prometheus_upstream(where, metrics, std::move(*tls));
    if (upstream != nullptr) upstreams_.push_back(std::move(upstream));
  }
  if (!wants_tcp()) return;
  entrance_ = std::make_unique<Entrance>(listener, registry);
  tcp_ = std::make_unique<TcpServer>("aggregate",
                                     make_tcp_handler([this](const context::Context& ctx, net::TcpStream& stream) {
                                       intake_.read_stream(ctx, stream, config_.idle_timeout);
                                     }),
                                     make_tcp_metrics(listener, leases_));
}

Service::~Service() {
  soft_.cancel();
  hard_.cancel();
}

Result<std::shared_ptr<net::UdpSocket>> Service::bind_udp(const net::Endpoint& endpoint, bool dual_stack) const {
  Result<net::UdpSocket> socket = net::UdpSocket::bind(
      endpoint, {.receive_buffer = static_cast<int>(config_.receive_buffer), .dual_stack = dual_stack});
  if (!socket) return fail(socket.error());
  return std::make_shared<net::UdpSocket>(std::move(*socket));
}

Result<std::shared_ptr<net::UdpSocket>> Service::adopt_udp(int fd, bool in_use) const {
  Result<net::UdpSocket> socket =
      net::UdpSocket::adopt(fd, {.receive_buffer = in_use ? 0 : static_cast<int>(config_.receive_buffer)});
  if (!socket) return fail(socket.error());
  return std::make_shared<net::UdpSocket>(std::move(*socket));
}

Result<void> Service::read(const std::shared_ptr<net::UdpSocket>& socket) {
  udp_.push_back(socket);
  if (!taking_) return {};
  const Result<void> begun = begin_reading(socket);
  if (!begun) udp_.pop_back();
  return begun;
}

Result<void> Service::begin_reading(const std::shared_ptr<net::UdpSocket>& socket) {
  if (!until_held_) until_held_ = context::with_cancel(context::background());
  return udp_readers_.go("aggregate udp",
                         [this, socket, ctx = until_held_->context] { intake_.read_datagrams(ctx, *socket); });
}

void Service::take_datagrams(bool taking) noexcept {
  if (taking == taking_) return;
  taking_ = taking;
  if (!taking) {
    if (until_held_) until_held_->cancel();
    udp_readers_.wait();
    until_held_.reset();
    return;
  }
  for (const auto& socket : udp_) {
    if (config_.receive_buffer > 0)
      if (const Result<void> set = socket->set_receive_buffer(static_cast<int>(config_.receive_buffer)); !set)
        log(LogLevel::warning, "aggregate " + listener_ + ": receive_buffer: " + set.error().message());
    // There is no way back for who has taken over; memory comes back.
    while (!soft_.context.done()) {
      try {
        if (begin_reading(socket)) break;
      } catch (const std::bad_alloc&) {  // nor for this
      }
      (void)runtime::sleep_for(std::chrono::milliseconds(10));
    }
  }
}

void Service::leave(net::UdpSocket& socket) noexcept {
  socket.shutdown();  // it closes when its reader has let go of it
  std::erase_if(udp_, [&](const auto& s) { return s.get() == &socket; });
}

Result<void> Service::start() {
  if (const Result<void> started = intake_.start(); !started) return started;
  for (const auto& upstream : upstreams_)
    if (const auto spawned =
            sending_.go("aggregate upstream", [u = upstream.get(), ctx = hard_.context] { u->run(ctx); });
        !spawned)
      return fail(spawned.error());
  if (const auto spawned = intervals_.go("aggregate interval", [this] { run_intervals(); }); !spawned)
    return fail(spawned.error());
  return {};
}

void Service::run_intervals() noexcept {
  std::int64_t next = monotonic_now();
  for (;;) {
    // From the last end that was due, not from now: intervals keep their length; those that were slept over are left
    // out.
    next = std::max(next + config_.flush_interval.count(), monotonic_now());
    const std::error_code ended =
        error_of(context::sleep(soft_.context, std::chrono::nanoseconds(next - monotonic_now())));
    end_interval();
    if (ended) return;
  }
}

void Service::end_interval() noexcept {
  try {
    // Thousands of series take milliseconds, which other fibers need not wait for.
    const ViewPointer view = runtime::blocking([this] { return aggregator_.collect(config_.flush_interval); });
    view_.store(view);
    for (const auto& upstream : upstreams_) upstream->offer(view);
  } catch (const std::exception& e) {
    aggregator_.refuse(Refusal::memory);
    log(LogLevel::error, "aggregate " + listener_ + ": an interval is lost: " + e.what());
  }
}

void Service::wait_for(sync::WaitGroup& group, const std::atomic<std::int64_t>& deadline) noexcept {
  while (group.count() != 0) {
    if (monotonic_now() >= deadline.load(std::memory_order_relaxed)) {
      hard_.cancel();
      group.wait();
      return;
    }
    (void)runtime::sleep_for(std::chrono::milliseconds(2));
  }
}

std::size_t Service::stop(const std::atomic<std::int64_t>& deadline) {
  intake_.stopping();
  if (entrance_ != nullptr) entrance_->drain(deadline);
  const std::size_t cut = tcp_ != nullptr ? tcp_->stop(deadline) : 0;
  for (const auto& socket : udp_) socket->shutdown();
  wait_for(udp_readers_, deadline);
  intake_.finish();
  soft_.cancel();
  wait_for(intervals_, deadline);
  for (const auto& upstream : upstreams_) upstream->close();
  wait_for(sending_, deadline);
  udp_.clear();
  if (const std::uint64_t lines = intake_.lines_cut(); lines != 0)
    log(LogLevel::warning,
        "aggregate " + listener_ + ": " + std::to_string(lines) + " lines were not taken before shutdown.timeout");
  return cut;
}

// ------------------------------------------------------------------------------------------------ pages

namespace {

class PageHandler final : public http::Handler {
 public:
  PageHandler(std::shared_ptr<const Service> service, bool json) : service_(std::move(service)), json_(json) {}
  Result<void> serve(http::Exchange& exchange) override {
    const ViewPointer view = service_->view();
    return json_ ? exchange.respond(200, "application/json", view->json)
                 : exchange.respond(200, "text/plain; version=0.0.4; charset=utf-8", view->prometheus);
  }

 private:
  const std::shared_ptr<const Service> service_;
  const bool json_;
};

}  // namespace

std::vector<http::Route> pages(const std::vector<std::shared_ptr<const Service>>& services) {
  std::vector<http::Route> routes;
  if (services.empty()) return routes;
  const auto add = [&](const std::string& path, const std::shared_ptr<const Service>& service, bool json) {
    http::Route route;
    route.spec.path = path;
    route.spec.methods = http::MethodSet::of(http::Method::get);
    route.handler = std::make_shared<PageHandler>(service, json);
    routes.push_back(std::move(route));
  };
  for (const auto& s : services) {
    add("/aggregate/" + s->listener() + "/metrics", s, false);
    add("/aggregate/" + s->listener() + "/json", s, true);
  }
  if (services.size() == 1) {
    add("/aggregate/metrics", services.front(), false);
    add("/aggregate/json", services.front(), true);
  }
  std::string list;
  for (const http::Route& r : routes) list += r.spec.path + "\n";
  // Who asks for /aggregate/metrics where several aggregate, or misspells one, is told what there is.
  const auto tell = [&](const char* path, unsigned status, const std::string& text) {
    http::Route route;
    route.spec.path = path;
    route.spec.methods = http::MethodSet::of(http::Method::get);
    route.handler = http::make_handler([status, text](http::Exchange& exchange) {
      return exchange.respond(status, "text/plain; charset=utf-8", text);
    });
    routes.push_back(std::move(route));
  };
  tell("/aggregate", 200, list);
  tell("/aggregate/*", 404, "no such page; there are:\n" + list);
  return routes;
}

}  // namespace fiberd::daemon::aggregate
