#pragma once
// EventStream: server-sent events (the HTML standard, section 9.2): an answer that goes on, of which browsers make
// events of an EventSource.
//
//   const auto events = exchange.events();
//   if (!events || *events == nullptr) return as_result(error_of(events));
//   for (;;) {
//     const auto news = (*events)->wait([&](const context::Context& ctx) { return subscription.receive(ctx); });
//     if (!news) return {};
//     if (const auto sent = (*events)->send({.data = *news}); !sent) return sent;
//   }
//
// While the handler waits, by wait(), a comment goes out every `heartbeat`: proxies do not take the connection for
// dead, and a client that has vanished is noticed. context() is done when the client leaves, when the server begins to
// stop (cause errc::draining), and when the connection is cut: then the handler returns, and the browser asks again by
// itself, with the id of the last event that it has seen (last_event_id()).
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>

#include "core/base/clock.hpp"
#include "core/base/result.hpp"
#include "core/context/after_func.hpp"
#include "core/context/cancel_scope.hpp"
#include "core/context/context.hpp"
#include "core/http/exchange.hpp"

namespace fiberd::http {

struct EventOptions {
  /// Of silence, then a comment is sent by who is in wait(); 0: never.
  std::chrono::nanoseconds heartbeat = std::chrono::seconds(15);
  /// How long browsers wait before they ask again; none: their own idea of it, some seconds.
  std::optional<std::chrono::milliseconds> retry{};
};

struct Event {
  std::string_view data{};   ///< UTF-8, any number of lines
  std::string_view event{};  ///< its name; empty: "message"
  /// What Last-Event-ID says when the browser asks again; none: as the event before.
  std::optional<std::string_view> id{};
  std::optional<std::chrono::milliseconds> retry{};
};

/// One fiber uses it at a time; while it lives nothing else writes the answer.
class EventStream {
 public:
  /// As Exchange::events().
  [[nodiscard]] static Result<std::unique_ptr<EventStream>> begin(Exchange& exchange, const EventOptions& options);
  /// Ends the answer.
  ~EventStream();
  EventStream(const EventStream&) = delete;
  EventStream& operator=(const EventStream&) = delete;

  /// Sent at once. Errors: invalid_argument (a line end in the name or the id, NUL in the id, what is no UTF-8, a
  /// negative time), the context's when it is done, or the connection's. Throws std::bad_alloc.
  [[nodiscard]] Result<void> send(const Event& event);
  /// What `fn(ctx)` returns, a Result: it is called again and again under a child of context(), which ends when it is
  /// time for a heart-beat. So it must wait under its context, and lose nothing when that ends, as channels do. Errors
  /// beside fn's: the connection's.
  template <class F>
  auto wait(F&& fn) -> std::invoke_result_t<F&, const context::Context&> {
    for (;;) {
      const context::CancelScope until(context::with_deadline(context_.context, next_beat()));
      auto outcome = fn(until.context());
      if (outcome || context_.context.done() || !until.context().done()) return outcome;
      if (const Result<void> sent = beat(); !sent) return fail(sent.error());
    }
  }

  [[nodiscard]] const context::Context& context() const noexcept { return context_.context; }
  /// The id of the last event that the client has seen; empty: it asks for the first time. What clients send: not
  /// trusted.
  [[nodiscard]] std::string_view last_event_id() const noexcept;

 private:
  EventStream(Exchange& exchange, const EventOptions& options);
  [[nodiscard]] Deadline next_beat() const noexcept;
  [[nodiscard]] Result<void> beat();
  [[nodiscard]] Result<void> put(std::string_view text);

  Exchange& exchange_;
  const std::chrono::nanoseconds heartbeat_;
  const context::Cancelable context_;
  const context::StopFunction stop_listening_;
  std::int64_t sent_at_ = 0;  // monotonic ns
};

}  // namespace fiberd::http
