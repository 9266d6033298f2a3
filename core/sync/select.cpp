#include "core/sync/select.hpp"

#include <algorithm>

#include "core/base/clock.hpp"
#include "core/context/waits.hpp"
#include "core/runtime/block_profile.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::sync {

namespace detail {

/// One run of select.
class Selector {
 public:
  explicit Selector(std::span<SelectCase* const> cases) noexcept : cases_(cases) {}
  std::size_t run();

 private:
  using Kind = SelectCase::Kind;
  static constexpr std::size_t kNothing = ~std::size_t{0};

  void draw_turns() noexcept;
  std::size_t try_each() noexcept;
  std::size_t try_all_at_once() noexcept;
  std::size_t try_under_locks() noexcept;
  [[nodiscard]] bool is_over(UntypedCase& c) noexcept;
  std::size_t wait_for_one() noexcept;
  [[nodiscard]] bool try_channel(SelectCase& c, bool locked) noexcept FIBERD_UNCHECKED_LOCKING;
  void sort() noexcept;
  void sift(std::size_t root, std::size_t n) noexcept;
  template <class F>
  void for_each_channel(F&& f) noexcept;
  template <class F>
  void for_each_cancellation(F&& f) noexcept;
  void lock_all() noexcept;
  void unlock_all(const ChannelCore* except = nullptr) noexcept;
  void hang(runtime::Ticket ticket) noexcept FIBERD_UNCHECKED_LOCKING;  // under all locks
  void take_down(std::uint32_t woken_by) noexcept;
  std::size_t ended_by(runtime::Wake how) noexcept;

  [[nodiscard]] static bool before(const SelectCase* a, const SelectCase* b) noexcept {
    return std::less<>()(a->channel_, b->channel_);
  }
  [[nodiscard]] SelectCase& at(std::size_t i) const noexcept { return *cases_[i]; }
  [[nodiscard]] SelectCase*& sorted(std::size_t i) const noexcept { return cases_[i]->sorted_; }
  [[nodiscard]] static UntypedCase& untyped(SelectCase& c) noexcept { return static_cast<UntypedCase&>(c); }
  [[nodiscard]] static bool is_untyped(const SelectCase& c) noexcept {
    return c.kind_ != Kind::send && c.kind_ != Kind::receive;
  }
  [[nodiscard]] static bool is_channel(const SelectCase& c) noexcept { return c.channel_ != nullptr; }

