#include "core/context/done_signal.hpp"

#include "core/runtime/runtime.hpp"
#include "core/runtime/wait.hpp"
#include "core/runtime/wait_edges.hpp"

namespace fiberd::context {

namespace {

/// A wait for a context's end, under another context, which the wait itself obeys.
struct EndOf : runtime::ManyWaits {
  explicit EndOf(const Context& c) noexcept : runtime::ManyWaits{&tell_edges, &describe_wait}, context(c) {}
  static void tell_edges(const runtime::ManyWaits& waits, runtime::WaitEdges& edges) {
    if (const runtime::Cancellation* const end = static_cast<const EndOf&>(waits).context.wait_point())
      edges.cancellations.emplace_back(end);
  }
  static void describe_wait(const runtime::ManyWaits& /*waits*/, std::string& text) { text = "the end of a context"; }
  const Context& context;
};

}  // namespace

Result<void> DoneSignal::wait(const Context& ctx) const noexcept {
  const EndOf what(context_);
  for (;;) {
    if (done()) return {};
    if (const std::error_code error = ctx.err()) return fail(error);
    // One wait that hangs in both.
    const runtime::Ticket ticket =
        runtime::prepare_park(runtime::WaitReason::select, static_cast<const runtime::ManyWaits*>(&what));
    runtime::Cancellation* const own = context_.wait_point();
    runtime::CancelNode node;
    node.ticket = ticket;
    const bool hangs = own != nullptr && own->link(node);
    if (own != nullptr && !hangs) runtime::wake(ticket, runtime::Wake::canceled);
    (void)runtime::park_until(ticket, context_.deadline().earlier(ctx.deadline()), ctx.wait_point());
    if (hangs) own->unlink(node);
  }
}

}  // namespace fiberd::context
