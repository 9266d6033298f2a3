#include "core/http/site/gate.hpp"

#include <algorithm>
#include <array>

#include "core/base/clock.hpp"
#include "core/base/keyed_hash.hpp"
#include "core/net/address_counts.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http {

// What tells keys apart that are hashed into one table.
static constexpr std::uint8_t kByAddress = 0;
static constexpr std::uint8_t kByHeader = 1;

std::string_view to_string(Limit limit) noexcept {
  static constexpr std::array<std::string_view, kLimits> kNames{"rate_limit", "concurrency", "worker_pool"};
  return kNames[static_cast<std::size_t>(limit)];
}

Gate::Gate(const GateOptions& o) : rate_(o.rate) {
  if (rate_) {
    if (rate_->key == GateKey::none) {
      bucket_ = std::make_unique<flow::TokenBucket>(rate_->rate, rate_->burst);
    } else {
      keyed_ = std::make_unique<flow::KeyedTokenBuckets>(rate_->rate, rate_->burst, rate_->keys);
    }
  }
  if (o.concurrency) {
    limiter_ = std::make_unique<flow::ConcurrencyLimiter>(o.concurrency->limiter);
    priority_header_ = o.concurrency->priority_header;
    limiter_dry_run_ = o.concurrency->dry_run;
  }
  if (!o.worker_pool) return;
  workers_ = o.worker_pool->pool.most;
  if (o.worker_pool->dry_run) {
    would_be_pool_ = std::make_unique<flow::ConcurrencyLimiter>(
        flow::ConcurrencyLimiterOptions{.limit = workers_, .queue = o.worker_pool->pool.queue});
  } else {
    pool_ = std::make_unique<flow::WorkerPool>(o.worker_pool->pool);
  }
}

Gate::~Gate() {
  if (pool_ != nullptr && runtime::on_fiber()) stop();
}

std::uint64_t client_key(const net::Endpoint& client) noexcept {
  static const KeyedHash hash;
  const net::AddressCounts::Key address = net::AddressCounts::key_of(client);
  return hash.of({reinterpret_cast<const char*>(address.data()), sizeof address}) | 1U;
}

std::uint64_t Gate::key_of(const GateRequest& request) const noexcept {
  if (rate_->key == GateKey::header) {
    const std::string_view value = request.headers.find(rate_->header);
    if (!value.empty()) return keyed_->key_of(value, kByHeader);
  }
  return keyed_->key_of({reinterpret_cast<const char*>(&request.client), sizeof request.client}, kByAddress);
}

Gate::Refusal Gate::take_token(const GateRequest& request) noexcept {
  if (!rate_) return {};
  const std::int64_t now = monotonic_now();
  const std::uint64_t key = keyed_ != nullptr ? key_of(request) : 0;
  if (keyed_ != nullptr ? keyed_->try_take_at(now, key) : bucket_->try_take_at(now)) return {};
  rate_refusals_.add(flow::errc::rate_limited);
  if (rate_->dry_run) return {};
  const std::chrono::nanoseconds wait =
      keyed_ != nullptr ? keyed_->time_until_at(now, key) : bucket_->time_until_at(now);
  static constexpr std::int64_t kSecond = 1'000'000'000;
  // Rounded up: who comes back then finds a token, if nobody else does.
  return {rate_->status, std::max<std::int64_t>(wait.count() / kSecond + (wait.count() % kSecond != 0 ? 1 : 0), 1)};
}

bool Gate::full() noexcept {
  if (limiter_ != nullptr && !limiter_dry_run_ && !limiter_->check()) return true;
  return pool_ != nullptr && !pool_->check();
}

bool Gate::try_take_place(flow::Permit& permit) noexcept {
  if (limiter_ == nullptr) return true;
  if (limiter_dry_run_) {
    std::error_code would_be;
    permit = limiter_->admit_anyway(would_be);
    return true;
  }
  permit = limiter_->try_acquire();
  return static_cast<bool>(permit);
}

Gate::Refusal Gate::wait_for_place(const context::Context& ctx, const GateRequest& request, flow::Permit& permit) {
  flow::Priority priority = flow::Priority::normal;
  if (!priority_header_.empty()) {
    const std::string_view value = request.headers.find(priority_header_);
    if (equals_ignore_case(value, "high")) priority = flow::Priority::high;
    if (equals_ignore_case(value, "low")) priority = flow::Priority::low;
  }
  Result<flow::Permit> granted = limiter_->acquire(ctx, priority);
  if (!granted) return {kUnavailable, 1};
  permit = std::move(*granted);
  return {};
}

flow::Permit Gate::imagine_worker() noexcept {
  std::error_code would_be;
  return would_be_pool_->admit_anyway(would_be);
}

void Gate::stop() {
  open_.cancel();
  if (pool_ != nullptr) (void)pool_->shutdown();
}

bool Gate::has(Limit limit) const noexcept {
  switch (limit) {
    case Limit::rate_limit: return rate_.has_value();
    case Limit::concurrency: return limiter_ != nullptr;
    case Limit::worker_pool: return pool_ != nullptr || would_be_pool_ != nullptr;
  }
  return false;
}

bool Gate::dry_run(Limit limit) const noexcept {
  switch (limit) {
    case Limit::rate_limit: return rate_ && rate_->dry_run;
    case Limit::concurrency: return limiter_dry_run_;
    case Limit::worker_pool: return would_be_pool_ != nullptr;
  }
  return false;
}

std::uint64_t Gate::refused(Limit limit, flow::errc reason) const noexcept {
  switch (limit) {
    case Limit::rate_limit: return rate_refusals_.of(reason);
    case Limit::concurrency: return limiter_ != nullptr ? limiter_->refusals().of(reason) : 0;
    case Limit::worker_pool:
      if (pool_ != nullptr) return pool_->refusals().of(reason);
      return would_be_pool_ != nullptr ? would_be_pool_->refusals().of(reason) : 0;
  }
  return 0;
}

std::uint64_t Gate::gave_up(Limit limit) const noexcept {
  if (limit == Limit::concurrency && limiter_ != nullptr) return limiter_->gave_up();
  return limit == Limit::worker_pool && pool_ != nullptr ? pool_->gave_up() : 0;
}

std::uint64_t Gate::queued(Limit limit) const noexcept {
  if (limit == Limit::concurrency && limiter_ != nullptr) return limiter_->queued();
  if (limit == Limit::worker_pool && pool_ != nullptr) return pool_->queued();
  return 0;
}

std::uint64_t Gate::in_flight(Limit limit) const noexcept {
  if (limit == Limit::concurrency && limiter_ != nullptr) return limiter_->in_flight();
  if (limit == Limit::worker_pool && pool_ != nullptr) return pool_->busy();
  return limit == Limit::worker_pool && would_be_pool_ != nullptr ? would_be_pool_->in_flight() : 0;
}

std::uint64_t Gate::bound(Limit limit) const noexcept {
  if (limit == Limit::concurrency && limiter_ != nullptr) return limiter_->limit();
  return limit == Limit::worker_pool ? workers_ : 0;
}

}  // namespace fiberd::http
