#include "daemon/services/aggregate/upstream.hpp"

#include <algorithm>
#include <new>
#include <span>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/context/waits.hpp"
#include "core/http/client/url.hpp"
#include "core/net/system_calls.hpp"
#include "core/net/udp_socket.hpp"
#include "core/trace/span.hpp"

namespace fiberd::daemon::aggregate {

using namespace std::chrono_literals;

static constexpr std::chrono::nanoseconds kFirstPause = 100ms;
static constexpr std::chrono::nanoseconds kLongestPause = 5s;
static constexpr std::chrono::nanoseconds kPatience = 10s;  // with one try
static constexpr unsigned kLastTries = 3;

std::string upstream_name(std::string_view where) { return std::string(where.substr(0, where.find('?'))); }

void Upstream::offer(ViewPointer view) noexcept {
  const std::size_t bytes = view->bytes;
  const std::size_t held = bytes_.fetch_add(bytes, std::memory_order_relaxed);
  if ((held == 0 || held + bytes <= kQueuedBytes) && queue_.try_send(view)) return;
  bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  metric::count(metrics_.dropped);
}

void Upstream::run(const context::Context& ctx) noexcept {
  while (Result<ViewPointer> view = queue_.receive()) {
    const std::size_t bytes = (*view)->bytes;
    try {
      deliver(ctx, *view);
    } catch (const std::bad_alloc&) {
      metric::count(metrics_.dropped);
      log(LogLevel::error, "aggregate: " + name_ + ": no memory: an interval is not sent");
    }
    bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  }
  ended();
}

void Upstream::deliver(const context::Context& ctx, const ViewPointer& view) {
  if (ctx.done()) return metric::count(metrics_.dropped);
  if (states() && queue_.size() != 0) return metric::count(metrics_.superseded);
  trace::Span span(ctx, "aggregate flush");
  span.set("fiberd.upstream", std::string_view(name_)).set("fiberd.bytes", static_cast<std::int64_t>(view->bytes));
  prepare(*view);
  std::chrono::nanoseconds pause = kFirstPause;
  unsigned last_tries = 0;
  for (;;) {
    std::string error;
    Outcome outcome = Outcome::again;
    {
      const context::Cancelable patience = context::with_timeout(span.context(), kPatience);
      outcome = attempt(patience.context, error);
      patience.cancel();
    }
    if (outcome == Outcome::delivered) return metric::count(metrics_.delivered);
    if (!error.empty()) {
      metric::count(metrics_.failed);
      span.event("failed", {{"error", std::string_view(error)}});
      warn(error);
    }
    if (outcome == Outcome::uncertain || outcome == Outcome::rejected) span.fail(error);
    if (outcome == Outcome::uncertain) return metric::count(metrics_.uncertain);
    if (outcome == Outcome::rejected) return metric::count(metrics_.rejected);
    if (states() && queue_.size() != 0) return metric::count(metrics_.superseded);
    if (queue_.closed() && ++last_tries >= kLastTries) break;
    if (!context::sleep(ctx, pause)) break;
    pause = std::min(pause * 2, kLongestPause);
  }
  span.fail("not sent before the end");
  metric::count(metrics_.dropped);
  log(LogLevel::error, "aggregate: " + name_ + ": an interval was not sent before the end");
}

void Upstream::warn(const std::string& error) {
  if (const auto left_out = limit_.pass(monotonic_now()))
    log(LogLevel::warning, "aggregate: " + name_ + ": " + error +
                               (*left_out == 0 ? "" : " (" + std::to_string(*left_out) + " more of the like)"));
}

namespace {

std::span<const std::byte> bytes_of(const std::string& text) noexcept {
  return std::as_bytes(std::span(text.data(), text.size()));
}

class StatsdUpstream final : public Upstream {
 public:
  StatsdUpstream(std::string name, bool tcp, Destination where, const UpstreamMetrics& metrics)
      : Upstream(std::move(name), metrics), tcp_(tcp), where_(std::move(where)) {}

 private:
  // What an Ethernet frame carries beside the headers of IPv6 and UDP, and of a tunnel.
  static constexpr std::size_t kDatagram = 1432;
  static constexpr std::size_t kWrite = std::size_t{16} * 1024;

  void prepare(const View& view) override {
    pieces_ = render_statsd(view, tcp_ ? kWrite : kDatagram);
    next_ = 0;
    sent_of_next_ = 0;
    uncertain_ = false;
  }
  [[nodiscard]] bool states() const noexcept override { return false; }

  Outcome attempt(const context::Context& ctx, std::string& error) override {
    const std::size_t first = next_;
    if (next_ != pieces_.size()) {
      const std::size_t of_first = sent_of_next_;
      if (const std::error_code failed = tcp_ ? send_stream(ctx) : send_datagrams(ctx)) {
        error = failed.message();
        if (next_ != first || sent_of_next_ > of_first) uncertain_ = true;
        if (next_ != pieces_.size()) return Outcome::again;
      }
    }
    return uncertain_ ? Outcome::uncertain : Outcome::delivered;
  }

