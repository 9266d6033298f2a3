#pragma once
// select: Go's select. Waits until one of several sends, receives, contexts or times can go on, and does that one.
//
//   sync::select(
//       sync::on_receive(jobs, [&](Result<Job> job) { … }),          // errc::closed when it is closed and drained
//       sync::on_send(results, result, [&](std::error_code) { … }),  // result is moved from only when it was sent
//       sync::on_done(ctx, [&](std::error_code error) { … }),
//       sync::after(10ms, [&] { … }),
//       sync::otherwise([&] { … }));                                 // nothing could go on at once
//
// Of several that can go on one is drawn, each with the same chance. Handlers run after the channels are let go; they
// may do anything. Nothing is allocated: all that select needs is in the cases, on the caller's stack.
//
// How it works. First each case is tried by itself, in a random order. If none goes on, all channels are locked (in the
// order of their addresses, so that two selects cannot wait for each other) and tried again: `otherwise` is taken only
// when at that one moment none could go on, and not when each was found idle while another one was not. Without it the
// fiber hangs a waiter in each. Whoever can serve one of them claims the select's state first
// (channel_core.hpp). A context or a time that ends the wait claims it as well: whoever is first has it, and a value
// that a claim has brought is never dropped.
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <system_error>
#include <type_traits>
#include <utility>

#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/context/done_signal.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/channel_ends.hpp"

namespace fiberd::sync {

/// One branch of a select; made by the functions below. It may take part in several selects, one after the other: what
/// it refers to must live so long, a time stays the moment it was made for, and a value it owns is gone once it was
/// sent. Not moved while select runs.
class SelectCase {
 public:
  enum class Kind : std::uint8_t { receive, send, done, timer, otherwise };
  SelectCase& operator=(const SelectCase&) = delete;
  virtual ~SelectCase() = default;

 protected:
  /// Between two selects.
  SelectCase(SelectCase&& o) noexcept : kind_(o.kind_), channel_(o.channel_) {}
  explicit SelectCase(Kind kind, detail::ChannelCore* channel = nullptr) noexcept : kind_(kind), channel_(channel) {}
  virtual void run(std::error_code outcome) = 0;

  friend class detail::Selector;
  Kind kind_;
  std::uint32_t turn_ = 0;        // tried as the n-th: an index of another case
  bool ready_ = false;            // a context or a time that was found done before the channels were locked
  SelectCase* sorted_ = nullptr;  // the n-th in the order of locking
  detail::ChannelCore* channel_;  // nullptr for all but send and receive
  detail::ChannelWaiter waiter_;
};

/// Any number of cases, known when the program runs. Returns the index of the one that went on, after its handler has
/// returned. A case of a null channel never goes on; without any case that can, it waits for ever. On a fiber, except
/// with an otherwise. WaitReason::select. Throws what the handler throws.
std::size_t select(std::span<SelectCase* const> cases);

/// The same for cases that are written down.
template <class... Cases>
requires(sizeof...(Cases) > 0 && (std::derived_from<std::remove_cvref_t<Cases>, SelectCase> && ...)) std::size_t
    select(Cases&&... cases) {
  SelectCase* const all[] = {&cases...};
  return select(std::span<SelectCase* const>(all));
}

/// A case of any kind, to be kept: `std::vector<AnyCase> cases; cases.push_back(on_receive(channel, …));`. Moved, not
/// copied; one that was moved from must not take part. Throws std::bad_alloc when it is made.
class AnyCase {
 public:
  template <std::derived_from<SelectCase> Case>
  AnyCase(Case kept) : case_(std::make_unique<Case>(std::move(kept))) {}  // NOLINT(google-explicit-constructor)

 private:
  friend std::size_t select(std::span<AnyCase> cases);
  std::unique_ptr<SelectCase> case_;
};

/// The same for cases that were collected. Up to 64 of them nothing is allocated; beyond that throws std::bad_alloc.
std::size_t select(std::span<AnyCase> cases);

namespace detail {

/// A handler may leave out what it does not want to know.
template <class F>
void tell(F& handler, std::error_code outcome) {
  if constexpr (std::invocable<F&, std::error_code>)
    handler(outcome);
  else
    handler();
}

template <class T, class F>
class ReceiveCase final : public SelectCase {
 public:
  ReceiveCase(Channel<T>* channel, F handler)
      : SelectCase(Kind::receive, channel != nullptr ? &core_of(*channel) : nullptr),
        handler_(std::forward<F>(handler)) {
    waiter_.slot = storage_;
  }
  ReceiveCase(ReceiveCase&& o) noexcept(std::is_nothrow_constructible_v<F, F&&>)
      : SelectCase(std::move(o)), handler_(std::forward<F>(o.handler_)) {
    waiter_.slot = storage_;
  }

