#pragma once
// Sender<T> and Receiver<T>: Go's chan<- T and <-chan T, one end of a channel, to hand on to who shall only send or
// only receive.
//
//   void produce(const context::Context& ctx, sync::Sender<Job> out);
//   void consume(const context::Context& ctx, sync::Receiver<Job> in);
//   …
//   sync::Channel<Job> jobs(16);
//   produce(ctx, jobs);  // a Channel is both
//
// As small as a pointer and copied as freely; the channel must outlive them. One of no channel is Go's nil: on_receive
// and on_send switch their branch off by it. It has no other use.
#include <cstddef>
#include <iterator>
#include <system_error>

#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/sync/channel.hpp"

namespace fiberd::sync {

namespace detail {
struct ChannelEnds;
}

/// What it does is what Channel's function of that name does.
template <class T>
class Sender {
 public:
  using value_type = T;
  Sender() noexcept = default;
  Sender(Channel<T>& channel) noexcept : channel_(&channel) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] Result<void> send(T value) const { return channel_->send_from(value); }
  [[nodiscard]] Result<void> send(const context::Context& ctx, T value) const {
    return channel_->send_from(ctx, value);
  }
  [[nodiscard]] Result<void> send_from(T& value) const { return channel_->send_from(value); }
  [[nodiscard]] Result<void> send_from(const context::Context& ctx, T& value) const {
    return channel_->send_from(ctx, value);
  }
  [[nodiscard]] bool try_send(T& value) const { return channel_->try_send(value); }
  [[nodiscard]] bool try_send(T&& value) const { return channel_->try_send(value); }
  [[nodiscard]] Result<void> send_if_open(const context::Context& ctx, T value) const {
    return channel_->send_if_open(ctx, std::move(value));
  }
  [[nodiscard]] Result<void> try_send_if_open(T& value) const noexcept { return channel_->try_send_if_open(value); }
  [[nodiscard]] Result<void> try_send_if_open(T&& value) const noexcept { return channel_->try_send_if_open(value); }
  Result<void> close() const noexcept { return channel_->close(); }

  [[nodiscard]] bool closed() const noexcept { return channel_->closed(); }
  [[nodiscard]] std::size_t size() const noexcept { return channel_->size(); }
  [[nodiscard]] std::size_t capacity() const noexcept { return channel_->capacity(); }
  explicit operator bool() const noexcept { return channel_ != nullptr; }
  friend bool operator==(Sender, Sender) noexcept = default;

 private:
  friend struct detail::ChannelEnds;
  Channel<T>* channel_ = nullptr;
};

/// What it does is what Channel's function of that name does.
template <class T>
class Receiver {
 public:
  using value_type = T;
  Receiver() noexcept = default;
  Receiver(Channel<T>& channel) noexcept : channel_(&channel) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] Result<T> receive() const { return channel_->receive(); }
  [[nodiscard]] Result<T> receive(const context::Context& ctx) const { return channel_->receive(ctx); }
  [[nodiscard]] Result<T> try_receive() const noexcept { return channel_->try_receive(); }
  [[nodiscard]] auto until(const context::Context& ctx) const noexcept { return channel_->until(ctx); }
  auto until(context::Context&&) const = delete;
  [[nodiscard]] auto begin() const { return channel_->begin(); }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  [[nodiscard]] bool closed() const noexcept { return channel_->closed(); }
  [[nodiscard]] std::size_t size() const noexcept { return channel_->size(); }
  [[nodiscard]] std::size_t capacity() const noexcept { return channel_->capacity(); }
  explicit operator bool() const noexcept { return channel_ != nullptr; }
  friend bool operator==(Receiver, Receiver) noexcept = default;

 private:
  friend struct detail::ChannelEnds;
  Channel<T>* channel_ = nullptr;
};

namespace detail {
/// The door from an end to its channel, for select.
struct ChannelEnds {
  template <class T>
  [[nodiscard]] static Channel<T>* channel(Sender<T> end) noexcept {
    return end.channel_;
  }
  template <class T>
  [[nodiscard]] static Channel<T>* channel(Receiver<T> end) noexcept {
    return end.channel_;
  }
};
}  // namespace detail

}  // namespace fiberd::sync
