#pragma once
// StallWatch: fibers that hold their Processor for 10 ms and more, counted and told with their stack: Go's sysmon takes
// the P away and says nothing; here who did it is named. sysmon asks (sysmon.cpp); what it asks with is its own.
//
// Whom to blame. A Processor that has not gone on to another fiber may stand for three reasons: the fiber computes, it
// has blocked its thread (a read(2), a std::mutex whose holder has no CPU), or the machine gave the thread no CPU,
// which is nobody's fault here. The thread's own clock tells the first one: it went on for half of the time at least.
// Else the kernel says whether the thread sleeps; one that would run and may not was robbed, and is counted apart and
// not blamed, until it has had its time. A stall is seen 11 to 16 ms after it began: sysmon looks each 1 to 5 ms.
//
// A stall is over when the Processor goes on, or, where it was replaced, when its machine comes back into the runtime;
// only then its length is known and counted.
#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>

#include "core/base/log_limit.hpp"
#include "core/runtime/mem_stats.hpp"

namespace fiberd::runtime {

class Processor;
class Scheduler;
struct Slot;

class StallWatch {
 public:
  explicit StallWatch(Scheduler& scheduler) noexcept : s_(scheduler) {}

  /// sysmon alone: the Processor still runs the fiber that it ran at slot.seen_since.
  void look(Slot& slot, Processor& p, std::int64_t now) noexcept;
  /// It does not any more. Any thread that knows it: sysmon, or the machine that leaves a replaced one.
  void over(Processor& p, std::int64_t now) noexcept;
  void read(MemStats& out) const noexcept;

 private:
  enum class Kind : std::uint8_t { computes, blocks, robbed };
  [[nodiscard]] static Kind judge(pid_t thread, std::int64_t used, std::int64_t wall) noexcept;
  struct Stall {
    unsigned processor = 0;
    pid_t thread = 0;
    Kind kind = Kind::computes;
    bool pinned = false;
    std::int64_t held = 0;
    std::uint64_t left_out = 0;
  };
  void tell(const Stall& stall) noexcept;

  Scheduler& s_;
  LogLimit log_{1'000'000'000};
  std::array<std::atomic<std::uint64_t>, 3> count_{};
  std::array<std::atomic<std::uint64_t>, kStallBounds.size()> buckets_{};
  std::atomic<std::uint64_t> sum_{0};
};

}  // namespace fiberd::runtime