 private:
  void run(std::error_code outcome) override {
    if (outcome) return handler_(Result<T>(fail(outcome)));
    T* const value = std::launder(reinterpret_cast<T*>(storage_));
    Result<T> result(std::move(*value));
    std::destroy_at(value);
    handler_(std::move(result));
  }
  F handler_;
  alignas(T) std::byte storage_[sizeof(T)];
};

template <class T, class V, class F>
class SendCase final : public SelectCase {
 public:
  SendCase(Channel<T>* channel, V value, F handler)
      : SelectCase(Kind::send, channel != nullptr ? &core_of(*channel) : nullptr),
        value_(std::forward<V>(value)),
        handler_(std::forward<F>(handler)) {
    waiter_.slot = const_cast<std::remove_cv_t<T>*>(std::addressof(value_));
  }
  SendCase(SendCase&& o) noexcept(std::is_nothrow_constructible_v<F, F&&>)
      : SelectCase(std::move(o)), value_(std::forward<V>(o.value_)), handler_(std::forward<F>(o.handler_)) {
    waiter_.slot = const_cast<std::remove_cv_t<T>*>(std::addressof(value_));
  }

 private:
  void run(std::error_code outcome) override { tell(handler_, outcome); }
  V value_;  // T, or T& when the caller keeps it
  F handler_;
};

/// A context, a time, or neither (otherwise).
class UntypedCase : public SelectCase {
 protected:
  UntypedCase(Kind kind, const context::Context* ctx, Deadline deadline) noexcept
      : SelectCase(kind), context_(ctx), deadline_(deadline) {}
  UntypedCase(UntypedCase&& o) noexcept : SelectCase(std::move(o)), context_(o.context_), deadline_(o.deadline_) {}
  friend class Selector;
  const context::Context* context_;
  const Deadline deadline_;
  runtime::CancelNode node_;
};

template <class F>
class PlainCase final : public UntypedCase {
 public:
  PlainCase(Kind kind, const context::Context* ctx, Deadline deadline, F handler)
      : UntypedCase(kind, ctx, deadline), handler_(std::forward<F>(handler)) {}
  PlainCase(PlainCase&& o) noexcept(std::is_nothrow_constructible_v<F, F&&>)
      : UntypedCase(std::move(o)), handler_(std::forward<F>(o.handler_)) {}

 private:
  void run(std::error_code outcome) override { tell(handler_, outcome); }
  F handler_;
};

/// on_done of a context that only the case has.
template <class F>
class OwnDoneCase final : public UntypedCase {
 public:
  OwnDoneCase(context::Context ctx, F handler)
      : UntypedCase(Kind::done, &own_, ctx.deadline()), own_(std::move(ctx)), handler_(std::forward<F>(handler)) {}
  OwnDoneCase(OwnDoneCase&& o) noexcept(std::is_nothrow_constructible_v<F, F&&>)
      : UntypedCase(std::move(o)), own_(std::move(o.own_)), handler_(std::forward<F>(o.handler_)) {
    context_ = &own_;
  }

