#pragma once
// Channel<T>: Go's channel. Unbuffered (capacity 0): a send waits until a receiver has the value. Buffered: a send
// waits while the buffer is full. Values are moved; T needs a move constructor that does not throw, and nothing else.
//
// A value goes from hand to hand: a sender that finds a receiver waiting moves the value straight into the place that
// the receiver prepared on its own stack; a receiver that finds a full buffer takes the oldest value and moves a
// waiting sender's into the buffer. So a value is in exactly one place at any time, and which fiber has it is decided
// under the channel's lock (wait_queue.hpp): a send whose context ends while a receiver takes the value *has*
// succeeded.
//
// The state that does not depend on T is in channel_core.hpp; select.hpp works on that. It is enable_shared_from_this
// so that a leak report can tell a channel whose every owner waits for it from one that somebody may still close.
#include <cstddef>
#include <cstring>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/channel_core.hpp"
#include "core/sync/errc.hpp"

namespace fiberd::sync {

/// What a channel may carry: moved without throwing, or a value would be lost half-way.
template <class T>
concept ChannelValue = std::is_nothrow_move_constructible_v<T>;

template <class T>
class Channel;
namespace detail {
template <class T>
ChannelCore& core_of(Channel<T>& channel) noexcept;
}

/// Waiting: on fibers only. try_send, try_receive and close: any thread. Must outlive every call on it: share it by a
/// shared_ptr where that is not plain. WaitReason::channel_send and channel_receive.
///
/// Closing means that no more values come. Receivers get what is buffered, then errc::closed. Sending on a closed
/// channel, and closing twice, are misuse: a BUG, and errc::closed. Senders that wait when the channel is closed keep
/// their values and get errc::closed; that is no BUG. What is still buffered when the channel dies is destroyed.
template <class T>
class Channel : private detail::ChannelCore, public std::enable_shared_from_this<Channel<T>> {
  static_assert(ChannelValue<T>, "a value must not be lost half-way: what a channel carries is moved without throwing");

 public:
  using value_type = T;

  /// Throws std::bad_alloc. Room for `capacity` values is allocated at once.
  explicit Channel(std::size_t capacity = 0) : ChannelCore(&kOps, capacity) {
    if (capacity != 0) buffer_ = std::allocator<T>().allocate(capacity);
  }
  ~Channel() {
    for (; size_ != 0; popped()) std::destroy_at(buffer_ + head_);
    if (buffer_ != nullptr) std::allocator<T>().deallocate(buffer_, capacity_);
  }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  /// Waits until the value is in the buffer or in a receiver's hands. Error: errc::closed; the value is destroyed.
  [[nodiscard, gnu::always_inline]] Result<void> send(T value) { return send_as<Closed::bug>(value, nullptr); }
  /// Also context::errc: nobody has got the value then.
  [[nodiscard]] Result<void> send(const context::Context& ctx, T value) { return send_as<Closed::bug>(value, &ctx); }
  /// send() that leaves the value in `value` when it fails.
  [[nodiscard, gnu::always_inline]] Result<void> send_from(T& value) { return send_as<Closed::bug>(value, nullptr); }
  [[nodiscard]] Result<void> send_from(const context::Context& ctx, T& value) {
    return send_as<Closed::bug>(value, &ctx);
  }
  /// Never waits. True: the value was moved from. False: the channel is full (counted, see unsent_count()) or closed,
  /// and `value` is untouched.
  [[nodiscard]] bool try_send(T& value) {
    const Result<void> sent = try_send_as<Closed::bug>(value);
    if (error_of(sent) == errc::would_wait) count_unsent();
    return sent.has_value();
  }
  [[nodiscard]] bool try_send(T&& value) { return try_send(value); }

  /// For senders who may come after close() without a mistake of theirs: a timer's tick, an event for whoever still
  /// listens. As send(ctx, value), but to find the channel closed is only an error. Errors: errc::closed,
  /// context::errc.
  [[nodiscard]] Result<void> send_if_open(const context::Context& ctx, T value) {
    return send_as<Closed::error>(value, &ctx);
  }
  /// The same without waiting; nothing is counted. Errors: errc::would_wait when the channel is full, errc::closed;
  /// `value` is untouched then. Any thread.
  [[nodiscard]] Result<void> try_send_if_open(T& value) noexcept { return try_send_as<Closed::error>(value); }
  [[nodiscard]] Result<void> try_send_if_open(T&& value) noexcept { return try_send_as<Closed::error>(value); }

