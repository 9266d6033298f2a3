#pragma once
// Upstream: sends the views of one aggregator on to one place, from a fiber of its own.
//
// Views wait in a bounded queue while the place is down; one that finds it full is dropped and counted. The first one
// is tried until it is delivered, with a pause that doubles up to 5 s. What a StatsD upstream is sent are changes, so
// each view counts, and what the kernel has taken of one is not sent again: after a break the rest follows, in order. A
// Prometheus upstream is sent states: a newer view makes the older ones that wait superfluous (counted). UDP gives no
// answer: what nobody receives is lost unseen, but for a refusal that ICMP brings.
//
// StatsD has no answers, so `delivered` says what TCP knows: the upstream has read to the end and closed, or its kernel
// has acknowledged all. Where a connection was reset with some of a view in it (or UDP was refused after some of it had
// gone) nobody knows what was read. Sending it again might count it twice, so it is not, and the view counts as
// `uncertain`, however well the rest arrives.
//
// At the end (the queue is closed) three tries are made for each view that is left.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/log_limit.hpp"
#include "core/context/context.hpp"
#include "core/metric/metrics.hpp"
#include "core/net/resolver.hpp"
#include "core/sync/channel.hpp"
#include "core/tls/client_context.hpp"
#include "daemon/services/aggregate/http_post.hpp"
#include "daemon/services/aggregate/view.hpp"

namespace fiberd::daemon::aggregate {

/// Each may be null. `failed` counts tries, the others views.
struct UpstreamMetrics {
  metric::Counter* delivered = nullptr;
  metric::Counter* uncertain = nullptr;  ///< sent, and some of it may have been lost
  metric::Counter* failed = nullptr;
  metric::Counter* rejected = nullptr;    ///< the upstream answered that it will never take it (HTTP 4xx)
  metric::Counter* dropped = nullptr;     ///< the queue had no room, or the daemon ended
  metric::Counter* superseded = nullptr;  ///< a newer one says all that it said
};

class Upstream {
 public:
  static constexpr std::size_t kQueued = 16;
  static constexpr std::size_t kQueuedBytes = std::size_t{64} * 1024 * 1024;  ///< but for one, however large

  virtual ~Upstream() = default;
  Upstream(const Upstream&) = delete;
  Upstream& operator=(const Upstream&) = delete;

  /// Never waits: a view that has no room is dropped and counted.
  void offer(ViewPointer view) noexcept;
  /// No more views will be offered: run() ends when it is done with those that wait.
  void close() noexcept { (void)queue_.close(); }
  /// On a fiber. `ctx`: when it is done, what is left is dropped and counted.
  void run(const context::Context& ctx) noexcept;

  [[nodiscard]] const std::string& name() const noexcept { return name_; }

 protected:
  enum class Outcome : std::uint8_t { delivered, uncertain, again, rejected };
  Upstream(std::string name, const UpstreamMetrics& metrics) : name_(std::move(name)), metrics_(metrics) {}
  /// Makes ready what is sent of `view`, once.
  virtual void prepare(const View& view) = 0;
  /// One try; `error` says what went wrong, unless all went well.
  virtual Outcome attempt(const context::Context& ctx, std::string& error) = 0;
  /// Whether a newer view says all that an older one said.
  [[nodiscard]] virtual bool states() const noexcept = 0;
  /// run() ends: what is kept open is closed.
  virtual void ended() noexcept {}

  net::Resolver resolver_;

 private:
  void deliver(const context::Context& ctx, const ViewPointer& view);
  void warn(const std::string& error);
  const std::string name_;
  const UpstreamMetrics metrics_;
  // It is tried again and again while it is down: the first failure is news, the rest is a count.
  LogLimit limit_{60'000'000'000};
  std::atomic<std::size_t> bytes_{0};  // of views that wait or are being delivered
  sync::Channel<ViewPointer> queue_{kQueued};
};

/// `where`: "host:port" or "udp://host:port", "tcp://host:port". `metrics` of the name that upstream_name() gives.
[[nodiscard]] std::unique_ptr<Upstream> make_statsd_upstream(std::string_view where, const UpstreamMetrics& metrics);
/// `url`: "http[s]://host[:port]/path". `tls`: of https; null: the system's authorities are believed, and nobody is
/// shown a certificate.
[[nodiscard]] std::unique_ptr<Upstream> make_prometheus_upstream(std::string_view url, const UpstreamMetrics& metrics,
                                                                 std::shared_ptr<const tls::ClientContext> tls = {});

/// What metrics and logs call it: without a URL's query, in which there may be secrets.
[[nodiscard]] std::string upstream_name(std::string_view where);

}  // namespace fiberd::daemon::aggregate
