#include "core/flow/errc.hpp"

#include <algorithm>
#include <string>

#include "core/context/errc.hpp"

namespace fiberd::flow {

const std::error_category& category() noexcept {
  static const class Category final : public std::error_category {
   public:
    [[nodiscard]] const char* name() const noexcept override { return "fiberd.flow"; }
    [[nodiscard]] std::string message(int value) const override {
      // The metric label of a refused spawn is made from this text: tokens with blanks.
      std::string text(token_of(static_cast<errc>(value)));
      std::replace(text.begin(), text.end(), '_', ' ');
      return text;
    }
    [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override {
      switch (static_cast<errc>(value)) {
        case errc::queue_timeout:
        case errc::would_exceed_deadline: return std::errc::timed_out;
        case errc::pool_closed: return std::errc::operation_canceled;
        case errc::exceeds_burst: return std::errc::invalid_argument;
        case errc::rate_limited:
        case errc::concurrency_limited:
        case errc::queue_full:
        case errc::queue_overloaded:
        case errc::displaced:
        case errc::circuit_open:
        case errc::no_worker:
        case errc::retry_budget_exhausted: return std::errc::resource_unavailable_try_again;
      }
      return {value, *this};
    }
  } instance;
  return instance;
}

std::string_view token_of(errc code) noexcept {
  switch (code) {
    case errc::rate_limited: return "rate_limited";
    case errc::exceeds_burst: return "exceeds_burst";
    case errc::would_exceed_deadline: return "would_exceed_deadline";
    case errc::concurrency_limited: return "concurrency_limited";
    case errc::queue_full: return "queue_full";
    case errc::queue_timeout: return "queue_timeout";
    case errc::queue_overloaded: return "queue_overloaded";
    case errc::displaced: return "displaced";
    case errc::circuit_open: return "circuit_open";
    case errc::retry_budget_exhausted: return "retry_budget_exhausted";
    case errc::pool_closed: return "pool_closed";
    case errc::no_worker: return "no_worker";
  }
  return "unknown";
}

std::string_view reason_of(const std::error_code& code) noexcept {
  if (code.category() == category()) return token_of(static_cast<errc>(code.value()));
  if (code == context::errc::canceled) return "canceled";
  if (code == context::errc::deadline_exceeded) return "deadline";
  return "other";
}

}  // namespace fiberd::flow
