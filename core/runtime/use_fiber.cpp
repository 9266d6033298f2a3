#include "core/runtime/use_fiber.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <functional>

#include "core/base/bug.hpp"
#include "core/runtime/blocking_pool.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/service_thread.hpp"

namespace fiberd::runtime::detail {

static std::error_code give_up_error(const UseFiber& token, Wake how) noexcept {
  return token.translate != nullptr ? token.translate(token.argument, how) : to_error(how);
}

std::error_code FiberOperation::prepare(const UseFiber& token) noexcept {
  if (FIBERD_BUG_IF(!on_fiber())) return std::make_error_code(std::errc::operation_not_permitted);
  if (current_blocking_pool().runs_inline()) return std::make_error_code(std::errc::not_supported);
  if (token.cancellation != nullptr && token.cancellation->canceled()) return give_up_error(token, Wake::canceled);
  if (!token.deadline.is_never() && token.deadline.ns() <= coarse_now()) return give_up_error(token, Wake::timeout);
  if (const std::error_code error = error_of(current_service_thread().start())) return error;
  ticket_ = prepare_park(WaitReason::service);
  return {};
}

// Apart from the wait, as the operation's start.
[[gnu::noinline]] static void post_to_service(std::function<void()> fn) {
  boost::asio::post(current_service_thread().io_context(), std::move(fn));
}

std::error_code FiberOperation::await(const std::shared_ptr<FiberOperation>& self, const UseFiber& token) {
  const Wake how = park_until(self->ticket_, token.deadline, token.cancellation);
  if (how == Wake::ready)
    return self->dropped_ ? std::make_error_code(std::errc::operation_canceled) : std::error_code{};
  // The emission's own wait has neither deadline nor cancellation: the service thread never blocks.
  const Ticket emitted = prepare_park(WaitReason::service);
  try {
    post_to_service([self, emitted] {
      if (!self->ended_) self->signal_.emit(boost::asio::cancellation_type::terminal);
      wake(emitted);
    });
  } catch (...) {
    (void)abandon_park(emitted);
    throw;
  }
  (void)park_until(emitted);
  return give_up_error(token, how);
}

}  // namespace fiberd::runtime::detail
