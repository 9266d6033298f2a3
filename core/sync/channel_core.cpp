#include "core/sync/channel_core.hpp"

#include "core/base/bug.hpp"
#include "core/runtime/block_profile.hpp"
#include "core/runtime/fiber_list.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/unsent_values.hpp"
#include "core/sync/errc.hpp"
#include "core/sync/wait_looks.hpp"

namespace fiberd::sync {

std::uint64_t unsent_count() noexcept { return runtime::unsent_count(); }

namespace detail {

std::string ChannelLook::describe(const ChannelCore& channel) {
  std::size_t size = 0;
  bool closed = false;
  {
    const LeafLockGuard guard(channel.lock_);
    size = channel.size_;
    closed = channel.closed_;
  }
  const std::string values = channel.capacity_ == 0 ? "without a buffer"
                                                    : "with " + std::to_string(size) + " of " +
                                                          std::to_string(channel.capacity_) + " values in it";
  return (closed ? "a closed channel " : "a channel ") + values;
}

void ChannelLook::tell(const ChannelCore& channel, runtime::WaitEdges& edges) {
  if (channel.ops_->place == nullptr) {
    edges.by_itself = true;
    return;
  }
  runtime::WaitObject object{runtime::HiddenAddress(&channel), sizeof channel};
  if (const ChannelPlace place = channel.ops_->place(channel); place.object != nullptr)
    object = {runtime::HiddenAddress(place.object), place.size, true, runtime::HiddenAddress(place.control)};
  edges.objects.push_back(object);
}

[[maybe_unused]] static const bool channel_core_described = [] {
  for (const auto reason : {runtime::WaitReason::channel_send, runtime::WaitReason::channel_receive}) {
    runtime::set_wait_description(reason, [](const void* channel, std::string& text) {
      text = ChannelLook::describe(*static_cast<const ChannelCore*>(channel));
    });
    runtime::set_wait_edges(reason, [](const void* channel, runtime::WaitEdges& edges) {
      ChannelLook::tell(*static_cast<const ChannelCore*>(channel), edges);
    });
  }
  return true;
}();

void ChannelCore::count_unsent() noexcept { runtime::count_unsent(); }

std::error_code ChannelCore::wait_in(BasicWaitQueue<ChannelWaiter>& queue, void* slot,
                                     const context::Context* ctx) noexcept {
  ChannelWaiter waiter;
  waiter.slot = slot;
  queue.add(waiter, &queue == &senders_ ? runtime::WaitReason::channel_send : runtime::WaitReason::channel_receive,
            this);
  lock_.unlock();
  if (const std::error_code error = wait(lock_, waiter, ctx)) return error;
  return waiter.completed ? std::error_code{} : errc::closed;
}

bool ChannelCore::wait_plainly_in(BasicWaitQueue<ChannelWaiter>& queue, void* slot) noexcept {
  ChannelWaiter waiter;
  waiter.slot = slot;
  queue.add(waiter, &queue == &senders_ ? runtime::WaitReason::channel_send : runtime::WaitReason::channel_receive,
            this);
  lock_.unlock();
  const runtime::BlockTimer blocked;
  runtime::park(waiter.ticket);
  return waiter.completed;
}

std::error_code ChannelCore::wait_to_send(void* value, const context::Context* ctx) noexcept {
  return wait_in(senders_, value, ctx);
}

std::error_code ChannelCore::wait_to_receive(void* storage, const context::Context* ctx) noexcept {
  return wait_in(receivers_, storage, ctx);
}

std::error_code ChannelCore::unlock_closed(bool misuse) noexcept {
  lock_.unlock();
  if (misuse) report_bug("send on, or close of, a closed channel");
  return errc::closed;
}

std::error_code ChannelCore::close() noexcept {
  lock_.lock();
  if (closed_) return unlock_closed();
  closed_ = true;
  WakeChain chain;
  for (auto* const queue : {&receivers_, &senders_})
    while (ChannelWaiter* const w = claim(*queue)) chain.add(*w);
  lock_.unlock();
  chain.wake();
  return {};
}

bool ChannelCore::closed() const noexcept {
  const LeafLockGuard guard(lock_);
  return closed_;
}

std::size_t ChannelCore::size() const noexcept {
  const LeafLockGuard guard(lock_);
  return size_;
}

}  // namespace detail
}  // namespace fiberd::sync
