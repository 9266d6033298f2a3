#pragma once
// Poller: one epoll instance with its timers. An object apart from the Processor: when a Processor is replaced under a
// fiber that holds it, or GOMAXPROCS shrinks, the descriptors and timers stay here and another Processor polls them.
//
// Any thread may poll any Poller (epoll_wait is thread-safe, the heap has its lock); in the ordinary case only its own
// Processor does. The eventfd wakes a Processor that sleeps in this Poller; it is edge-triggered and never read. An
// edge goes to one epoll_wait only: somebody else who polls may take the wake-up that was meant for a Processor on its
// way to sleep, which would then sleep with the spinning token in its hands, and nobody would be woken any more. So
// whoever takes a wake-up while somebody is on its way to sleep here, or asleep, gives it back. To ask before polling
// whose Poller it is would not do: a place that had no Processor then may have one that sleeps by the time the event is
// there.
#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <cstdint>

#include "core/base/result.hpp"
#include "core/runtime/timer_heap.hpp"

namespace fiberd::runtime {

struct AcceptorRecord;

class Poller {
 public:
  Poller() = default;
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  [[nodiscard]] Result<void> open() noexcept;

  static constexpr int kBatch = 512;
  using Events = std::array<epoll_event, kBatch>;

  // noinline: what mentions errno must not become part of a function that parks.

  /// Waits up to `timeout_ns` (0: only look; INT64_MAX: for ever). Returns how many events are in `events`.
  [[gnu::noinline]] int wait(Events& events, std::int64_t timeout_ns) noexcept;
  /// Wakes fibers, runs idle handlers and acceptors. In the scheduler, not on a fiber. Returns the number of events
  /// that meant work (wake-ups do not).
  unsigned deliver(const Events& events, int count) noexcept;
  /// Makes a sleeping wait() return.
  void wake() noexcept;

  std::error_code add_descriptor(int fd, void* descriptor, std::uint16_t generation, std::uint32_t mask,
                                 bool modify) noexcept;
  std::error_code add_acceptor(AcceptorRecord& acceptor) noexcept;
  void remove(int fd) noexcept;
  /// Watches another Poller from this one: its events are then delivered by polling it.
  void adopt(Poller& other) noexcept;
  void release(Poller& other) noexcept;

  TimerHeap timers;
  std::atomic<std::int64_t> last_poll{0};
  std::atomic<bool> sleeping{false};  ///< a Processor is about to sleep here, or sleeps; the wake-ups are for it
  // Statistics: written by whoever polls.
  std::atomic<std::uint64_t> polls{0};
  std::atomic<std::uint64_t> events{0};
  std::atomic<std::uint64_t> wakeups{0};
  std::atomic<std::int64_t> descriptors{0};

 private:
  [[gnu::noinline]] void signal() noexcept;
  [[gnu::noinline]] std::error_code control(int operation, int fd, std::uint32_t mask, std::uint64_t data) noexcept;

  int epoll_ = -1;
  int event_ = -1;
};

}  // namespace fiberd::runtime
