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
// Where other work waits the Processor is replaced before it is known what its fiber does: the turn is watched all the
// same until that is known or it is over, for what a server does under load is what is to be told.
//
// Who is told of is asked for his name and stack by a signal, which a thread without CPU answers late: he is asked
// again each 10 ms for half a second, as long as his turn goes on, before the stall is told without.
//
// A stall is over when the Processor goes on, or, where it was replaced, when its machine comes back into the runtime;
// only then its length is known and counted.
#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

#include "core/base/log_limit.hpp"
#include "core/runtime/mem_stats.hpp"

namespace fiberd::runtime {

class Processor;
class Scheduler;
struct Slot;

/// A turn that goes on, as sysmon sees it.
struct StallTurn {
  Processor* processor = nullptr;
  unsigned place = 0;
  std::uint64_t tick = 0;   ///< the Processor's, while it is this turn
  std::int64_t since = 0;   ///< when it was seen first
  std::int64_t cpu_at = 0;  ///< when the thread's clock stood at `cpu`; 0: it was not asked yet
  std::int64_t cpu = 0;
  bool robbed = false;  ///< counted as such
  bool judged = false;  ///< all that there is to say was said
};

class StallWatch {
 public:
  static constexpr std::size_t kMostReplaced = 64;  // Options::handoff_max's most
  explicit StallWatch(Scheduler& scheduler) noexcept : s_(scheduler) {}

  enum class Kind : std::uint8_t { computes, blocks, robbed };
  struct Stall {
    StallTurn turn{};
    pid_t thread = 0;
    Kind kind = Kind::computes;
    bool pinned = false;
    std::int64_t held = 0;
    std::uint64_t left_out = 0;
  };
  /// sysmon alone: the Processor still runs the fiber that it ran at slot.seen_since. What is to be told, if anything:
  /// by tell(), after what can be done about it was done.
  [[nodiscard]] std::optional<Stall> look(Slot& slot, Processor& p, std::int64_t now) noexcept;
  /// sysmon alone: the Processor at this place was replaced in the turn that was looked at last.
  void was_replaced(const Slot& slot) noexcept;
  /// sysmon alone, now and then: looks at such turns, and tells.
  void look_at_replaced(std::int64_t now) noexcept;
  /// To the log, with the fiber's stack: takes a millisecond or two, or as long as the log's sink does.
  void tell(const Stall& stall) noexcept;
  /// It does not any more. Any thread that knows it: sysmon, or the machine that leaves a replaced one.
  void over(Processor& p, std::int64_t now) noexcept;
  void read(MemStats& out) const noexcept;

 private:
  [[nodiscard]] std::optional<Stall> look(StallTurn& turn, std::int64_t now) noexcept;
  enum class Last : bool { no, yes };
  /// False: he has not answered, and may be asked again; never where it is the `last` time.
  [[nodiscard]] bool try_to_tell(const Stall& stall, Last last) noexcept;
  void tell_again(std::int64_t now) noexcept;
  [[nodiscard]] static Kind judge(pid_t thread, std::int64_t used, std::int64_t wall) noexcept;

  Scheduler& s_;
  std::array<StallTurn, kMostReplaced> replaced_{};  // sysmon's; without a Processor: free
  std::size_t replaced_count_ = 0;
  std::optional<Stall> untold_;  // has not answered yet
  std::int64_t ask_at_ = 0;
  unsigned asked_ = 0;
  LogLimit log_{1'000'000'000};
  std::array<std::atomic<std::uint64_t>, 3> count_{};
  std::array<std::atomic<std::uint64_t>, kStallBounds.size()> buckets_{};
  std::atomic<std::uint64_t> sum_{0};
};

}  // namespace fiberd::runtime
