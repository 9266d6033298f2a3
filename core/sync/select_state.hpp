#pragma once
// SelectState: which case of a select goes on. A select's waiters hang in several channels, each under its own lock;
// the first channel that can serve one claims the select by CAS, and so does the select itself when its context or its
// time ended the wait. Whoever fails has no claim: the channel goes on to its next waiter, the select has been served.
//
// Atomic is std::atomic; tests/model instantiates the templates with its own to visit every interleaving.
#include <atomic>
#include <cstdint>

namespace fiberd::sync::detail {

/// One select's outcome, shared by its waiters in all channels.
template <template <class> class Atomic = std::atomic>
struct BasicSelectState {
  static constexpr std::uint32_t kNone = ~0U;
  Atomic<std::uint32_t> winner{kNone};
  bool claim(std::uint32_t index) noexcept {
    std::uint32_t none = kNone;
    return winner.compare_exchange_strong(none, index, std::memory_order_acq_rel, std::memory_order_acquire);
  }
};
using SelectState = BasicSelectState<>;

/// Under the queue's lock: the first waiter that is still to be had, out of the queue; or nullptr. One without a select
/// is had by being taken out.
template <class Queue>
[[gnu::always_inline]] inline auto claim_first(Queue& queue) noexcept -> decltype(queue.pop()) {
  while (auto* const w = queue.pop())
    if (w->select == nullptr || w->select->claim(w->index)) return w;
  return nullptr;
}

}  // namespace fiberd::sync::detail
