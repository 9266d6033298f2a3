#pragma once
// DoneSignal: a context's end alone, as Go's ctx.Done(): to be kept, handed on and waited for by who shall neither see
// the context's values nor work under it.
//
//   void watch(context::DoneSignal client);            // when_done(exchange.client_context())
//   if (!client.wait(ctx)) return;   // ctx ended first
//   sync::select(sync::on_done(client, …), sync::on_receive(jobs, …));
#include <system_error>
#include <utility>

#include "core/base/result.hpp"
#include "core/context/context.hpp"

namespace fiberd::context {

class DoneSignal;
namespace detail {
[[nodiscard]] const Context& context_of(const DoneSignal& signal) noexcept;
}

/// Copied freely; keeps what it needs alive. One of the background is never done.
class DoneSignal {
 public:
  DoneSignal() noexcept = default;
  explicit DoneSignal(Context context) noexcept : context_(std::move(context)) {}

  [[nodiscard]] bool done() const noexcept { return context_.done(); }
  /// As Context's.
  [[nodiscard]] std::error_code err() const noexcept { return context_.err(); }
  [[nodiscard]] std::error_code cause() const noexcept { return context_.cause(); }
  /// Waits until it is done; err() says then how it ended. On a fiber. WaitReason::select.
  void wait() const noexcept { (void)wait(background()); }
  /// Success: it is done. Otherwise `ctx` was done first, and its error.
  [[nodiscard]] Result<void> wait(const Context& ctx) const noexcept;

 private:
  friend const Context& detail::context_of(const DoneSignal& signal) noexcept;
  Context context_;
};

inline const Context& detail::context_of(const DoneSignal& signal) noexcept { return signal.context_; }

[[nodiscard]] inline DoneSignal when_done(Context context) noexcept { return DoneSignal(std::move(context)); }

}  // namespace fiberd::context