 private:
  void run(std::error_code outcome) override { tell(handler_, outcome); }
  context::Context own_;
  F handler_;
};

struct Nothing {
  void operator()() const noexcept {}
};

}  // namespace detail

/// `handler(Result<T>)`. A pointer may be null: the branch is switched off, as Go's nil channel.
template <class T, std::invocable<Result<T>> F>
[[nodiscard]] auto on_receive(Channel<T>* channel, F&& handler) {
  return detail::ReceiveCase<T, F>(channel, std::forward<F>(handler));
}
template <class T, std::invocable<Result<T>> F>
[[nodiscard]] auto on_receive(Channel<T>& channel, F&& handler) {
  return detail::ReceiveCase<T, F>(&channel, std::forward<F>(handler));
}
template <class T, std::invocable<Result<T>> F>
[[nodiscard]] auto on_receive(Receiver<T> end, F&& handler) {
  return detail::ReceiveCase<T, F>(detail::ChannelEnds::channel(end), std::forward<F>(handler));
}
/// `value`: an lvalue is moved from only when it was sent; of an rvalue the case is the owner. `handler()` or
/// `handler(std::error_code)`: errc::closed when the channel was closed (misuse, and a BUG, when it was so before).
template <class T, class V, class F = detail::Nothing>
requires std::same_as<std::remove_cvref_t<V>, T> || std::convertible_to<V, T>
[[nodiscard]] auto on_send(Channel<T>* channel, V&& value, F&& handler = {}) {
  using Kept = std::conditional_t<std::same_as<V, T&>, T&, T>;
  return detail::SendCase<T, Kept, F>(channel, std::forward<V>(value), std::forward<F>(handler));
}
template <class T, class V, class F = detail::Nothing>
requires std::same_as<std::remove_cvref_t<V>, T> || std::convertible_to<V, T>
[[nodiscard]] auto on_send(Channel<T>& channel, V&& value, F&& handler = {}) {
  using Kept = std::conditional_t<std::same_as<V, T&>, T&, T>;
  return detail::SendCase<T, Kept, F>(&channel, std::forward<V>(value), std::forward<F>(handler));
}
template <class T, class V, class F = detail::Nothing>
requires std::same_as<std::remove_cvref_t<V>, T> || std::convertible_to<V, T>
[[nodiscard]] auto on_send(Sender<T> end, V&& value, F&& handler = {}) {
  using Kept = std::conditional_t<std::same_as<V, T&>, T&, T>;
  return detail::SendCase<T, Kept, F>(detail::ChannelEnds::channel(end), std::forward<V>(value),
                                      std::forward<F>(handler));
}
/// `handler()` or `handler(std::error_code)`: the context's err(). A `ctx` that has a name must outlive the case; a
/// temporary becomes the case's own. Any number of them.
template <class F = detail::Nothing>
[[nodiscard]] auto on_done(const context::Context& ctx, F&& handler = {}) {
  return detail::PlainCase<F>(SelectCase::Kind::done, &ctx, ctx.deadline(), std::forward<F>(handler));
}
template <class F = detail::Nothing>
[[nodiscard]] auto on_done(context::Context&& ctx, F&& handler = {}) {
  return detail::OwnDoneCase<F>(std::move(ctx), std::forward<F>(handler));
}
template <class F = detail::Nothing>
[[nodiscard]] auto on_done(context::DoneSignal&& signal, F&& handler = {}) {
  return detail::OwnDoneCase<F>(context::detail::context_of(signal), std::forward<F>(handler));
}
template <class F = detail::Nothing>
[[nodiscard]] auto on_done(const context::DoneSignal& signal, F&& handler = {}) {
  const context::Context& ctx = context::detail::context_of(signal);
  return detail::PlainCase<F>(SelectCase::Kind::done, &ctx, ctx.deadline(), std::forward<F>(handler));
}
/// `handler()` once `duration` has passed; not positive: at once.
template <class F = detail::Nothing>
[[nodiscard]] auto after(std::chrono::nanoseconds duration, F&& handler = {}) {
  return detail::PlainCase<F>(SelectCase::Kind::timer, nullptr, Deadline::in(duration), std::forward<F>(handler));
}
template <class F = detail::Nothing>
[[nodiscard]] auto at(Deadline deadline, F&& handler = {}) {
  return detail::PlainCase<F>(SelectCase::Kind::timer, nullptr, deadline, std::forward<F>(handler));
}
/// Go's default: `handler()` when nothing else can go on at once. At most one. If a send was among the others its value
/// has not gone anywhere: that is counted (unsent_count()).
template <class F = detail::Nothing>
[[nodiscard]] auto otherwise(F&& handler = {}) {
  return detail::PlainCase<F>(SelectCase::Kind::otherwise, nullptr, Deadline::never(), std::forward<F>(handler));
}

}  // namespace fiberd::sync
