#pragma once
// DescriptorReserve: what a listener does when the process has no descriptor left for the next client.
//
// accept4 fails then and the connection stays in the queue: the event comes again at once, for ever, on every
// Processor. So one descriptor is kept in reserve: it is given up to accept the client and close it (it learns at once
// that it is refused), and the socket rests for a time that doubles from 5 ms to 1 s; a success resets it. Beside a
// shortage accepting goes in turn, or a Processor would take the number that another has just freed for its refusal.
// The log says so at most once a second, with a count.
//
// The kernel gives the lowest free number, so an accepted descriptor's number tells how many are in use: when few are
// left room is to be made beforehand, for files and upstreams need descriptors too.
#include <atomic>
#include <cstdint>
#include <string_view>

#include "core/base/clock.hpp"
#include "core/base/lock.hpp"
#include "core/base/log_limit.hpp"
#include "core/net/system_calls.hpp"

namespace fiberd::net {

/// Thread-safe; never parks.
class DescriptorReserve {
 public:
  DescriptorReserve() noexcept;
  ~DescriptorReserve();
  DescriptorReserve(const DescriptorReserve&) = delete;
  DescriptorReserve& operator=(const DescriptorReserve&) = delete;

  /// `fd`, just accepted, tells that few more are to be had.
  [[nodiscard]] bool low(int fd) const noexcept { return fd >= few_left_; }
  /// What accept() returns: a descriptor, or -errno.
  template <class Accept>
  [[nodiscard]] int accept(Accept&& accept) noexcept {
    if (pause_ns_.load(std::memory_order_acquire) == 0) [[likely]]
      return accept();
    const LockGuard guard(lock_);
    const int fd = accept();
    if (fd >= 0) over();
    return fd;
  }
  /// accept() has failed with `error`: the next client of the listening socket is refused if a descriptor was what it
  /// wanted for, it is logged, and `refused` tells whether one was. Returns when to look at the socket again.
  [[nodiscard]] Deadline refuse_next(int listening, int error, std::string_view listener, bool& refused) noexcept;
  /// The descriptor number from which on they are few.
  [[nodiscard]] std::size_t few_left() const noexcept { return static_cast<std::size_t>(few_left_); }

 private:
  void over() noexcept FIBERD_REQUIRES(lock_);
  void tell(std::int64_t now, std::int64_t pause, int error, std::string_view listener) noexcept;

  int few_left_ = INT32_MAX;
  Lock lock_;
  int reserve_ FIBERD_GUARDED_BY(lock_) = -1;
  std::atomic<std::int64_t> pause_ns_{0};  // written under the lock
  LogLimit log_limit_;
};

}  // namespace fiberd::net