  /// Waits for a value. Error: errc::closed when the channel is closed and empty.
  [[nodiscard, gnu::always_inline]] Result<T> receive() { return receive_for(nullptr); }
  /// Also context::errc: no value was taken then.
  [[nodiscard]] Result<T> receive(const context::Context& ctx) { return receive_for(&ctx); }
  /// Never waits. Errors: errc::would_wait when none is there, errc::closed when none will ever be.
  [[nodiscard]] Result<T> try_receive() noexcept {
    lock_.lock();
    if (size_ != 0) {
      T* const oldest = buffer_ + head_;
      Result<T> value(std::move(*oldest));
      std::destroy_at(oldest);
      popped_and_unlock();
      return value;
    }
    if (ChannelWaiter* const sender = claim(senders_)) {
      Result<T> value(std::move(*static_cast<T*>(sender->slot)));
      complete_and_unlock(*sender);
      return value;
    }
    const bool none_will_be = closed_;
    lock_.unlock();
    return fail(none_will_be ? errc::closed : errc::would_wait);
  }

  /// Wakes all who wait: receivers and senders get errc::closed. Error errc::closed when it is closed already (a BUG).
  Result<void> close() noexcept { return as_result(ChannelCore::close()); }
  /// Snapshots.
  [[nodiscard]] bool closed() const noexcept { return ChannelCore::closed(); }
  [[nodiscard]] std::size_t size() const noexcept { return ChannelCore::size(); }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

  /// `for (T& value : channel)`: receives until the channel is closed and drained. One pass; several fibers may do it
  /// at once, each value goes to one of them.
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using pointer = T*;
    using reference = T&;
    Iterator() noexcept = default;
    explicit Iterator(Channel& channel, const context::Context* ctx = nullptr, std::error_code* end = nullptr)
        : channel_(&channel), context_(ctx), end_(end) {
      ++*this;
    }
    [[nodiscard]] T& operator*() noexcept { return *value_; }
    Iterator& operator++() {
      if (Result<T> next = channel_->receive_for(context_)) {
        value_.emplace(std::move(*next));
      } else {
        value_.reset();
        if (end_ != nullptr) *end_ = next.error();
      }
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& i, std::default_sentinel_t) noexcept { return !i.value_.has_value(); }

   private:
    Channel* channel_ = nullptr;
    const context::Context* context_ = nullptr;
    std::error_code* end_ = nullptr;
    std::optional<T> value_;
  };
  [[nodiscard]] Iterator begin() { return Iterator(*this); }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  /// `for (T& value : channel.until(ctx))`: the same, but ctx ends it too. Which of the two it was: `ctx.err()`, or
  /// error() of what until() gives. `ctx` must outlive it.
  class Until {
   public:
    Until(Channel& channel, const context::Context& ctx) noexcept : channel_(&channel), context_(&ctx) {}
    [[nodiscard]] Iterator begin() { return Iterator(*channel_, context_, &error_); }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }
    /// Success while it goes on; then errc::closed or context::errc.
    [[nodiscard]] std::error_code error() const noexcept { return error_; }

