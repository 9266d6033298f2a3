#include "core/flow/concurrency_limiter.hpp"

#include "core/base/bug.hpp"
#include "core/base/clock.hpp"
#include "core/context/waits.hpp"

namespace fiberd::flow {

ConcurrencyLimiter::ConcurrencyLimiter(const ConcurrencyLimiterOptions& options) noexcept
    : options_(options),
      limit_(options.limit),
      codel_{CoDel(options.codel), CoDel(options.codel), CoDel(options.codel)},
      limit_now_(options.limit) {
  if (!options_.adaptive) return;
  gradient_.emplace(*options_.adaptive, options_.limit);
  limit_ = gradient_->limit();
  limit_now_.store(limit_, std::memory_order_relaxed);
}

ConcurrencyLimiter::~ConcurrencyLimiter() {
  if (in_flight() != 0 || queued() != 0) report_bug("a concurrency limiter dies before its permits");
}

std::uint32_t ConcurrencyLimiter::in_flight() const noexcept {
  const LockGuard guard(lock_);
  return in_flight_;
}

std::uint32_t ConcurrencyLimiter::queued() const noexcept {
  const LockGuard guard(lock_);
  return queued_;
}

/// The place is counted already. Only who learns from latencies reads the clock.
Permit ConcurrencyLimiter::make_permit(std::int64_t now) noexcept { return {*this, now, in_flight_}; }

Permit ConcurrencyLimiter::try_acquire() noexcept {
  const std::int64_t now = gradient_ ? monotonic_now() : 0;
  const LockGuard guard(lock_);
  if (in_flight_ >= limit_) return {};
  ++in_flight_;
  return make_permit(now);
}

ConcurrencyLimiter::Waiter* ConcurrencyLimiter::least_important_below(Priority priority) noexcept {
  for (std::size_t p = 0; p < static_cast<std::size_t>(priority); ++p)
    if (Waiter* const w = waiters_[p].back()) return w;
  return nullptr;
}

/// Why somebody who finds no free place may not even wait.
std::optional<errc> ConcurrencyLimiter::refusal(Priority priority) noexcept {
  if (options_.queue == 0) return errc::concurrency_limited;
  if (queued_ >= options_.queue && least_important_below(priority) == nullptr) return errc::queue_full;
  return std::nullopt;
}

Result<void> ConcurrencyLimiter::check(Priority priority) noexcept {
  std::optional<errc> reason;
  {
    const LockGuard guard(lock_);
    if (in_flight_ >= limit_) reason = refusal(priority);
  }
  if (!reason) return {};
  refusals_.add(*reason);
  return fail(*reason);
}

Permit ConcurrencyLimiter::admit_anyway(std::error_code& refused) noexcept {
  const std::int64_t now = gradient_ ? monotonic_now() : 0;
  const LockGuard guard(lock_);
  refused = {};
  if (in_flight_ >= limit_ && in_flight_ - limit_ >= options_.queue) {
    const errc reason = options_.queue == 0 ? errc::concurrency_limited : errc::queue_full;
    refusals_.add(reason);
    refused = reason;
  }
  ++in_flight_;
  return make_permit(now);
}

void ConcurrencyLimiter::take_out(Waiter& w, Fate fate) noexcept {
  List<Waiter>::remove(w);
  --queued_;
  w.fate = fate;
  // However the last one left: a burst that gave up must not leave a dropping state to the next.
  const auto p = static_cast<std::size_t>(w.priority);
  if (waiters_[p].empty()) codel_[p].empty();
}

Result<Permit> ConcurrencyLimiter::acquire(const context::Context& ctx, Priority priority) {
  if (const std::error_code error = ctx.err()) return fail(error);
  if (Permit permit = try_acquire()) return permit;
  Waiter w;
  w.priority = priority;
  w.since = monotonic_now();
  runtime::Ticket displaced;
  {
    const LockGuard guard(lock_);
    if (in_flight_ < limit_) {
      ++in_flight_;
      return make_permit(w.since);
    }
    if (const std::optional<errc> reason = refusal(priority)) {
      refusals_.add(*reason);
      return fail(*reason);
    }
    if (queued_ >= options_.queue) {
      Waiter& other = *least_important_below(priority);
      displaced = other.ticket;
      take_out(other, Fate::displaced);
      refusals_.add(errc::displaced);
    }
    w.ticket = runtime::prepare_park(runtime::WaitReason::semaphore, this);
    waiters_[static_cast<std::size_t>(priority)].push_back(w);
    ++queued_;
  }
  if (displaced) runtime::wake(displaced);
  return finish_wait(w, error_of(context::park_until(ctx, w.ticket, Deadline::after(w.since, options_.max_wait))));
}

Result<Permit> ConcurrencyLimiter::finish_wait(Waiter& w, std::error_code how) {
  const std::int64_t now = gradient_ || options_.waits != nullptr ? monotonic_now() : 0;
  Permit permit;
  {
    const LockGuard guard(lock_);
    if (w.fate == Fate::waits) take_out(w, Fate::waits);
    if (w.fate == Fate::granted) permit = {*this, now, w.in_flight};
  }
  switch (w.fate) {
    case Fate::granted:
      if (how && how.category() == context::category()) {  // cancelled first, granted then, as for a semaphore
        permit.ignore();
        gave_up_.fetch_add(1, std::memory_order_relaxed);
        return fail(how);
      }
      if (options_.waits != nullptr)
        options_.waits->observe(static_cast<std::uint64_t>(std::max<std::int64_t>(now - w.since, 0)));
      return permit;
    case Fate::overloaded: return fail(errc::queue_overloaded);
    case Fate::displaced: return fail(errc::displaced);
    case Fate::waits: break;
  }
  if (how.category() == context::category()) {
    gave_up_.fetch_add(1, std::memory_order_relaxed);
    return fail(how);
  }
  refusals_.add(errc::queue_timeout);
  return fail(errc::queue_timeout);
}

/// Gives the free places to those who wait; whom to wake. A full batch means that there may be more.
std::size_t ConcurrencyLimiter::dispatch(std::int64_t now, Batch& batch) noexcept {
  std::size_t n = 0;
  for (std::size_t p = kPriorities; p-- > 0;) {
    while (n < batch.size() && in_flight_ < limit_) {
      Waiter* const w = waiters_[p].front();
      if (w == nullptr) {
        codel_[p].empty();
        break;
      }
      const bool behind = waiters_[p].after(*w) != nullptr;
      const bool drop = codel_[p].drop(now, now - w->since, behind ? 1 : 0);
      batch[n++] = w->ticket;
      if (drop) {
        refusals_.add(errc::queue_overloaded);
        take_out(*w, Fate::overloaded);
      } else {
        w->in_flight = ++in_flight_;
        take_out(*w, Fate::granted);
      }
    }
  }
  return n;
}

void ConcurrencyLimiter::release(const Permit& permit) noexcept {
  const std::int64_t now = gradient_ ? monotonic_now() : 0;
  bool returning = true;
  // In batches, so that nobody is woken under the lock. The place and its next owner are one step: nobody comes
  // between.
  for (bool more = true; more; returning = false) {
    Batch batch;
    std::size_t n = 0;
    {
      const LockGuard guard(lock_);
      if (returning) give_back(permit, now);
      if (queued_ != 0 && in_flight_ < limit_) n = dispatch(monotonic_now(), batch);
      more = queued_ != 0 && in_flight_ < limit_;
    }
    // From here on the limiter may be gone, unless there is more.
    for (std::size_t i = 0; i < n; ++i) runtime::wake(batch[i]);
  }
}

void ConcurrencyLimiter::give_back(const Permit& permit, std::int64_t now) noexcept {
  --in_flight_;
  bool changed = false;
  if (gradient_ && permit.outcome_ == Permit::Outcome::success)
    changed = gradient_->sample(now, now - permit.begin_, permit.in_flight_);
  if (gradient_ && permit.outcome_ == Permit::Outcome::overloaded)
    changed = gradient_->overload(now, permit.in_flight_);
  if (!changed) return;
  limit_ = gradient_->limit();
  limit_now_.store(limit_, std::memory_order_relaxed);
}

}  // namespace fiberd::flow