  const std::span<SelectCase* const> cases_;
  std::error_code outcome_;
  std::int64_t now_ = 0;  // read when the first time is looked at
  SelectState state_;
};

[[gnu::flatten]] std::size_t Selector::run() {
  const auto has_otherwise = [](const SelectCase* c) { return c->kind_ == Kind::otherwise; };
  draw_turns();
  std::size_t index = try_each();
  if (index == kNothing) {
    const auto it = std::find_if(cases_.begin(), cases_.end(), has_otherwise);
    if (it != cases_.end() && (index = try_all_at_once()) == kNothing) {
      index = static_cast<std::size_t>(it - cases_.begin());
      const auto sends = [](const SelectCase* c) { return c->kind_ == Kind::send && is_channel(*c); };
      if (std::any_of(cases_.begin(), cases_.end(), sends)) ChannelCore::count_unsent();
    } else if (index == kNothing) {
      index = wait_for_one();
    }
  }
  runtime::spend_little();
  at(index).run(outcome_);
  return index;
}

/// A permutation in which each order has the same chance (Fisher and Yates, inside-out).
void Selector::draw_turns() noexcept {
  std::uint64_t random = 0;
  for (std::uint32_t i = 0; i < cases_.size(); ++i) {
    // Sixteen bits a draw: for the first four cases one number is enough.
    if (i % 4 == 1) random = runtime::random();
    const auto j = static_cast<std::uint32_t>((random & 0xffffU) * (i + 1) >> 16U);
    random >>= 16U;
    at(i).turn_ = at(j).turn_;
    at(j).turn_ = i;
    at(i).ready_ = false;
  }
}

/// True: it went on, with outcome_; its channel's lock is released then. `locked`: the caller holds it, and keeps it
/// when the answer is false.
bool Selector::try_channel(SelectCase& c, bool locked) noexcept {
  ChannelCore& channel = *c.channel_;
  if (!locked) channel.lock_.lock();
  if (c.kind_ == Kind::receive) {
    if (channel.ops_->receive(channel, c.waiter_.slot)) return true;
    if (channel.closed_) {
      channel.lock_.unlock();
      outcome_ = errc::closed;
      return true;
    }
  } else {
    if (channel.closed_) {
      outcome_ = channel.unlock_closed();
      return true;
    }
    if (channel.ops_->send(channel, c.waiter_.slot)) return true;
  }
  if (!locked) channel.lock_.unlock();
  return false;
}

std::size_t Selector::try_each() noexcept {
  for (std::size_t k = 0; k < cases_.size(); ++k) {
    const std::size_t i = at(k).turn_;
    SelectCase& c = at(i);
    if (is_channel(c)) {
      if (try_channel(c, false)) return i;
    } else if (is_untyped(c) && is_over(untyped(c))) {
      return i;
    }
  }
  return kNothing;
}

bool Selector::is_over(UntypedCase& c) noexcept {
  if (c.kind_ == Kind::done) return static_cast<bool>(outcome_ = c.context_->err());
  if (c.kind_ != Kind::timer) return false;
  // The clock itself: the scheduling round's may be a second old, and never reaches a time that was made from now.
  if (now_ == 0) now_ = monotonic_now();
  return c.deadline_.ns() <= now_;
}

/// For `otherwise`: one channel was seen in one moment already.
std::size_t Selector::try_all_at_once() noexcept {
  if (std::count_if(cases_.begin(), cases_.end(), [](const SelectCase* c) { return is_channel(*c); }) < 2)
    return kNothing;
  // What is over stays over; asked before the locks, since a context may run code of its own.
  for (SelectCase* const c : cases_) c->ready_ = is_untyped(*c) && is_over(untyped(*c));
  outcome_.clear();
  sort();
  lock_all();
  const std::size_t i = try_under_locks();
  if (i == kNothing) {
    unlock_all();
  } else if (!is_channel(at(i))) {
    unlock_all();
    (void)is_over(untyped(at(i)));  // its outcome
  }
  return i;
}

/// With all channels locked. A channel's case that went on has let the locks go; else they are held still.
std::size_t Selector::try_under_locks() noexcept {
  for (std::size_t k = 0; k < cases_.size(); ++k) {
    const std::size_t i = at(k).turn_;
    if (at(i).ready_) return i;
    if (!is_channel(at(i)) || !try_channel(at(i), true)) continue;
    unlock_all(at(i).channel_);
    return i;
  }
  return kNothing;
}

// ---------------------------------------------------------------------------------------------- all channels at once

/// In place: insertion for the few cases that are written down, heapsort for a thousand.
void Selector::sort() noexcept {
  const std::size_t n = cases_.size();
  if (n <= 8) {
    for (std::size_t i = 0; i < n; ++i) {
      std::size_t to = i;
      for (; to != 0 && before(cases_[i], sorted(to - 1)); --to) sorted(to) = sorted(to - 1);
      sorted(to) = cases_[i];
    }
    return;
  }
  for (std::size_t i = 0; i < n; ++i) sorted(i) = cases_[i];
  for (std::size_t i = n / 2; i-- > 0;) sift(i, n);
  for (std::size_t end = n; end-- > 1;) {
    std::swap(sorted(0), sorted(end));
    sift(0, end);
  }
}

void Selector::sift(std::size_t root, std::size_t n) noexcept {
  for (std::size_t child = 2 * root + 1; child < n; root = child, child = 2 * root + 1) {
    if (child + 1 < n && before(sorted(child), sorted(child + 1))) ++child;
    if (!before(sorted(root), sorted(child))) return;
    std::swap(sorted(root), sorted(child));
  }
}

/// In the order of locking, each channel once.
template <class F>
void Selector::for_each_channel(F&& f) noexcept {
  ChannelCore* last = nullptr;
  for (std::size_t i = 0; i < cases_.size(); ++i) {
    ChannelCore* const channel = sorted(i)->channel_;
    if (channel == last) continue;  // also those without a channel: null comes first
    f(*channel);
    last = channel;
  }
}

template <class F>
void Selector::for_each_cancellation(F&& f) noexcept {
  for (SelectCase* const c : cases_)
    if (is_untyped(*c)) f(untyped(*c), untyped(*c).context_ != nullptr ? untyped(*c).context_->wait_point() : nullptr);
}

void Selector::lock_all() noexcept {
  for_each_channel([](ChannelCore& channel) FIBERD_UNCHECKED_LOCKING { channel.lock_.lock(); });
}

void Selector::unlock_all(const ChannelCore* except) noexcept {
  for_each_channel([except](ChannelCore& channel) FIBERD_UNCHECKED_LOCKING {
    if (&channel != except) channel.lock_.unlock();
  });
}

void Selector::hang(runtime::Ticket ticket) noexcept {
  // In the drawn order: of two that hang in one channel the first is served.
  for (std::size_t k = 0; k < cases_.size(); ++k) {
    const std::uint32_t i = at(k).turn_;
    SelectCase& c = at(i);
    c.waiter_.ticket = ticket;
    c.waiter_.select = &state_;
    c.waiter_.index = i;
    c.waiter_.completed = false;
    c.waiter_.chained = false;
    c.waiter_.released.store(false, std::memory_order_relaxed);
    if (!is_channel(c)) continue;
    (c.kind_ == Kind::receive ? c.channel_->receivers_ : c.channel_->senders_).add_begun(c.waiter_);
  }
}

/// Under each lock even where the waiter looks gone: whoever took it out may still be at it. Only not the winner's, if
/// that has woken us: it is through.
void Selector::take_down(std::uint32_t woken_by) noexcept {
  for (std::size_t i = 0; i < cases_.size();) {
    ChannelCore* const channel = sorted(i)->channel_;
    if (channel == nullptr) {
      ++i;
      continue;
    }
    const bool alone = i + 1 == cases_.size() || sorted(i + 1)->channel_ != channel;
    if (alone && sorted(i)->waiter_.index == woken_by) {
      ++i;
      continue;
    }
    const LeafLockGuard guard(channel->lock_);
    for (; i < cases_.size() && sorted(i)->channel_ == channel; ++i)
      if (sorted(i)->waiter_.linked()) BasicWaitQueue<ChannelWaiter>::remove(sorted(i)->waiter_);
  }
}

std::size_t Selector::wait_for_one() noexcept {
  sort();
  lock_all();
  if (const std::size_t i = try_under_locks(); i != kNothing) return i;
  const runtime::Ticket ticket = runtime::prepare_park(runtime::WaitReason::select);
  hang(ticket);
  unlock_all();

  Deadline first;
  for_each_cancellation([&](UntypedCase& c, runtime::Cancellation* cancellation) {
    first = first.earlier(c.deadline_);
    if (cancellation == nullptr) return;
    c.node_.ticket = ticket;
    if (!cancellation->link(c.node_)) runtime::wake(ticket, runtime::Wake::canceled);
  });
  runtime::Wake how = runtime::Wake::none;
  {
    const runtime::BlockTimer blocked;
    how = runtime::park_until(ticket, first);
  }
  for_each_cancellation([](UntypedCase& c, runtime::Cancellation* cancellation) {
    if (cancellation != nullptr) cancellation->unlink(c.node_);
  });

  const bool ended = how != runtime::Wake::ready && state_.claim(SelectState::kNone - 1);
  take_down(how == runtime::Wake::ready ? state_.winner.load(std::memory_order_acquire) : SelectState::kNone);
  if (ended) return ended_by(how);
  const std::uint32_t winner = state_.winner.load(std::memory_order_acquire);
  if (!at(winner).waiter_.completed) outcome_ = errc::closed;
  // close() wakes a chain, and this fiber's context may have been faster than that.
  if (at(winner).waiter_.chained)
    while (!at(winner).waiter_.released.load(std::memory_order_acquire)) runtime::yield();
  return winner;
}

/// No channel went on: which context, or which time?
std::size_t Selector::ended_by(runtime::Wake how) noexcept {
  std::size_t earliest = kNothing;
  for (std::size_t k = 0; k < cases_.size(); ++k) {
    const std::size_t i = at(k).turn_;
    if (!is_untyped(at(i))) continue;
    const UntypedCase& c = untyped(at(i));
    if (c.kind_ == Kind::done && how == runtime::Wake::canceled && (outcome_ = c.context_->err())) return i;
    if (!c.deadline_.is_never() && (earliest == kNothing || c.deadline_.ns() < untyped(at(earliest)).deadline_.ns()))
      earliest = i;
  }
  if (earliest == kNothing) {
    // Somebody ended the wait who is no context of ours (a cancellation that was handed on): told as a cancellation.
    for (earliest = 0; at(earliest).kind_ != Kind::done && earliest + 1 < cases_.size();) ++earliest;
    outcome_ = context::errc::canceled;
    return earliest;
  }
  // The wait's timer was first: the context must not look alive to who is told that its time is up.
  if (at(earliest).kind_ == Kind::done) outcome_ = context::to_error(how, *untyped(at(earliest)).context_);
  return earliest;
}

}  // namespace detail

std::size_t select(std::span<SelectCase* const> cases) { return detail::Selector(cases).run(); }

std::size_t select(std::span<AnyCase> cases) {
  static constexpr std::size_t kHere = 64;
  SelectCase* here[kHere];
  std::unique_ptr<SelectCase*[]> more;
  if (cases.size() > kHere) more = std::make_unique<SelectCase*[]>(cases.size());
  SelectCase** const all = more != nullptr ? more.get() : here;
  for (std::size_t i = 0; i < cases.size(); ++i) all[i] = cases[i].case_.get();
  return select(std::span<SelectCase* const>(all, cases.size()));
}

}  // namespace fiberd::sync
