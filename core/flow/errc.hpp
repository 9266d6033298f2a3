#pragma once
// Why work was refused, as std::error_code. A refusal is an answer, not an accident: whoever gets one of these may try
// again later (all but pool_closed and exceeds_burst), and every one of them is counted where it is made.
//
// As conditions: queue_timeout and would_exceed_deadline equal std::errc::timed_out, pool_closed equals
// std::errc::operation_canceled, exceeds_burst equals std::errc::invalid_argument, all others
// std::errc::resource_unavailable_try_again.
#include <string_view>
#include <system_error>

namespace fiberd::flow {

enum class errc {          // NOLINT: named like std::errc
  rate_limited = 1,        ///< TokenBucket: there is no token now
  exceeds_burst,           ///< TokenBucket: more tokens asked for than it ever holds
  would_exceed_deadline,   ///< TokenBucket::wait: the token comes after the context's deadline
  concurrency_limited,     ///< ConcurrencyLimiter: all places taken, and there is no queue
  queue_full,              ///< all places taken, and so is the queue
  queue_timeout,           ///< waited longer than the queue allows
  queue_overloaded,        ///< dropped by CoDel: the queue has been standing for too long
  displaced,               ///< its place in the full queue was given to somebody more important
  circuit_open,            ///< CircuitBreaker: what is behind it fails
  retry_budget_exhausted,  ///< RetryBudget: too many requests are retries already
  pool_closed,             ///< WorkerPool: shut down before the job was run
  no_worker,               ///< WorkerPool: no fiber could be had
};

[[nodiscard]] const std::error_category& category() noexcept;
[[nodiscard]] inline std::error_code make_error_code(errc code) noexcept {
  return {static_cast<int>(code), category()};
}

/// "rate_limited", …: the label of metrics. "unknown" for anything else.
[[nodiscard]] std::string_view token_of(errc code) noexcept;
/// As token_of, when `code` is one of flow's; context's codes are "canceled" and "deadline"; others are "other".
[[nodiscard]] std::string_view reason_of(const std::error_code& code) noexcept;

}  // namespace fiberd::flow

template <>
struct std::is_error_code_enum<fiberd::flow::errc> : std::true_type {};
