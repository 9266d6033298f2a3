#include "core/context/done_signal.hpp"

#include "core/runtime/block_profile.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::context {

Result<void> DoneSignal::wait(const Context& ctx) const noexcept {
  for (;;) {
    if (done()) return {};
    if (const std::error_code error = ctx.err()) return fail(error);
    // One wait that hangs in both.
    const runtime::Ticket ticket = runtime::prepare_park(runtime::WaitReason::select);
    runtime::Cancellation* const own = context_.wait_point();
    runtime::CancelNode node;
    node.ticket = ticket;
    const bool hangs = own != nullptr && own->link(node);
    if (own != nullptr && !hangs) runtime::wake(ticket, runtime::Wake::canceled);
    const runtime::BlockTimer blocked;
    (void)runtime::park_until(ticket, context_.deadline().earlier(ctx.deadline()), ctx.wait_point());
    if (hangs) own->unlink(node);
  }
}

}  // namespace fiberd::context
