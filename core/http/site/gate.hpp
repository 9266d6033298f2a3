#pragma once
// Gate: what stands between a request whose head was read and its handler: a rate limit, a limit of how many at once
// with a queue, a pool of workers. A listener may have one and each of its routes; a request passes the listener's
// first. All of it happens before any of the request's body is read. Who is refused is answered with a status and
// Retry-After, and is counted by limit and reason.
//
// A limit in dry run refuses nobody and lets nobody wait: it counts whom it would have refused. One with a queue
// supposes that those beyond the limit would have waited.
//
// What was taken is given back when the request is answered (places, workers). A token is gone: a request that the
// route refuses has cost the listener's.
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/context/context.hpp"
#include "core/flow/concurrency_limiter.hpp"
#include "core/flow/keyed_token_buckets.hpp"
#include "core/flow/token_bucket.hpp"
#include "core/flow/worker_pool.hpp"
#include "core/http/message.hpp"
#include "core/net/endpoint.hpp"

namespace fiberd::http {

enum class Limit : std::uint8_t { rate_limit, concurrency, worker_pool };
inline constexpr std::size_t kLimits = 3;
[[nodiscard]] std::string_view to_string(Limit limit) noexcept;

enum class GateKey : std::uint8_t { none, address, header };

struct GateRate {
  double rate = 0;  ///< a second
  std::int64_t burst = 1;
  GateKey key = GateKey::none;
  std::string header{};  ///< of GateKey::header; requests without it are told apart by address
  std::size_t keys = 10'000;
  unsigned status = 429;
  bool dry_run = false;
};
struct GateConcurrency {
  flow::ConcurrencyLimiterOptions limiter{};
  std::string priority_header{};  ///< "high", "low"; anything else is normal
  bool dry_run = false;
};
struct GatePool {
  flow::WorkerPoolOptions pool{};
  bool dry_run = false;
};
struct GateOptions {
  std::optional<GateRate> rate{};
  std::optional<GateConcurrency> concurrency{};
  std::optional<GatePool> worker_pool{};
};

/// What a gate wants to know of a request.
struct GateRequest {
  const HeaderView& headers;
  std::uint64_t client = 0;  ///< hash of its address, when the gate wants_client()
};

/// A hash of the client's IPv4 address or IPv6 /64 under a secret of this process; never 0.
[[nodiscard]] std::uint64_t client_key(const net::Endpoint& client) noexcept;

/// Thread-safe. Must outlive all who are inside.
class Gate {
 public:
  /// What to answer.
  struct Refusal {
    unsigned status = 0;           ///< 0: not refused
    std::int64_t retry_after = 1;  ///< seconds
    explicit operator bool() const noexcept { return status != 0; }
  };

  /// Throws std::bad_alloc.
  explicit Gate(const GateOptions& options);
  /// Its workers end, if stop() has not seen to it: on a fiber then. Nobody may be inside.
  ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  [[nodiscard]] bool wants_client() const noexcept { return keyed_ != nullptr; }
  /// Takes a token, if there is a rate limit. Never parks.
  [[nodiscard]] Refusal take_token(const GateRequest& request) noexcept;
  /// Whether there is neither a place or worker nor room to wait for one: counted. For who asks before there is a
  /// fiber. Never parks.
  [[nodiscard]] bool full() noexcept;
  /// Takes a place, if there is a limit and one is free. False: one must be waited for. Never parks.
  [[nodiscard]] bool try_take_place(flow::Permit& permit) noexcept;
  /// Waits for a place, where that is allowed, as long as `ctx` is not done. On a fiber.
  [[nodiscard]] Refusal wait_for_place(const context::Context& ctx, const GateRequest& request, flow::Permit& permit);
  /// Whether run() may wait, and runs on another fiber.
  [[nodiscard]] bool has_pool() const noexcept { return pool_ != nullptr; }
  /// Runs `serve` in the pool, or here when there is none. Refused: it was not run. `ctx` ends the wait for a worker
  /// only. On a fiber.
  template <class F>
  [[nodiscard]] Refusal run(const context::Context& ctx, F&& serve) {
    if (pool_ != nullptr) {
      const Result<void> ran = pool_->try_run(ctx, [&serve] { serve(); });
      return ran ? Refusal{} : Refusal{kUnavailable, 1};
    }
    const auto inside = would_be_pool_ ? imagine_worker() : flow::Permit();
    serve();
    return {};
  }

  /// A context for who has none of its own: done by abort().
  [[nodiscard]] const context::Context& open() const noexcept { return open_.context; }
  void abort() noexcept { open_.cancel(); }
  /// Its workers end. Nobody may be inside. On a fiber.
  void stop();

  // ---- for metrics
  [[nodiscard]] bool has(Limit limit) const noexcept;
  [[nodiscard]] bool dry_run(Limit limit) const noexcept;
  /// Refused, or in dry run: would have been.
  [[nodiscard]] std::uint64_t refused(Limit limit, flow::errc reason) const noexcept;
  /// Whose context was done while they waited: their clients had gone.
  [[nodiscard]] std::uint64_t gave_up(Limit limit) const noexcept;
  [[nodiscard]] std::uint64_t queued(Limit limit) const noexcept;
  [[nodiscard]] std::uint64_t in_flight(Limit limit) const noexcept;
  /// Present bound of in_flight().
  [[nodiscard]] std::uint64_t bound(Limit limit) const noexcept;
  [[nodiscard]] const flow::KeyedTokenBuckets* keyed() const noexcept { return keyed_.get(); }

 private:
  static constexpr unsigned kUnavailable = 503;
  [[nodiscard]] std::uint64_t key_of(const GateRequest& request) const noexcept;
  [[nodiscard]] flow::Permit imagine_worker() noexcept;

  const std::optional<GateRate> rate_;
  std::unique_ptr<flow::TokenBucket> bucket_;
  std::unique_ptr<flow::KeyedTokenBuckets> keyed_;
  flow::RefusalCounts rate_refusals_;
  std::string priority_header_;
  std::unique_ptr<flow::ConcurrencyLimiter> limiter_;
  bool limiter_dry_run_ = false;
  std::uint32_t workers_ = 0;
  std::unique_ptr<flow::WorkerPool> pool_;
  std::unique_ptr<flow::ConcurrencyLimiter> would_be_pool_;  // of a dry run
  const context::Cancelable open_ = context::with_cancel(context::background());
};

}  // namespace fiberd::http