  std::error_code send_datagrams(const context::Context& ctx) {
    const Result<std::vector<net::Endpoint>> addresses =
        resolver_.resolve(where_.host, where_.port, ctx.deadline(), ctx.cancellation());
    if (!addresses) return addresses.error();
    if (addresses->empty()) return std::make_error_code(std::errc::host_unreachable);
    Result<net::UdpSocket> socket = net::UdpSocket::connect(addresses->front());
    if (!socket) return socket.error();
    for (; next_ != pieces_.size(); ++next_)
      if (const Result<void> sent = socket->send(bytes_of(pieces_[next_]), ctx.deadline(), ctx.cancellation()); !sent)
        return sent.error();
    return {};
  }

  std::error_code send_stream(const context::Context& ctx) {
    Result<net::TcpStream> stream = connect_to(ctx, resolver_, where_);
    if (!stream) return stream.error();
    // A line that broke off in its middle is sent again, whole: the upstream has refused its beginning.
    while (sent_of_next_ != 0 && pieces_[next_][sent_of_next_ - 1] != '\n') --sent_of_next_;
    while (next_ != pieces_.size()) {
      const Result<std::size_t> n =
          stream->write_some(bytes_of(pieces_[next_]).subspan(sent_of_next_), ctx.deadline(), ctx.cancellation());
      if (!n) return n.error();
      sent_of_next_ += *n;
      if (sent_of_next_ != pieces_[next_].size()) continue;
      ++next_;
      sent_of_next_ = 0;
    }
    // Until the upstream closes, too, or gives no sign for a while: else what it has not read could be thrown away.
    (void)stream->shutdown_write();
    std::byte rest[256];
    for (;;) {
      const Result<std::size_t> n =
          stream->read_some(rest, Deadline::in(1s).earlier(ctx.deadline()), ctx.cancellation());
      if (n && *n != 0) continue;
      if (n || (n.error() == std::errc::timed_out && net::sys::unacknowledged(stream->native_handle()) == 0)) return {};
      return n.error();
    }
  }

  const bool tcp_;
  const Destination where_;
  std::vector<std::string> pieces_;
  std::size_t next_ = 0;          // the first piece that is not sent whole
  std::size_t sent_of_next_ = 0;  // bytes
  bool uncertain_ = false;        // some of what was sent went into a connection that broke
};

class PrometheusUpstream final : public Upstream {
 public:
  PrometheusUpstream(std::string name, std::string url, const UpstreamMetrics& metrics,
                     std::shared_ptr<const tls::ClientContext> tls)
      : Upstream(std::move(name), metrics), url_(std::move(url)), client_({.tls = std::move(tls)}) {}

 private:
  void prepare(const View& view) override { page_ = view.prometheus; }
  [[nodiscard]] bool states() const noexcept override { return true; }
  void ended() noexcept override { client_.close(); }

  Outcome attempt(const context::Context& ctx, std::string& error) override {
    static constexpr std::string_view kType = "text/plain; version=0.0.4; charset=utf-8";
    const Result<unsigned> status = http_post(ctx, client_, url_, kType, page_);
    if (!status) {
      error = status.error().message();
      return Outcome::again;
    }
    if (*status < 300) return Outcome::delivered;
    error = "answered " + std::to_string(*status);
    // 408 and 429 ask for another try.
    return *status >= 400 && *status < 500 && *status != 408 && *status != 429 ? Outcome::rejected : Outcome::again;
  }

  const std::string url_;
  std::string page_;
  http::Client client_;
};

}  // namespace

std::unique_ptr<Upstream> make_statsd_upstream(std::string_view where, const UpstreamMetrics& metrics) {
  std::string_view rest = where;
  const bool tcp = rest.starts_with("tcp://");
  if (tcp || rest.starts_with("udp://")) rest.remove_prefix(6);
  Result<Destination> host = parse_destination(rest);
  if (!host) return nullptr;
  return std::make_unique<StatsdUpstream>(upstream_name(where), tcp, std::move(*host), metrics);
}

std::unique_ptr<Upstream> make_prometheus_upstream(std::string_view url, const UpstreamMetrics& metrics,
                                                   std::shared_ptr<const tls::ClientContext> tls) {
  const Result<http::ClientUrl> parsed = http::parse_client_url(url);
  if (!parsed || !parsed->target.starts_with('/')) return nullptr;
  return std::make_unique<PrometheusUpstream>(upstream_name(url), std::string(url), metrics, std::move(tls));
}

}  // namespace fiberd::daemon::aggregate
