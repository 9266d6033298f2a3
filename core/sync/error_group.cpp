#include "core/sync/error_group.hpp"

#include <algorithm>
#include <utility>

#include "core/base/bug.hpp"
#include "core/base/log.hpp"

namespace fiberd::sync {

static std::error_code code_of(const std::exception_ptr& exception) noexcept {
  try {
    std::rethrow_exception(exception);
  } catch (const std::system_error& e) {
    if (e.code()) return e.code();
  } catch (...) {  // NOLINT: it is kept by the caller
  }
  return errc::exception;
}

bool ErrorGroup::State::fail(std::error_code error, runtime::Recovered thrown) noexcept {
  {
    const LockGuard guard(lock);
    if (++failed != 1) return false;
    first_error = error;
    first_exception = std::move(thrown);
  }
  cancelable.cancel(error);
  return true;
}

bool ErrorGroup::State::fail(runtime::Recovered thrown) noexcept {
  const std::error_code error = code_of(thrown.exception());
  return fail(error, std::move(thrown));
}

ErrorGroup::ErrorGroup(const context::Context& parent) : state_(std::make_shared<State>()) {
  state_->cancelable = context::with_cancel(parent);
}

ErrorGroup::~ErrorGroup() {
  state_->cancelable.cancel();
  state_->parts.wait();
  if (!state_->first_exception || state_->rethrown) return;
  try {
    log(LogLevel::error, "an error group ended with an exception that nobody waited for: " +
                             state_->first_exception.what() + "; thrown at:" + state_->first_exception.trace());
  } catch (...) {
    log(LogLevel::error, "an error group ended with an exception, and memory to describe it is out");
  }
}

void ErrorGroup::set_limit(std::int64_t n) {
  if (FIBERD_BUG_IF(running() != 0)) return;
  // What the limit leaves of the places is out. Those who wait for one wait on, or go on: where the group has no part
  // there may still be a go() that waits.
  const std::int64_t out = n < 0 ? 0 : kPlaces - std::min(n, kPlaces);
  state_->places.take_anyway(out - std::exchange(state_->shut, out));
  state_->limited.store(n >= 0, std::memory_order_release);
}

std::uint64_t ErrorGroup::failures() const noexcept {
  const LockGuard guard(state_->lock);
  return state_->failed;
}

std::error_code ErrorGroup::finish() {
  state_->cancelable.cancel();
  if (state_->first_exception) {
    state_->rethrown = true;
    state_->first_exception.rethrow();
  }
  return state_->first_error;
}

Result<void> ErrorGroup::wait() {
  state_->parts.wait();
  return as_result(finish());
}

Result<void> ErrorGroup::wait(const context::Context& ctx) {
  if (const Result<void> ended = state_->parts.wait(ctx); !ended) return ended;
  return as_result(finish());
}

}  // namespace fiberd::sync
