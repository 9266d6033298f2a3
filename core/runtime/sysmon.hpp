#pragma once
// Sysmon: the thread that looks after what the Processors cannot see while they run. What it does and how often:
// sysmon.cpp.
//
// Its own state is its own: nobody else reads it but the word on which it pauses, and the count of what it has handed
// off. All else it asks of the scheduler, whose friend it is.
#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <system_error>

#include "core/runtime/poller.hpp"
#include "core/runtime/stall_watch.hpp"

namespace fiberd::runtime {

class Processor;
class Scheduler;
struct Slot;

class Sysmon {
 public:
  explicit Sysmon(Scheduler& scheduler) noexcept : s_(scheduler), stalls_(scheduler) {}
  Sysmon(const Sysmon&) = delete;
  Sysmon& operator=(const Sysmon&) = delete;

  [[nodiscard]] std::error_code start() noexcept;
  /// Once the scheduler is stopping: waits until the thread has ended. Nothing when there is none.
  void stop() noexcept;

  /// A Processor has woken up. It pauses for long while all sleep, and this ends that.
  void processor_woke() noexcept {
    if (pausing_.load(std::memory_order_seq_cst) == kAllAsleep) wake();
  }
  /// A blocking section begins: it is looked at soon.
  void section_begins() noexcept {
    if (pausing_.load(std::memory_order_relaxed) != 0) [[unlikely]]
      wake();
  }
  [[nodiscard]] StallWatch& stalls() noexcept { return stalls_; }
  [[nodiscard]] const StallWatch& stalls() const noexcept { return stalls_; }
  /// A machine has left a Processor that was replaced by sysmon.
  void handoff_over() noexcept { handoffs_.fetch_sub(1, std::memory_order_relaxed); }

 private:
  static constexpr std::uint32_t kAllAsleep = 1;  // any Processor that wakes up ends the pause
  static constexpr std::uint32_t kBusyPause = 2;  // who enters a blocking section does

  static void* main(void* sysmon) noexcept;
  void run() noexcept;
  bool round(std::int64_t now, Poller::Events& events) noexcept;
  void note_load(Slot& slot, std::int64_t since_last) noexcept;
  void look_after(Slot& slot, std::int64_t now, Poller::Events& events) noexcept;
  void look_at_section(Slot& slot, Processor& p, std::uint64_t section, std::int64_t now) noexcept;
  void pause(unsigned& busy_rounds) noexcept;
  void wake() noexcept;

  Scheduler& s_;
  StallWatch stalls_;
  pthread_t thread_{};
  bool started_ = false;
  std::atomic<std::uint32_t> pausing_{0};
  std::atomic<unsigned> handoffs_{0};  // Processors it has replaced and whose machines have not left them yet
  unsigned section_looks_ = 0;         // short pauses left
  bool section_seen_ = false;          // in this round
  std::int64_t last_help_ = 0;         // when a helper was woken for what is queued
  std::int64_t last_second_look_ = 0;  // when one was asked for because of a runnext
  std::int64_t last_trim_ = 0;
  std::int64_t last_cool_ = 0;
  std::int64_t last_round_ = 0;  // 0: all have slept since
};

}  // namespace fiberd::runtime
