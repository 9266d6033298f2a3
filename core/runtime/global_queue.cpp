#include "core/runtime/global_queue.hpp"

#include <algorithm>
#include <new>

namespace fiberd::runtime {

static constexpr std::uint32_t kOldestEvery = 64;
static constexpr std::uint32_t kSpilledInARow = 2'048;  // fibers
static constexpr std::uint32_t kOthersAhead = 256;

void GlobalQueue::push_list(Fiber* head, Fiber* tail, std::uint32_t n) noexcept {
  tail->next = nullptr;
  const LockGuard guard(lock_);
  (tail_ != nullptr ? tail_->next : head_) = head;
  tail_ = tail;
  pushed_ += n;
  size_.store(size_.load(std::memory_order_relaxed) + n, std::memory_order_seq_cst);
}

void GlobalQueue::spill(Fiber* head, Fiber* tail, std::uint32_t n) noexcept {
  tail->next = nullptr;
  {
    const LockGuard guard(lock_);
    try {
      spilled_.push_back({head, pushed_});
      size_.store(size_.load(std::memory_order_relaxed) + n, std::memory_order_seq_cst);
      return;
    } catch (const std::bad_alloc&) {
      // Then in the order of coming.
    }
  }
  push_list(head, tail, n);
}

Fiber* GlobalQueue::pop(Processor& p, std::uint32_t processors, std::uint32_t most) noexcept {
  const LockGuard guard(lock_);
  const std::uint32_t size = size_.load(std::memory_order_relaxed);
  if (size == 0) return nullptr;
  std::uint32_t n = std::min<std::uint32_t>(size / processors + 1, size);
  n = std::min(n, most);
  Fiber* first = nullptr;
  std::uint32_t taken = 0;
  // From the head of a list while the ring has room.
  const auto take = [&](Fiber*& head) {
    while (taken < n && head != nullptr) {
      Fiber* const f = head;
      Fiber* const after = f->next;
      if (first == nullptr) {
        first = f;
      } else if (!p.queue.push(f)) {
        n = taken;
        break;
      }
      head = after;
      ++taken;
    }
  };
  // When both wait, whoever came first; but not for ever.
  const bool both = head_ != nullptr && !spilled_.empty();
  const bool overdue = both && others_ahead_ >= kOthersAhead;
  if (head_ != nullptr &&
      (!both || (!overdue && (popped_ < spilled_.back().others || spilled_in_a_row_ >= kSpilledInARow)))) {
    spilled_in_a_row_ = 0;
    // No more of them at a turn than of those that never ran.
    if (!spilled_.empty()) n = std::min<std::uint32_t>(n, p.queue.capacity() / 2);
    take(head_);
    popped_ += taken;
    others_ahead_ = both ? others_ahead_ + taken : 0;
    if (head_ == nullptr) tail_ = nullptr;
  } else {
    // Once in a while the oldest: nobody waits for ever.
    const bool oldest = ++spill_turn_ % kOldestEvery == 0 || overdue;
    while (taken < n && !spilled_.empty()) {
      Fiber*& head = oldest ? spilled_.front().head : spilled_.back().head;
      take(head);
      if (head != nullptr) break;
      oldest ? spilled_.pop_front() : spilled_.pop_back();
    }
    spilled_in_a_row_ += taken;
    others_ahead_ -= std::min(others_ahead_, 2 * taken);
  }
  p.refilled |= taken > 1;
  size_.store(size - taken, std::memory_order_seq_cst);
  return first;
}

}  // namespace fiberd::runtime