   private:
    Channel* channel_;
    const context::Context* context_;
    std::error_code error_;
  };
  [[nodiscard]] Until until(const context::Context& ctx) noexcept { return Until(*this, ctx); }
  Until until(context::Context&&) = delete;  // it would be gone before the first value

 private:
  friend detail::ChannelCore& detail::core_of<T>(Channel& channel) noexcept;

  /// What a sender makes of a channel that was closed before it came.
  enum class Closed : bool { error, bug };

  template <Closed kClosed>
  [[nodiscard, gnu::always_inline]] Result<void> send_as(T& value, const context::Context* ctx) {
    if (const std::error_code error = ended_by(ctx)) return fail(error);
    lock_.lock();
    if (closed_) [[unlikely]]
      return fail(unlock_closed(kClosed == Closed::bug));
    if (ChannelWaiter* const receiver = claim(receivers_)) {
      std::construct_at(static_cast<T*>(receiver->slot), std::move(value));
      complete_and_unlock(*receiver);
      runtime::spend_little();
      return {};
    }
    if (size_ != capacity_) {
      push(value);
      lock_.unlock();
      runtime::spend_little();
      return {};
    }
    if (ctx != nullptr) return as_result(wait_to_send(&value, ctx));
    if (!wait_plainly_in(senders_, &value)) return fail(errc::closed);
    return {};
  }

  template <Closed kClosed>
  [[nodiscard]] Result<void> try_send_as(T& value) noexcept {
    lock_.lock();
    if (closed_) [[unlikely]]
      return fail(unlock_closed(kClosed == Closed::bug));
    if (ChannelWaiter* const receiver = claim(receivers_)) {
      std::construct_at(static_cast<T*>(receiver->slot), std::move(value));
      complete_and_unlock(*receiver);
      return {};
    }
    const bool room = size_ != capacity_;
    if (room) push(value);
    lock_.unlock();
    if (!room) return fail(errc::would_wait);
    return {};
  }

  void push(T& value) noexcept FIBERD_REQUIRES(this->lock_) {
    std::construct_at(buffer_ + place_at_end(), std::move(value));
    pushed();
  }

  [[nodiscard, gnu::always_inline]] Result<T> receive_for(const context::Context* ctx) {
    if (const std::error_code error = ended_by(ctx)) return fail(error);
    lock_.lock();
    if (size_ != 0) {
      T* const oldest = buffer_ + head_;
      Result<T> result(std::move(*oldest));
      std::destroy_at(oldest);
      popped_and_unlock();
      runtime::spend_little();
      return result;
    }
    if (ChannelWaiter* const sender = claim(senders_)) {
      Result<T> result(std::move(*static_cast<T*>(sender->slot)));
      complete_and_unlock(*sender);
      runtime::spend_little();
      return result;
    }
    if (closed_) {
      lock_.unlock();
      return fail(errc::closed);
    }
    alignas(T) std::byte storage[sizeof(T)];
    if (ctx == nullptr) {
      if (!wait_plainly_in(receivers_, storage)) return fail(errc::closed);
    } else if (const std::error_code error = wait_to_receive(storage, ctx)) {
      return fail(error);
    }
    T* const value = std::launder(reinterpret_cast<T*>(storage));
    Result<T> result(std::move(*value));
    std::destroy_at(value);
    return result;
  }

  /// A value has been taken out of the buffer: a sender that waits has room now.
  void popped_and_unlock() noexcept FIBERD_RELEASE(this->lock_) {
    popped();
    if (ChannelWaiter* const sender = claim(senders_)) {
      push(*static_cast<T*>(sender->slot));
      complete_and_unlock(*sender);
    } else {
      lock_.unlock();
    }
  }

  // What select does on a channel without knowing T. The lock is released when the answer is true.
  static bool receive_op(ChannelCore& core, void* slot) noexcept FIBERD_UNCHECKED_LOCKING {
    auto& self = static_cast<Channel&>(core);
    T* const into = static_cast<T*>(slot);
    if (self.size_ != 0) {
      T* const oldest = self.buffer_ + self.head_;
      std::construct_at(into, std::move(*oldest));
      std::destroy_at(oldest);
      self.popped_and_unlock();
      return true;
    }
    ChannelWaiter* const sender = claim(self.senders_);
    if (sender == nullptr) return false;
    std::construct_at(into, std::move(*static_cast<T*>(sender->slot)));
    self.complete_and_unlock(*sender);
    return true;
  }
  static bool send_op(ChannelCore& core, void* slot) noexcept FIBERD_UNCHECKED_LOCKING {
    auto& self = static_cast<Channel&>(core);
    T& value = *static_cast<T*>(slot);
    if (ChannelWaiter* const receiver = self.claim(self.receivers_)) {
      std::construct_at(static_cast<T*>(receiver->slot), std::move(value));
      self.complete_and_unlock(*receiver);
      return true;
    }
    if (self.size_ == self.capacity_) return false;
    self.push(value);
    self.lock_.unlock();
    return true;
  }
  static detail::ChannelPlace place_op(const ChannelCore& core) noexcept {
    const auto& self = static_cast<const Channel&>(core);
    const std::weak_ptr<const Channel> owner = self.weak_from_this();
    if (owner.expired()) return {};
    // The standard tells who owns an object, but not where that is written down. Both libraries keep two pointers.
    struct Words {
      const void* object;
      const void* control;
    };
    static_assert(sizeof owner == sizeof(Words));
    Words words;
    const void* const bytes = &owner;
    std::memcpy(&words, bytes, sizeof words);
    return {&self, words.control, sizeof(Channel)};
  }
  static constexpr detail::ChannelOps kOps{&Channel::receive_op, &Channel::send_op, &Channel::place_op};

  T* buffer_ = nullptr;
};

namespace detail {
template <class T>
ChannelCore& core_of(Channel<T>& channel) noexcept {
  return channel;
}
}  // namespace detail

}  // namespace fiberd::sync
